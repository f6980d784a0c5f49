// Package foreign tests on real servers what Gatebook makes of rows that another
// program wrote, such as Auth.js or the application itself: that each is recorded
// once, however many meet it at the same time, and that users of a table that
// makes its own ids are as good as any.
package foreign
