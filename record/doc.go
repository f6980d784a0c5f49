// Package record is the form of an entry in the book of record: the bytes that
// are written in the same commit as the change they tell of, hashed, and never
// encoded again.
//
// An entry has a header and blocks. The header is what stays for ever: ids,
// type, time, outcome, and the SHA-256 digest of every block. It is canonical
// JSON (RFC 8785) and holds nothing that was derived from a person's
// identifiers. Blocks hold what can be forgotten: names, addresses, ids. Each
// begins with 32 random bytes, so that its digest confirms no guess, and can be
// removed without touching the header. Beside them ride search terms, which are
// no part of the record and can be rebuilt from it.
//
// The format is written down byte by byte in docs/record-format.md. It only
// grows: members are added, never changed or removed.
//
// Most callers meet entries through package book and need only [ParseHeader]
// and the payload structs of the catalogue ([SignIn], [SignInFailed], …). The
// package knows nothing of HTTP, storage or accounts.
package record
