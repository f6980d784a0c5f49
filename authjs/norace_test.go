//go:build !race

package authjs_test

const dropped = 0
