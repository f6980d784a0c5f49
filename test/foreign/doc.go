// Package foreign tests on real servers that what another program wrote is
// recorded once, however many meet it at the same time.
package foreign
