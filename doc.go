// Package gatebook is authentication with a book of record: sign-in by OAuth,
// OpenID Connect, magic link and password, compatible with Auth.js v5 on the
// wire, in the cookie and in the database, with every event written in the same
// commit as the change it tells of.
//
// # Setting up
//
// [New] takes a [Config] with providers (packages provider/catalog,
// provider/oauth, provider/email, provider/credentials) and an [Adapter]
// (package adapter/sqlite, or adapter/memory in tests). The [Auth] it returns is
// an [net/http.Handler] for the routes under the base path and has middleware
// for the rest. New starts nothing; call [Auth.Run] in a goroutine of its own
// and [Auth.Close] at the end.
//
//	mux.Handle(auth.BasePath()+"/", auth)
//	mux.Handle("/", auth.Middleware(app))
//	go auth.Run(ctx)
//
// # Who is signed in
//
// [Auth.Middleware] reads the session of a request once and renews it;
// [Auth.Session] then returns it, and [Auth.Require] turns away who has none.
// [Auth.Verify] checks a token by itself, as an API does that is called with a
// Bearer header.
//
// # Events
//
// [Events] holds a function for each of the six events of Auth.js (signIn,
// signOut, createUser, updateUser, linkAccount, session), for refused attempts
// (SignInFailed) and failed handlers, and one for all (Any). Handlers are called
// after the commit and awaited by the request, within a budget; they cannot
// change what happened, and neither an error nor a panic of theirs reaches the
// visitor. Work that takes long belongs into [Detached]. What must not be missed
// is read from the book.
//
// # The book
//
// Every event is also an entry of the book (package book): written in the same
// transaction as the change, then numbered without a gap by Run. Entries are
// made from named fields only; tokens, passwords, raw profiles and the texts of
// errors are never recorded.
//
// The package knows no database, router or mail service; those are adapters and
// providers.
package gatebook
