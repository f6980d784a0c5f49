// Package catalog knows sign-in providers by name: their endpoints, scopes,
// profile fields and where they stray from the standards, as data over the
// engine of package provider/oauth.
//
//	github, err := catalog.GitHub(catalog.Client{ID: id, Secret: secret})
//
// With AUTH_GITHUB_ID and AUTH_GITHUB_SECRET in the environment,
// catalog.GitHub(catalog.Client{}) is enough. [New] finds a provider by its id,
// for programs that read ids from a configuration. A provider that is not here
// is made with oauth.New.
package catalog

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/provider/oauth"
)

// Client is our registration at a provider, and what may differ from one
// registration to the next. The zero Client takes everything from the
// environment and the provider's defaults.
type Client struct {
	// ID and Secret are what the provider gave at registration. If empty, the
	// variables AUTH_<PROVIDER>_ID and AUTH_<PROVIDER>_SECRET, such as
	// AUTH_GITHUB_ID (oauth.EnvName).
	ID     string
	Secret gatebook.Secret
	// ProviderID takes the place of the provider's id in routes, accounts and
	// variables, for a second registration at the same provider.
	ProviderID string
	// Issuer is for an instance of the provider with an address of its own, such
	// as https://github.example.com/login/oauth for GitHub Enterprise Server. If
	// empty, the variable AUTH_<PROVIDER>_ISSUER, else the public instance.
	Issuer string
	// Scopes takes the place of the provider's default scopes.
	Scopes []string
	// Params are further parameters of the authorization request, such as
	// prompt.
	Params []gatebook.Param
	// Auth is how we prove to the provider who we are, where a registration may
	// choose: oauth.ClientNone for a public client, oauth.PrivateKeyJWT with
	// Key. If empty, what the provider expects of one with a secret.
	Auth oauth.ClientAuth
	Key  *oauth.ClientKey
	// SecretKey makes the secret, in place of Secret, where the secret is a token
	// that the client signs.
	SecretKey *SecretKey
	// LinkByVerifiedEmail links an account to the user who has its verified
	// address; see oauth.Config before you set it.
	LinkByVerifiedEmail bool
	// HTTP makes the requests to the provider. If nil, oauth.Config's default.
	HTTP *http.Client
}

// SecretKey is the key with which a client of Apple signs its secrets.
type SecretKey struct {
	// TeamID and KeyID are ten letters and digits each, as Apple's developer
	// pages show them.
	TeamID, KeyID string
	// PrivateKey is the content of the file AuthKey_<KeyID>.p8.
	PrivateKey gatebook.Secret
}

// entry is what is known of a provider. URLs are templates: {issuer} stands for
// the issuer, {base} for it without issuerPath, {api} for what apiBase makes of
// that.
type entry struct {
	id, name, brand string
	typ             string
	// issuer is that of the public instance, empty where there is none.
	issuer        string
	issuerAliases []string
	// issuerPath is what the issuer adds to the instance's address.
	issuerPath string
	apiBase    func(base string) string
	tenants    func(issuer string) (*oauth.Tenants, error)

	authURL, tokenURL, userinfoURL string
	// userinfoWith are other userinfo URLs by the scope that they need.
	userinfoWith map[string]string
	auth         oauth.ClientAuth
	// secret is the secret of a client that signs it.
	secret   func(clientID string, k *SecretKey) (secretSource, error)
	checks   []string
	scopes   []string
	noOpenID bool // the scope openid is not needed
	params   []gatebook.Param

	// httpsOnly says that no redirect URI may be http, not even for localhost.
	httpsOnly bool

	userParam string
	profile   oauth.Profile
	enrich    func(api string) enrich
}

type (
	enrich       = func(ctx context.Context, fetch oauth.Fetch, profile *gatebook.Claims) error
	secretSource = func(now time.Time) (secret gatebook.Secret, expires time.Time, err error)
)

// IDs returns the ids that [New] knows, sorted.
func IDs() []string {
	ids := make([]string, len(entries))
	for i, e := range entries {
		ids[i] = e.id
	}
	return ids
}

// HTTPSOnly reports whether the provider called id refuses every redirect URI that
// is http, also one of localhost. Of an unknown id it knows nothing and says no.
func HTTPSOnly(id string) bool {
	return slices.ContainsFunc(entries, func(e entry) bool { return e.id == id && e.httpsOnly })
}

// New returns the provider called id, one of [IDs], with the registration c. It
// uses no network. What is wrong with c is said in the error.
func New(id string, c Client) (*oauth.Provider, error) {
	i := slices.IndexFunc(entries, func(e entry) bool { return e.id == id })
	if i < 0 {
		return nil, fmt.Errorf("catalog: there is no provider %q; it has %s", id, strings.Join(IDs(), ", "))
	}
	return entries[i].provider(c)
}

func (e entry) provider(c Client) (*oauth.Provider, error) {
	id := first(c.ProviderID, e.id)
	issuer := strings.TrimSuffix(first(c.Issuer, os.Getenv(oauth.EnvName(id, "ISSUER")), e.issuer), "/")
	base := strings.TrimSuffix(issuer, e.issuerPath)
	api := base
	if e.apiBase != nil {
		api = e.apiBase(base)
	}
	config := oauth.Config{
		ID: id, Name: e.name, BrandColor: e.brand, Type: e.typ,
		Issuer: issuer, IssuerAliases: e.issuerAliases,
		ClientID: first(c.ID, os.Getenv(oauth.EnvName(id, "ID"))), ClientSecret: c.Secret,
		ClientAuth: oauth.ClientAuth(first(string(c.Auth), string(e.auth))), ClientKey: c.Key,
		Scopes: e.scopes, NoOpenIDScope: e.noOpenID, AuthParams: slices.Concat(e.params, c.Params), Checks: e.checks,
		UserParam: e.userParam, Profile: e.profile,
		LinkByVerifiedEmail: c.LinkByVerifiedEmail,
		Client:              c.HTTP,
	}
	if c.Scopes != nil {
		config.Scopes = c.Scopes
	}
	fill := strings.NewReplacer("{issuer}", issuer, "{base}", base, "{api}", api).Replace
	config.AuthURL, config.TokenURL, config.UserinfoURL = fill(e.authURL), fill(e.tokenURL), fill(e.userinfoURL)
	for scope, url := range e.userinfoWith {
		if slices.Contains(config.Scopes, scope) {
			config.UserinfoURL = fill(url)
		}
	}
	if e.tenants != nil {
		var err error
		if config.Tenants, err = e.tenants(issuer); err != nil {
			return nil, fmt.Errorf("catalog: provider %q: %w", id, err)
		}
	}
	if e.enrich != nil {
		config.Enrich = e.enrich(api)
	}
	if err := e.signSecret(&config, c.SecretKey); err != nil {
		return nil, fmt.Errorf("catalog: provider %q: %w", id, err)
	}
	return oauth.New(config)
}

func (e entry) signSecret(config *oauth.Config, k *SecretKey) (err error) {
	switch {
	case k == nil:
		return nil
	case e.secret == nil:
		return fmt.Errorf("field SecretKey: a client of %s does not sign its secret", e.name)
	case config.ClientSecret != "":
		return errors.New("fields Secret and SecretKey exclude each other")
	}
	config.SecretSource, err = e.secret(config.ClientID, k)
	return err
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
