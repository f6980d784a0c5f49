package pages

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"slices"
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

// SignInPolicy returns the value of the Content-Security-Policy header to send
// with the sign-in page s: that of the other pages, and with passkeys their
// script, by its hash.
func (p *Pages) SignInPolicy(s SignIn) string {
	if s.scripted() {
		return p.policy + scriptPolicy
	}
	return p.policy
}

// scripted reports whether the page has passkeys.
func (s SignIn) scripted() bool {
	return slices.ContainsFunc(s.Providers, func(p Provider) bool { return p.OptionsURL != "" && p.Type == "webauthn" && len(p.Fields) > 0 })
}
