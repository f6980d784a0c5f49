//go:build race

package authjs_test

// dropped is how many allocations more there may be: with the race detector a
// sync.Pool drops a part of what is put into it.
const dropped = 8
