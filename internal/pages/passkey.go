package pages

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
)

// passkeyScript does the browser's part of passkeys on the sign-in page: the one
// script that our pages have.
//
//go:embed passkey.js
var passkeyScript string

// scriptPolicy is what the policy allows beside the rest for the script, and for
// the options that it fetches.
var scriptPolicy = func() string {
	sum := sha256.Sum256([]byte(passkeyScript))
	return "; script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; connect-src 'self'"
}()

// scripted reports whether the page has passkeys.
func (s *SignIn) scripted() bool {
	for i := range s.Providers {
		if s.Providers[i].OptionsURL != "" && s.Providers[i].kind() == ceremony {
			return true
		}
	}
	return false
}
