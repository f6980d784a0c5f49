package oauth

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/gatebook/gatebook"
)

const (
	// metadataLife is how long discovered metadata is used before it is fetched
	// again. Keys are fetched again with it, so a withdrawn key dies within it.
	metadataLife = time.Hour
	// retryAfter is how long metadata that could not be renewed is used on.
	retryAfter = time.Minute
)

// endpoints is what the engine must know of a provider's server.
type endpoints struct {
	issuer                         string
	authURL, tokenURL, userinfoURL string
	// issRequired is set when the provider says that it sends the iss parameter
	// (RFC 9207, Section 3).
	issRequired bool
	verifier    *oidc.IDTokenVerifier
	// keys tells whose the keys are at a provider with tenants, else nil.
	keys *keyIssuers
}

// endpoints returns the configured endpoints, or for OpenID Connect discovered
// ones where none are configured.
func (p *Provider) endpoints(ctx context.Context) (*endpoints, error) {
	if !p.isOIDC() {
		return &endpoints{
			issuer: p.cfg.Issuer, authURL: p.cfg.AuthURL,
			tokenURL: p.cfg.TokenURL, userinfoURL: p.cfg.UserinfoURL,
		}, nil
	}
	return p.discovery.get(ctx)
}

// discover fetches and checks the provider's metadata (OpenID Connect Discovery
// 1.0, Section 4).
func (p *Provider) discover(ctx context.Context) (*endpoints, error) {
	client := *p.http
	client.Transport = only200{client.Transport}
	ctx = oidc.ClientContext(ctx, &client)
	if p.cfg.isExplicit() {
		e := &endpoints{issuer: p.cfg.Issuer, authURL: p.cfg.AuthURL, tokenURL: p.cfg.TokenURL, userinfoURL: p.cfg.UserinfoURL}
		p.verifyBy(e, client, p.cfg.JWKSURL, nil)
		return e, nil
	}
	provider, err := oidc.NewProvider(ctx, p.cfg.Issuer)
	var mismatch *oidc.IssuerMismatchError
	if errors.As(err, &mismatch) && p.mayDiscover(mismatch.Discovered) {
		provider, err = oidc.NewProvider(oidc.InsecureIssuerURLContext(ctx, mismatch.Discovered), p.cfg.Issuer)
	}
	if errors.As(err, &mismatch) {
		return nil, checkFailed("discovery", reasonIssuerMismatch, "iss",
			"the metadata's issuer is not the configured one")
	}
	if err != nil {
		return nil, discoveryFailed(err)
	}
	var extra struct {
		Issuer      string   `json:"issuer"`
		JWKSURL     string   `json:"jwks_uri"`
		Algs        []string `json:"id_token_signing_alg_values_supported"`
		IssRequired bool     `json:"authorization_response_iss_parameter_supported"`
	}
	if provider.Claims(&extra) != nil {
		return nil, replyInvalid("discovery", errNotJSON)
	}
	jwksURL := or(p.cfg.JWKSURL, extra.JWKSURL)
	e := &endpoints{
		issuer:      extra.Issuer,
		authURL:     or(p.cfg.AuthURL, provider.Endpoint().AuthURL),
		tokenURL:    or(p.cfg.TokenURL, provider.Endpoint().TokenURL),
		userinfoURL: or(p.cfg.UserinfoURL, provider.UserInfoEndpoint()),
		issRequired: extra.IssRequired,
	}
	p.verifyBy(e, client, jwksURL, extra.Algs)
	if e.authURL == "" || e.tokenURL == "" || jwksURL == "" || p.cfg.UserinfoProfile && e.userinfoURL == "" {
		return nil, replyInvalid("discovery", errors.New("the metadata lacks an endpoint"))
	}
	if errors.Join(p.cfg.checkURL("authorization_endpoint", e.authURL), p.cfg.checkURL("token_endpoint", e.tokenURL),
		p.cfg.checkURL("userinfo_endpoint", e.userinfoURL), p.cfg.checkURL("jwks_uri", jwksURL)) != nil {
		return nil, replyInvalid("discovery", errors.New("an endpoint of the metadata is no https URL"))
	}
	// http is for a provider on this machine. One elsewhere has nothing here.
	for _, s := range []struct{ used, configured string }{
		{e.authURL, p.cfg.AuthURL}, {e.tokenURL, p.cfg.TokenURL}, {e.userinfoURL, p.cfg.UserinfoURL}, {jwksURL, p.cfg.JWKSURL},
	} {
		if isHTTPS(p.cfg.Issuer) && !p.cfg.InsecureHTTP && s.configured == "" && s.used != "" && !isHTTPS(s.used) {
			return nil, replyInvalid("discovery", errors.New("an endpoint of the metadata is no https URL"))
		}
	}
	return e, nil
}

func isHTTPS(s string) bool { return strings.HasPrefix(strings.ToLower(s), "https:") }

// verifyBy has ID tokens verified by the keys at jwksURL. They are fetched later,
// under no visitor's context.
func (p *Provider) verifyBy(e *endpoints, client http.Client, jwksURL string, algs []string) {
	if p.cfg.Tenants != nil {
		e.keys = &keyIssuers{base: client.Transport}
		client.Transport = e.keys
	}
	ctx := oidc.ClientContext(context.Background(), &client)
	e.verifier = p.newVerifier(ctx, e.issuer, jwksURL, algs)
}

// discoveryFailed tells a reply that is no metadata from no reply: go-oidc gives
// errors of the request as they are and makes its own for what it cannot decode.
func discoveryFailed(err error) *gatebook.ProviderError {
	if strings.HasPrefix(err.Error(), "oidc: failed to decode") {
		return replyInvalid("discovery", errNotJSON)
	}
	return requestFailed("discovery", err)
}

// mayDiscover reports whether issuer, which the metadata names, is what we asked
// for under another name: one slash at the end is no other issuer, and the
// metadata of several tenants names none of them. ID tokens must then carry the
// provider's spelling.
func (p *Provider) mayDiscover(issuer string) bool {
	_, tenant := p.cfg.Tenants.name(issuer)
	return tenant || strings.TrimSuffix(issuer, "/") == strings.TrimSuffix(p.cfg.Issuer, "/")
}

func or(configured, discovered string) string {
	if configured != "" {
		return configured
	}
	return discovered
}

// discovery keeps a provider's metadata and lets one fetch serve all who wait.
type discovery struct {
	fetch func(context.Context) (*endpoints, error)
	now   func() time.Time

	mu    sync.Mutex // guards what follows
	ends  *endpoints
	until time.Time
	call  *discoveryCall
}

type discoveryCall struct {
	done chan struct{} // closed when ends and err are set
	ends *endpoints
	err  error
}

func (d *discovery) get(ctx context.Context) (*endpoints, error) {
	d.mu.Lock()
	if d.ends != nil && d.now().Before(d.until) {
		defer d.mu.Unlock()
		return d.ends, nil
	}
	call := d.call
	if call == nil {
		call = &discoveryCall{done: make(chan struct{})}
		d.call = call
		// The fetch outlives a visitor who hangs up, since others wait for it;
		// the client's timeout ends it.
		go d.run(context.WithoutCancel(ctx), call)
	}
	d.mu.Unlock()
	select {
	case <-call.done:
		return call.ends, call.err
	case <-ctx.Done():
		return nil, requestFailed("discovery", ctx.Err())
	}
}

func (d *discovery) run(ctx context.Context, call *discoveryCall) {
	ends, err := d.fetch(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case err == nil:
		d.ends, d.until = ends, d.now().Add(metadataLife)
	case d.ends != nil:
		// A provider that cannot be asked just now has hardly moved.
		ends, err = d.ends, nil
		d.until = d.now().Add(retryAfter)
	}
	call.ends, call.err = ends, err
	d.call = nil
	close(call.done)
}

// expire makes the next get fetch again: the keys' place may have changed.
func (d *discovery) expire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.until = time.Time{}
}
