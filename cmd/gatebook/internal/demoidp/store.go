package demoidp

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// How long things live and how many of each are kept. A used code is
// remembered as long as its token lives, so that a second use still finds the
// token to revoke.
const (
	requestLife = 10 * time.Minute
	codeLife    = time.Minute
	tokenLife   = 10 * time.Minute
	maxRequests = 200
	maxGrants   = 500
	maxTokens   = 500
)

// What the ID token says of the authentication: choosing a name from a list is
// less than level 1 of ISO/IEC 29115, which is acr "0" (OpenID Connect Core
// 1.0, Section 2), and shows no more than that somebody was there, which is
// amr "user" (RFC 8176, Section 2).
const (
	acr = "0"
	amr = "user"
)

// store is the library's storage: everything is in memory, bounded, and safe
// for concurrent use.
type store struct {
	client *client
	secret [sha256.Size]byte
	people []Person
	issuer string
	log    *slog.Logger
	now    func() time.Time
	// key returns the signing key, made at the first call.
	key func() (*signingKey, error)

	mu       sync.Mutex
	requests *shelf[*authRequest] // by id, until finished; guarded by mu
	grants   *shelf[*grant]       // by hashed code; guarded by mu
	tokens   *shelf[token]        // by token id; guarded by mu
}

var (
	_ op.Storage                   = (*store)(nil)
	_ op.CanSetUserinfoFromRequest = (*store)(nil)
)

// authRequest is an authorization request on its way through the pages, and
// then behind a code. Those outside the store hold copies.
type authRequest struct {
	oidc.AuthRequest
	id      string
	browser string // cookie of the browser that brought it
	form    string // secret in its forms
	only    string // sub of the id_token_hint; nobody else may sign in

	person   *Person // nil until chosen
	authTime time.Time
	approved bool // consent given; person is final
	code     string
}

// grant is an approved request behind its code.
type grant struct {
	request authRequest
	codeEnd time.Time
	used    bool
	reused  bool
	tokenID string
}

// token is what an access token stands for.
type token struct {
	subject string
	scopes  []string
}

func newStore(cfg Config, origins []string) *store {
	c := &client{id: cfg.ClientID, redirectURIs: slices.Clone(cfg.RedirectURIs)}
	for _, origin := range origins {
		c.postLogoutURIs = append(c.postLogoutURIs, origin+"/")
	}
	return &store{
		client:   c,
		secret:   sha256.Sum256([]byte(cfg.ClientSecret)),
		people:   slices.Clone(cfg.People),
		issuer:   cfg.Issuer,
		log:      cfg.Logger,
		now:      cfg.Now,
		key:      sync.OnceValues(newSigningKey),
		requests: newShelf[*authRequest](requestLife, maxRequests),
		grants:   newShelf[*grant](tokenLife, maxGrants),
		tokens:   newShelf[token](tokenLife, maxTokens),
	}
}

func (s *store) person(subject string) *Person {
	for i := range s.people {
		if s.people[i].Subject == subject {
			return &s.people[i]
		}
	}
	return nil
}

// CreateAuthRequest keeps a request that the library has checked, and refuses
// what we do not do. hinted is the sub of a valid id_token_hint, or "".
func (s *store) CreateAuthRequest(ctx context.Context, r *oidc.AuthRequest, hinted string) (op.AuthRequest, error) {
	switch {
	case !slices.Contains(r.Scopes, oidc.ScopeOpenID):
		return nil, oidc.ErrInvalidScope().WithDescription("The scope openid is missing.")
	case r.ResponseMode != "" && r.ResponseMode != oidc.ResponseModeQuery:
		return nil, oidc.ErrInvalidRequest().WithDescription("The response_mode must be query.")
	case r.CodeChallenge == "" || r.CodeChallengeMethod != oidc.CodeChallengeMethodS256:
		return nil, oidc.ErrInvalidRequest().WithDescription("PKCE with code_challenge_method S256 is required.")
	case slices.Contains(r.Prompt, oidc.PromptNone):
		return nil, oidc.ErrLoginRequired().WithDescription("This provider always asks who is signing in.")
	case hinted != "" && s.person(hinted) == nil:
		return nil, oidc.ErrLoginRequired().WithDescription("The person in the id_token_hint is not known here.")
	}
	browser, _ := ctx.Value(browserKey{}).(string)
	if browser == "" {
		return nil, errors.New("authorization request without a browser")
	}
	req := &authRequest{AuthRequest: *r, id: rand.Text(), browser: browser, form: rand.Text(), only: hinted}
	req.Scopes = slices.DeleteFunc(slices.Clone(r.Scopes), func(scope string) bool {
		return scope != oidc.ScopeOpenID && scope != oidc.ScopeProfile && scope != oidc.ScopeEmail
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests.put(s.now(), req.id, req)
	return req.copy(), nil
}

// pending returns the unfinished request id if this browser brought it. A
// request of another browser is as good as none, so that nobody can be sent
// into somebody else's sign-in.
func (s *store) pending(id, browser string) (*authRequest, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	req, ok := s.requests.get(s.now(), id)
	if !ok || browser == "" || subtle.ConstantTimeCompare([]byte(req.browser), []byte(browser)) != 1 {
		return nil, false
	}
	return req.copy(), true
}

// choose says who signs in with the request id. It is false if the request is
// gone or finished, or if that person may not.
func (s *store) choose(id, subject string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	req, ok := s.requests.get(s.now(), id)
	person := s.person(subject)
	if !ok || req.approved || person == nil || (req.only != "" && req.only != subject) {
		return false
	}
	req.person, req.authTime = person, s.now()
	return true
}

// approve makes subject's choice final, so that what is shared is what the
// consent page showed. It is false if somebody else was chosen meanwhile, or
// if it was approved before.
func (s *store) approve(id, subject string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	req, ok := s.requests.get(s.now(), id)
	if !ok || req.approved || req.person == nil || req.person.Subject != subject {
		return false
	}
	req.approved = true
	return true
}

// cancel ends the request id and is false if it was gone or approved.
func (s *store) cancel(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if req, ok := s.requests.get(s.now(), id); !ok || req.approved {
		return false
	}
	s.requests.take(s.now(), id)
	return true
}

// AuthRequestByID returns an unfinished request.
func (s *store) AuthRequestByID(_ context.Context, id string) (op.AuthRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	req, ok := s.requests.get(s.now(), id)
	if !ok {
		return nil, errors.New("authorization request is unknown or expired")
	}
	return req.copy(), nil
}

// SaveAuthCode moves an approved request behind its code. A request gets one
// code.
func (s *store) SaveAuthCode(_ context.Context, id, code string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	req, ok := s.requests.get(now, id)
	if !ok || !req.approved {
		return errors.New("authorization request is unknown, expired or not approved")
	}
	s.requests.take(now, id)
	req.code = hash(code)
	s.grants.put(now, req.code, &grant{request: *req, codeEnd: now.Add(codeLife)})
	return nil
}

// AuthRequestByCode takes the code: whatever comes of this attempt, there is
// no second one. A second one means that the code leaked, and revokes what the
// first one got (RFC 6749, Section 4.1.2).
func (s *store) AuthRequestByCode(_ context.Context, code string) (op.AuthRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	g, ok := s.grants.get(now, hash(code))
	switch {
	case !ok:
		return nil, errors.New("code is unknown or expired")
	case g.used:
		g.reused = true
		s.tokens.take(now, g.tokenID)
		s.log.Warn("demo identity provider: an authorization code came twice; its token is revoked",
			"sub", g.request.GetSubject())
		return nil, errors.New("code was used before")
	}
	g.used = true
	if !now.Before(g.codeEnd) {
		return nil, errors.New("code is expired")
	}
	return g.request.copy(), nil
}

// DeleteAuthRequest has nothing to do: the code is taken already, and the
// grant stays until its token expires so that a second use is noticed.
func (s *store) DeleteAuthRequest(context.Context, string) error { return nil }

// CreateAccessToken issues the one access token of a code.
func (s *store) CreateAccessToken(_ context.Context, r op.TokenRequest) (string, time.Time, error) {
	req, ok := r.(*authRequest)
	if !ok {
		return "", time.Time{}, oidc.ErrUnsupportedGrantType()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	g, ok := s.grants.get(now, req.code)
	if !ok || g.reused || g.tokenID != "" {
		return "", time.Time{}, oidc.ErrInvalidGrant().WithDescription("code was used before")
	}
	g.tokenID = rand.Text()
	s.tokens.put(now, g.tokenID, token{subject: req.GetSubject(), scopes: req.GetScopes()})
	return g.tokenID, now.Add(tokenLife), nil
}

// CreateAccessAndRefreshTokens refuses: the client may not have refresh tokens.
func (s *store) CreateAccessAndRefreshTokens(context.Context, op.TokenRequest, string) (string, string, time.Time, error) {
	return "", "", time.Time{}, oidc.ErrUnsupportedGrantType()
}

// TokenRequestByRefreshToken knows no refresh token.
func (s *store) TokenRequestByRefreshToken(context.Context, string) (op.RefreshTokenRequest, error) {
	return nil, op.ErrInvalidRefreshToken
}

// GetRefreshTokenInfo knows no refresh token; the library then tries the value
// as an access token.
func (s *store) GetRefreshTokenInfo(context.Context, string, string) (string, string, error) {
	return "", "", op.ErrInvalidRefreshToken
}

// TerminateSession revokes the access tokens of a person.
func (s *store) TerminateSession(_ context.Context, subject, _ string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens.deleteFunc(func(t token) bool { return t.subject == subject })
	return nil
}

// RevokeToken revokes an access token. An unknown one is as good as revoked
// (RFC 7009, Section 2.2).
func (s *store) RevokeToken(_ context.Context, id, _, _ string) *oidc.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens.take(s.now(), id)
	return nil
}

// SetUserinfoFromScopes is deprecated in the library and empty as it asks.
func (s *store) SetUserinfoFromScopes(context.Context, *oidc.UserInfo, string, string, []string) error {
	return nil
}

// SetUserinfoFromRequest sets the claims of the ID token.
func (s *store) SetUserinfoFromRequest(_ context.Context, u *oidc.UserInfo, r op.IDTokenRequest, scopes []string) error {
	return s.setClaims(u, r.GetSubject(), scopes)
}

// SetUserinfoFromToken sets the claims of the userinfo reply.
func (s *store) SetUserinfoFromToken(_ context.Context, u *oidc.UserInfo, tokenID, subject, _ string) error {
	s.mu.Lock()
	t, ok := s.tokens.get(s.now(), tokenID)
	s.mu.Unlock()
	if !ok || t.subject != subject {
		return oidc.ErrAccessDenied().WithDescription("The access token is revoked or expired.")
	}
	return s.setClaims(u, t.subject, t.scopes)
}

func (s *store) setClaims(u *oidc.UserInfo, subject string, scopes []string) error {
	person := s.person(subject)
	if person == nil {
		return fmt.Errorf("person %q is not known", subject)
	}
	u.Subject = person.Subject
	if slices.Contains(scopes, oidc.ScopeProfile) {
		u.Name, u.GivenName = person.Name, person.GivenName
		u.Picture = s.issuer + avatarPath(person)
	}
	if slices.Contains(scopes, oidc.ScopeEmail) {
		u.Email, u.EmailVerified = person.Email, true
	}
	return nil
}

// GetClientByClientID returns the one client.
func (s *store) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	if id != s.client.id {
		return nil, errors.New("client is unknown")
	}
	return s.client, nil
}

// AuthorizeClientIDSecret checks the client's secret in constant time.
func (s *store) AuthorizeClientIDSecret(_ context.Context, id, secret string) error {
	sum := sha256.Sum256([]byte(secret))
	if id != s.client.id || subtle.ConstantTimeCompare(sum[:], s.secret[:]) != 1 {
		return errors.New("client is unknown or its secret is wrong")
	}
	return nil
}

// The grants and endpoints behind the next four are not offered.

// SetIntrospectionFromToken refuses.
func (s *store) SetIntrospectionFromToken(context.Context, *oidc.IntrospectionResponse, string, string, string) error {
	return errors.New("introspection is not offered")
}

// GetPrivateClaimsFromScopes adds nothing: access tokens are opaque.
func (s *store) GetPrivateClaimsFromScopes(context.Context, string, string, []string) (map[string]any, error) {
	return nil, nil
}

// GetKeyByIDAndClientID refuses: clients have no keys here.
func (s *store) GetKeyByIDAndClientID(context.Context, string, string) (*jose.JSONWebKey, error) {
	return nil, errors.New("clients have no keys here")
}

// ValidateJWTProfileScopes refuses.
func (s *store) ValidateJWTProfileScopes(context.Context, string, []string) ([]string, error) {
	return nil, oidc.ErrUnsupportedGrantType()
}

// SigningKey returns the key of the ID tokens.
func (s *store) SigningKey(context.Context) (op.SigningKey, error) {
	key, err := s.key()
	if err != nil {
		return nil, err
	}
	return key, nil
}

// SignatureAlgorithms does not touch the key, so discovery does not wait for
// it.
func (s *store) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.RS256}, nil
}

// KeySet returns the public half of the signing key.
func (s *store) KeySet(context.Context) ([]op.Key, error) {
	key, err := s.key()
	if err != nil {
		return nil, err
	}
	return []op.Key{verifyingKey{key}}, nil
}

// Health is always well.
func (s *store) Health(context.Context) error { return nil }

// hash keeps codes out of the store: what is in it cannot be redeemed.
func hash(code string) string {
	sum := sha256.Sum256([]byte(code))
	return string(sum[:])
}

func (r *authRequest) copy() *authRequest {
	c := *r
	return &c
}

// The methods below make an authRequest the library's op.AuthRequest; redirect
// URI, response type and mode, and state come from the embedded request.

func (r *authRequest) GetID() string          { return r.id }
func (r *authRequest) GetACR() string         { return acr }
func (r *authRequest) GetAMR() []string       { return []string{amr} }
func (r *authRequest) GetAudience() []string  { return []string{r.ClientID} }
func (r *authRequest) GetAuthTime() time.Time { return r.authTime }
func (r *authRequest) GetClientID() string    { return r.ClientID }
func (r *authRequest) GetNonce() string       { return r.Nonce }
func (r *authRequest) GetScopes() []string    { return r.Scopes }
func (r *authRequest) Done() bool             { return r.approved }

func (r *authRequest) GetCodeChallenge() *oidc.CodeChallenge {
	return &oidc.CodeChallenge{Challenge: r.CodeChallenge, Method: r.CodeChallengeMethod}
}

func (r *authRequest) GetSubject() string {
	if r.person == nil {
		return ""
	}
	return r.person.Subject
}

// client is the one client: confidential, authorization code only.
type client struct {
	id             string
	redirectURIs   []string
	postLogoutURIs []string
}

func (c *client) GetID() string                       { return c.id }
func (c *client) RedirectURIs() []string              { return c.redirectURIs }
func (c *client) PostLogoutRedirectURIs() []string    { return c.postLogoutURIs }
func (c *client) ApplicationType() op.ApplicationType { return op.ApplicationTypeWeb }
func (c *client) AuthMethod() oidc.AuthMethod         { return oidc.AuthMethodBasic }
func (c *client) ResponseTypes() []oidc.ResponseType {
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}
func (c *client) GrantTypes() []oidc.GrantType         { return []oidc.GrantType{oidc.GrantTypeCode} }
func (c *client) LoginURL(id string) string            { return "/signin?id=" + id }
func (c *client) AccessTokenType() op.AccessTokenType  { return op.AccessTokenTypeBearer }
func (c *client) IDTokenLifetime() time.Duration       { return tokenLife }
func (c *client) DevMode() bool                        { return false }
func (c *client) IsScopeAllowed(string) bool           { return false }
func (c *client) IDTokenUserinfoClaimsAssertion() bool { return true }
func (c *client) ClockSkew() time.Duration             { return 0 }

func (c *client) RestrictAdditionalIdTokenScopes() func([]string) []string {
	return func(scopes []string) []string { return scopes }
}

func (c *client) RestrictAdditionalAccessTokenScopes() func([]string) []string {
	return func(scopes []string) []string { return scopes }
}

// signingKey is the private key of the ID tokens; verifyingKey is its public
// half.
type signingKey struct {
	id  string
	key *rsa.PrivateKey
}

func newSigningKey() (*signingKey, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("make the signing key: %w", err)
	}
	return &signingKey{id: rand.Text(), key: key}, nil
}

func (k *signingKey) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (k *signingKey) Key() any                                    { return k.key }
func (k *signingKey) ID() string                                  { return k.id }

type verifyingKey struct{ private *signingKey }

func (k verifyingKey) ID() string                         { return k.private.id }
func (k verifyingKey) Algorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (k verifyingKey) Use() string                        { return "sig" }
func (k verifyingKey) Key() any                           { return &k.private.key.PublicKey }
