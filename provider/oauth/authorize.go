package oauth

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/oauth2"

	"github.com/gatebook/gatebook"
)

// protected are the parameters of an authorization request that the flow's
// safety rests on. A visitor's page may not choose them; request and
// request_uri (RFC 9101) would replace all the others.
var protected = []string{
	"client_id", "redirect_uri", "response_type", "response_mode", "state", "nonce",
	"code_challenge", "code_challenge_method", "request", "request_uri",
}

func isProtected(name string) bool { return slices.Contains(protected, name) }

// Begin returns the authorization request (RFC 6749, Section 4.1.1). The
// parameters stand in the order of Auth.js: those of the endpoint's own URL and
// the configured ones, response_type, client_id, redirect_uri, those of b that
// the flow's safety does not rest on, state, code_challenge,
// code_challenge_method, nonce. For a discovered endpoint the configured ones
// follow redirect_uri; the default scope comes after them, or last without any. Of the same name the
// later value counts, at the earlier place.
func (p *Provider) Begin(ctx context.Context, b *gatebook.Begin) (*gatebook.Redirection, error) {
	ends, err := p.endpoints(ctx)
	if err != nil {
		return nil, err
	}
	out := new(gatebook.Redirection)
	base, query, _ := strings.Cut(ends.authURL, "?")
	params := parseParams(query)
	if p.cfg.AuthURL != "" {
		p.addConfigured(&params)
	}
	params.set("response_type", "code")
	params.set("client_id", p.cfg.ClientID)
	params.set("redirect_uri", b.RedirectURI)
	if p.cfg.AuthURL == "" {
		p.addConfigured(&params)
		if len(p.cfg.AuthParams) > 0 { // the default scope is one of them then
			p.addScope(&params)
		}
	}
	for _, q := range b.Params {
		if !isProtected(q.Name) {
			params.set(q.Name, q.Value)
		}
	}
	params.set("state", b.State)
	if p.has(CheckPKCE) {
		out.CodeVerifier = gatebook.Secret(oauth2.GenerateVerifier())
		params.set("code_challenge", oauth2.S256ChallengeFromVerifier(string(out.CodeVerifier)))
		params.set("code_challenge_method", "S256")
	}
	if p.has(CheckNonce) {
		out.Nonce = newNonce()
		params.set("nonce", string(out.Nonce))
	}
	p.addScope(&params)
	out.URL = base + "?" + params.encode()
	return out, nil
}

// addScope adds the default scope of OpenID Connect where there is none.
func (p *Provider) addScope(params *paramList) {
	if p.isOIDC() && !params.has("scope") {
		params.set("scope", "openid profile email")
	}
}

func (p *Provider) addConfigured(params *paramList) {
	if len(p.cfg.Scopes) > 0 {
		params.set("scope", strings.Join(p.cfg.Scopes, " "))
	}
	for _, q := range p.cfg.AuthParams {
		params.set(q.Name, q.Value)
	}
}

// newNonce returns 32 random bytes in unpadded base64url, 43 characters.
func newNonce() gatebook.Secret {
	b := make([]byte, 32)
	rand.Read(b) // it never fails
	return gatebook.Secret(base64.RawURLEncoding.EncodeToString(b))
}

// paramList is the parameters of a URL in order, each name once.
type paramList []gatebook.Param

// parseParams reads a URL's query. What cannot be decoded is kept as it is.
func parseParams(query string) (l paramList) {
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		l.set(unescape(name), unescape(value))
	}
	return l
}

func unescape(s string) string {
	if t, err := url.QueryUnescape(s); err == nil {
		return t
	}
	return s
}

func (l paramList) has(name string) bool {
	return slices.ContainsFunc(l, func(q gatebook.Param) bool { return q.Name == name })
}

func (l *paramList) set(name, value string) {
	for i := range *l {
		if (*l)[i].Name == name {
			(*l)[i].Value = value
			return
		}
	}
	*l = append(*l, gatebook.Param{Name: name, Value: value})
}

func (l paramList) encode() string {
	var b strings.Builder
	for i, q := range l {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(formEscape(q.Name, "*-._"))
		b.WriteByte('=')
		b.WriteString(formEscape(q.Value, "*-._"))
	}
	return b.String()
}

// formEscape returns s with letters, digits and the bytes of keep as they are,
// space as '+' and every other byte as %XX. With "*-._" it is the serializer of
// application/x-www-form-urlencoded (WHATWG URL), from which url.QueryEscape
// differs in '*' and '~'.
func formEscape(s, keep string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte(keep, c) >= 0:
			b.WriteByte(c)
		case c == ' ':
			b.WriteByte('+')
		default:
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}
