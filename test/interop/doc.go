// Package interop compares Gatebook with the real Auth.js. Its tests start
// @auth/core from npm and Gatebook side by side with the same configuration,
// send both the same requests, and compare everything a client or an
// application can see: status, headers, cookies, redirects, JSON, the forms of
// pages, the calls of callbacks and events with what they were given, and what
// was written to the adapter.
//
// A scenario is a row of a table (the files scenarios_…_test.go): a name, a
// configuration and steps. Both servers believe that they are the same site, so
// their answers are equal to the letter where nothing random is in them; what
// is random or a time is replaced by its shape.
//
// Where the two differ on purpose the difference has an entry in
// testdata/differences.json of the repository's root, from which
// docs/differences.md is made. Those that are everywhere are taken out by a rule
// (rules_test.go), the others stand line by line in testdata/named.txt, each
// under the id of its entry. A difference that is not named fails the test, and
// so does a name for a difference that is not there. After a change on purpose
//
//	go test ./test/interop -update-named
//
// writes the file anew; new differences are then UNNAMED, and the test fails
// until each has the id of an entry.
package interop
