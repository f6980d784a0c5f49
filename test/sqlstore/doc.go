// Package sqlstore tests adapter/sqlstore on real servers: every layout with the
// suite of adapters, tables of an application's own, and what one statement for an
// act must not get wrong.
package sqlstore
