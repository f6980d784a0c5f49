// Package bearer finds the token that a program sends instead of a cookie.
package bearer

import (
	"net/http"
	"strings"
)

// Token returns the token of an Authorization header with the scheme Bearer (RFC
// 6750, Section 2.1), or "". It is not looked at any further, and may be
// percent-encoded, as Auth.js expects it.
func Token(h http.Header) string {
	scheme, token, _ := strings.Cut(h.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}
