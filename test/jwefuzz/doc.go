// Package jwefuzz holds internal/jwe against go-jose, an implementation of JWE
// that shares no code with it: what one seals the other opens, and what one
// refuses neither opens. It has tests only.
package jwefuzz
