package oauth

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/gatebook/gatebook"
)

// tokens is a token reply (RFC 6749, Section 5.1) that passed its checks.
type tokens struct {
	reply     gatebook.Claims
	access    string
	expiresIn int64 // seconds; 0 when the provider does not say
}

// redeem exchanges the code for tokens (RFC 6749, Section 4.1.3).
func (p *Provider) redeem(ctx context.Context, ends *endpoints, c *gatebook.Complete) (*tokens, error) {
	x := &exchange{base: p.http.Transport}
	conf := oauth2.Config{
		ClientID:    p.cfg.ClientID,
		RedirectURL: c.RedirectURI,
		// Always said, never AutoDetect: its second try comes after the code
		// may have been spent.
		Endpoint: oauth2.Endpoint{TokenURL: ends.tokenURL, AuthStyle: oauth2.AuthStyleInParams},
	}
	authorization, opts, err := p.authenticate(ends, &conf)
	if err != nil {
		return nil, &gatebook.ProviderError{Reason: reasonConfiguration, Step: "token", Err: err}
	}
	x.authorization = authorization
	if p.has(CheckPKCE) {
		opts = append(opts, oauth2.VerifierOption(string(c.CodeVerifier)))
	}
	client := *p.http
	client.Transport = x
	_, err = conf.Exchange(context.WithValue(ctx, oauth2.HTTPClient, &client), c.Params["code"], opts...)
	switch {
	case x.err != nil:
		return nil, x.err
	case err != nil:
		// The error itself is dropped: oauth2.RetrieveError prints the reply.
		return nil, replyInvalid("token", errors.New("reply is no token reply"))
	}
	return x.tokens, nil
}

// basic returns the Authorization header of client_secret_basic. The escaping is
// that of Auth.js: secrets work with both, whether or not the server decodes.
func basic(id, secret string) string {
	const keep = "-_.!~*'()"
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(formEscape(id, keep)+":"+formEscape(secret, keep)))
}

// exchange is the transport of one token request. It repairs what providers get
// wrong in their replies, so that x/oauth2 above it sees only good ones, and
// keeps the reply as it stands, in its order and with its numbers.
type exchange struct {
	base          http.RoundTripper
	authorization string // replaces the header if not empty

	tokens *tokens
	err    *gatebook.ProviderError
}

func (x *exchange) RoundTrip(req *http.Request) (*http.Response, error) {
	if x.authorization != "" {
		req = req.Clone(req.Context())
		req.Header.Set("Authorization", x.authorization)
	}
	resp, err := x.base.RoundTrip(req)
	if err != nil {
		// The client's timeout shows in the context, whatever a transport says.
		if req.Context().Err() != nil {
			err = req.Context().Err()
		}
		x.err = requestFailed("token", err)
		return nil, x.err
	}
	if x.err = x.read(resp); x.err != nil {
		return nil, x.err
	}
	body, err := x.tokens.reply.MarshalJSON()
	if err != nil {
		return nil, err
	}
	resp.Header.Set("Content-Type", "application/json")
	setBody(resp, body)
	return resp, nil
}

func (x *exchange) read(resp *http.Response) *gatebook.ProviderError {
	body, err := readAll(resp)
	if err != nil {
		return requestFailed("token", err)
	}
	reply, err := gatebook.ParseClaims(body)
	if err == nil {
		if code, failed := replyError(reply); failed {
			e := replyInvalid("token", errors.New("reply is an error"))
			e.Code = errorCode(code)
			return e
		}
	}
	if resp.StatusCode != http.StatusOK {
		return replyInvalid("token", statusError(resp.StatusCode))
	}
	if err != nil {
		return replyInvalid("token", errNotJSON)
	}
	x.tokens, err = readTokens(reply)
	if err != nil {
		return replyInvalid("token", err)
	}
	return nil
}

// replyError reports whether a reply is an error, whatever its status, and the
// provider's code for it: {"error":"code"} (RFC 6749, Section 5.2; GitHub sends
// it with status 200), {"error":{"code":190,"type":"OAuthException"}} (Facebook)
// or {"ok":false,"error":"code"} (Slack).
func replyError(reply gatebook.Claims) (code string, failed bool) {
	raw := reply.Raw("error")
	switch {
	case raw == nil || string(raw) == "null":
		return "", string(reply.Raw("ok")) == "false"
	case raw[0] == '{':
		return find(reply, []string{"error.code", "error.type"}), true
	}
	return reply.String("error"), true
}

// readTokens checks a token reply and brings it into the one form that the
// standard knows, whatever the provider.
func readTokens(reply gatebook.Claims) (*tokens, error) {
	t := &tokens{reply: reply}
	if t.access = reply.String("access_token"); t.access == "" {
		return nil, errors.New("reply has no access_token")
	}
	for _, name := range []string{"refresh_token", "id_token", "session_state"} {
		if string(reply.Raw(name)) == "null" {
			t.reply.Delete(name)
		}
		if t.reply.Has(name) && t.reply.String(name) == "" {
			return nil, errors.New(name + " of the reply is no text")
		}
	}
	if err := t.fixType(); err != nil {
		return nil, err
	}
	if err := t.fixScope(); err != nil {
		return nil, err
	}
	return t, t.fixExpiry()
}

// fixType fills in a token_type that is missing, as with a dozen providers, and
// writes it in lower case.
func (t *tokens) fixType() error {
	typ := "bearer"
	if raw := t.reply.Raw("token_type"); raw != nil && string(raw) != "null" {
		typ = strings.ToLower(t.reply.String("token_type"))
	}
	if typ != "bearer" && typ != "dpop" {
		return errors.New("token_type is neither bearer nor dpop")
	}
	return t.reply.Set("token_type", typ)
}

// fixScope joins a scope that is an array (Twitch) and drops one that is null.
func (t *tokens) fixScope() error {
	raw := t.reply.Raw("scope")
	switch {
	case raw == nil || raw[0] == '"':
		return nil
	case string(raw) == "null":
		t.reply.Delete("scope")
		return nil
	}
	list, ok := gatebook.Claim[[]string](t.reply, "scope")
	if !ok {
		return errors.New("scope of the reply is no text")
	}
	return t.reply.Set("scope", strings.Join(list, " "))
}

// fixExpiry writes expires_in, which PayPal and others send as a string, as a
// whole number, the only form that x/oauth2 takes.
func (t *tokens) fixExpiry() error {
	raw := t.reply.Raw("expires_in")
	if raw == nil || string(raw) == "null" {
		t.reply.Delete("expires_in")
		return nil
	}
	text := string(raw)
	if raw[0] == '"' {
		text = t.reply.String("expires_in")
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || !(seconds >= 0 && seconds <= 1e10) { // so that NaN is refused too
		return errors.New("expires_in of the reply is no number of seconds")
	}
	t.expiresIn = int64(seconds)
	return t.reply.Set("expires_in", t.expiresIn)
}

// account returns the account's stored fields, in the names of Auth.js.
func (t *tokens) account(c Config, now time.Time) gatebook.Account {
	a := gatebook.Account{
		Type:         c.Type,
		Provider:     c.ID,
		AccessToken:  gatebook.Secret(t.access),
		RefreshToken: gatebook.Secret(t.reply.String("refresh_token")),
		IDToken:      gatebook.Secret(t.reply.String("id_token")),
		TokenType:    t.reply.String("token_type"),
		Scope:        t.reply.String("scope"),
		SessionState: t.reply.String("session_state"),
		Reply:        t.reply,
	}
	if t.expiresIn > 0 {
		a.ExpiresAt = now.Unix() + t.expiresIn
	}
	return a
}

// userinfo fetches the profile. For OpenID Connect it must be of the ID token's
// subject (OpenID Connect Core, Section 5.3.2): without that check a swapped
// access token would sign in somebody else.
func (p *Provider) userinfo(ctx context.Context, url, token string, idToken gatebook.Claims) (gatebook.Claims, error) {
	status, body, err := p.get(ctx, url, token)
	if err != nil {
		return gatebook.Claims{}, requestFailed("userinfo", err)
	}
	if status != http.StatusOK {
		return gatebook.Claims{}, replyInvalid("userinfo", statusError(status))
	}
	profile, err := gatebook.ParseClaims(body)
	if err != nil {
		return gatebook.Claims{}, replyInvalid("userinfo", errNotJSON)
	}
	if p.isOIDC() && (idToken.String("sub") == "" || profile.String("sub") != idToken.String("sub")) {
		return gatebook.Claims{}, &gatebook.ProviderError{
			Reason: reasonProfileInvalid, Step: "userinfo",
			Err: errors.New("sub is not the ID token's"),
		}
	}
	return profile, nil
}

func (p *Provider) enrich(ctx context.Context, token string, profile *gatebook.Claims) error {
	if p.cfg.Enrich == nil {
		return nil
	}
	fetch := func(ctx context.Context, url string) (int, []byte, error) {
		status, body, err := p.get(ctx, url, token)
		if err != nil {
			return 0, nil, requestFailed("userinfo", err)
		}
		return status, body, nil
	}
	err := p.cfg.Enrich(ctx, fetch, profile)
	if e, ok := errors.AsType[*gatebook.ProviderError](err); ok {
		return e
	}
	if err != nil {
		return replyInvalid("userinfo", err)
	}
	return nil
}
