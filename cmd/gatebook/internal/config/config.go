// Package config reads gatebook.yaml: strictly, so that a slip of the hand is
// an error that names its line, and with the environment above it.
package config

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gatebook/gatebook/mail/httpmail"
	"github.com/gatebook/gatebook/provider/catalog"
	"github.com/gatebook/gatebook/provider/oauth"
)

// Config is what gatebook.yaml says. Names and meaning are those of
// gatebook.Config where that has the same thing.
type Config struct {
	URL      string   `yaml:"url"`
	Listen   string   `yaml:"listen"`
	BasePath string   `yaml:"basePath"`
	Database Database `yaml:"database"`
	// Redis is the address of a cache of sessions, or empty.
	Redis          string         `yaml:"redis" secret:"yes"`
	Secrets        []string       `yaml:"secrets"`
	TrustHost      bool           `yaml:"trustHost"`
	TrustedProxies []netip.Prefix `yaml:"trustedProxies"`
	TrustedOrigins []string       `yaml:"trustedOrigins"`
	CookieDomain   string         `yaml:"cookieDomain"`
	// UseSecureCookies is nil where the file says nothing.
	UseSecureCookies     *bool      `yaml:"useSecureCookies"`
	Cookies              Cookies    `yaml:"cookies"`
	RedirectProxyURL     string     `yaml:"redirectProxyUrl"`
	RedirectProxyOrigins []string   `yaml:"redirectProxyOrigins"`
	Session              Session    `yaml:"session"`
	Providers            []Provider `yaml:"providers"`
	Pages                Pages      `yaml:"pages"`
	Theme                Theme      `yaml:"theme"`
	Log                  Log        `yaml:"log"`

	// Path is the file this came from, and Literal tells that it holds secrets
	// themselves instead of the names of variables.
	Path    string `yaml:"-"`
	Literal bool   `yaml:"-"`
}

// Cookies is gatebook.Cookies.
type Cookies struct {
	SessionToken      Cookie `yaml:"sessionToken"`
	CallbackURL       Cookie `yaml:"callbackUrl"`
	CSRFToken         Cookie `yaml:"csrfToken"`
	State             Cookie `yaml:"state"`
	PKCECodeVerifier  Cookie `yaml:"pkceCodeVerifier"`
	Nonce             Cookie `yaml:"nonce"`
	WebAuthnChallenge Cookie `yaml:"webauthnChallenge"`
}

// Cookie is gatebook.CookieConfig.
type Cookie struct {
	Name     string `yaml:"name"`
	Path     string `yaml:"path"`
	SameSite string `yaml:"sameSite"`
}

// Session is gatebook.SessionConfig.
type Session struct {
	Strategy    string        `yaml:"strategy"`
	MaxAge      time.Duration `yaml:"maxAge"`
	UpdateAge   time.Duration `yaml:"updateAge"`
	TokenMaxAge time.Duration `yaml:"tokenMaxAge"`
	Revocable   bool          `yaml:"revocable"`
}

// Provider is a way to sign in: one of the catalog, whose id says all but the
// client, or one of a type.
type Provider struct {
	ID         string `yaml:"id"`
	Type       string `yaml:"type"` // oidc, oauth, email, passkey; empty for the catalog's
	Name       string `yaml:"name"`
	BrandColor string `yaml:"brandColor"`

	Issuer       string `yaml:"issuer"`
	ClientID     string `yaml:"clientId"`
	ClientSecret string `yaml:"clientSecret" secret:"yes"`
	ClientAuth   string `yaml:"clientAuth"`
	// PrivateKey, with KeyID and Certificate, is oauth.ClientKey; with TeamID it
	// is catalog.SecretKey. All but the ids are PEM.
	PrivateKey          string   `yaml:"privateKey" secret:"yes"`
	KeyID               string   `yaml:"keyId"`
	TeamID              string   `yaml:"teamId"`
	Certificate         string   `yaml:"certificate"`
	Scopes              []string `yaml:"scopes"`
	AuthorizationURL    string   `yaml:"authorizationUrl"`
	TokenURL            string   `yaml:"tokenUrl"`
	UserinfoURL         string   `yaml:"userinfoUrl"`
	LinkByVerifiedEmail bool     `yaml:"linkByVerifiedEmail"`

	From string `yaml:"from"`
	SMTP string `yaml:"smtp" secret:"yes"`
	// Service is one of httpmail.IDs, in the place of SMTP; the rest is that of
	// httpmail.Config.
	Service         string `yaml:"service"`
	Key             string `yaml:"key" secret:"yes"`
	Domain          string `yaml:"domain"`
	Region          string `yaml:"region"`
	TransactionalID string `yaml:"transactionalId"`

	MaxAge time.Duration `yaml:"maxAge"`

	// Those of passkey.Config.
	RPID         string   `yaml:"rpId"`
	RPName       string   `yaml:"rpName"`
	Origins      []string `yaml:"origins"`
	SignUp       bool     `yaml:"signUp"`
	SecurityKeys bool     `yaml:"securityKeys"`

	// Line is where it stands in the file.
	Line int `yaml:"-"`
}

// Pages is gatebook.Pages.
type Pages struct {
	SignIn        string `yaml:"signIn"`
	SignOut       string `yaml:"signOut"`
	Error         string `yaml:"error"`
	VerifyRequest string `yaml:"verifyRequest"`
	NewUser       string `yaml:"newUser"`
}

// Theme is gatebook.Theme.
type Theme struct {
	ColorScheme string `yaml:"colorScheme"`
	BrandColor  string `yaml:"brandColor"`
	ButtonText  string `yaml:"buttonText"`
	Logo        string `yaml:"logo"`
}

// Log says what is logged and how.
type Log struct {
	Level  string `yaml:"level"`  // debug, info, warn, error; info when empty
	Format string `yaml:"format"` // text, json; by the output when empty
}

// Lookup finds an environment variable, as os.LookupEnv does.
type Lookup func(name string) (value string, ok bool)

// Load reads the file at path with the variables of env, and puts what env
// says above it: AUTH_SECRET and its numbered ones, AUTH_URL, AUTH_TRUST_HOST,
// AUTH_REDIRECT_PROXY_URL, and AUTH_<ID>_ID, _SECRET and _ISSUER of each provider. Its errors name the
// file and, where it can be told, the line and the key; they are all that is
// wrong, joined.
func Load(path string, env Lookup) (*Config, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, missingError{path}
	}
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	c, err := Parse(filepath.Base(path), data, env)
	if err != nil {
		return nil, err
	}
	c.Path = path
	return c, nil
}

// missingError is a file that is not there, in words that say what to do.
type missingError struct{ path string }

func (e missingError) Error() string        { return e.path + " does not exist: `gatebook init` writes one" }
func (e missingError) Is(target error) bool { return target == os.ErrNotExist }

// Parse is [Load] of a file called name that holds data.
func Parse(name string, data []byte, env Lookup) (*Config, error) {
	c := &Config{}
	d := &decoder{name: name, env: env, literal: &c.Literal}
	d.document(data, c)
	if len(d.errs) > 0 {
		return nil, errors.Join(d.errs...)
	}
	c.override(env)
	c.check(d)
	if len(d.errs) > 0 {
		return nil, errors.Join(d.errs...)
	}
	return c, nil
}

// override puts the environment above the file.
func (c *Config) override(env Lookup) {
	set := func(field *string, name string) {
		if v, ok := env(name); ok && v != "" {
			*field = v
		}
	}
	var secrets []string
	for _, name := range []string{"AUTH_SECRET_3", "AUTH_SECRET_2", "AUTH_SECRET_1", "AUTH_SECRET"} {
		if v, ok := env(name); ok && v != "" {
			secrets = append(secrets, v)
		}
	}
	if secrets != nil {
		c.Secrets = secrets
	}
	set(&c.URL, "AUTH_URL")
	set(&c.RedirectProxyURL, "AUTH_REDIRECT_PROXY_URL")
	if v, ok := env("AUTH_TRUST_HOST"); ok && v != "" {
		c.TrustHost = v != "false" && v != "0"
	}
	for i := range c.Providers {
		p := &c.Providers[i]
		if p.Service != "" {
			set(&p.Key, oauth.EnvName(p.Service, "KEY"))
			set(&p.TransactionalID, oauth.EnvName(p.Service, "TRANSACTIONAL_ID"))
		}
		if p.Type == "email" || p.Type == "passkey" || p.ID == "" {
			continue
		}
		set(&p.ClientID, oauth.EnvName(p.ID, "ID"))
		set(&p.ClientSecret, oauth.EnvName(p.ID, "SECRET"))
		set(&p.Issuer, oauth.EnvName(p.ID, "ISSUER"))
	}
}

// check finds what single values cannot show. The library checks the rest.
func (c *Config) check(d *decoder) {
	if u, err := url.Parse(c.URL); c.URL != "" && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http") {
		d.fail(0, "url", "must be an address such as https://app.example.com")
	}
	c.Database.check(d)
	if c.Redis != "" && !strings.HasPrefix(c.Redis, "redis://") && !strings.HasPrefix(c.Redis, "rediss://") {
		d.fail(0, "redis", "must be an address such as redis://:password@localhost:6379/0, or rediss:// with TLS")
	}
	oneOf(d, "session.strategy", c.Session.Strategy, "database", "jwt")
	oneOf(d, "log.level", c.Log.Level, "debug", "info", "warn", "error")
	oneOf(d, "log.format", c.Log.Format, "text", "json")
	if len(c.Secrets) == 0 {
		d.fail(0, "secrets", "is missing: set AUTH_SECRET; `gatebook secret` makes one")
	}
	if len(c.Providers) == 0 {
		d.fail(0, "providers", "is missing: name at least one way to sign in")
	}
	for i := range c.Providers {
		c.Providers[i].check(d, fmt.Sprintf("providers[%d]", i))
	}
}

func oneOf(d *decoder, key, value string, allowed ...string) {
	if value != "" && !slices.Contains(allowed, value) {
		d.fail(0, key, "%q is none of %s", value, strings.Join(allowed, ", "))
	}
}

func (p *Provider) check(d *decoder, key string) {
	need := func(name, value string) {
		if value == "" {
			d.fail(p.Line, key+"."+name, "is missing")
		}
	}
	refuse := func(name string, given bool) {
		if given {
			d.fail(p.Line, key+"."+name, "does not belong to a provider of type %s", p.kind())
		}
	}
	mail, keys := p.Type == "email", p.Type == "passkey"
	client := !mail && !keys
	refuse("from", !mail && p.From != "")
	refuse("smtp", !mail && p.SMTP != "")
	refuse("service", !mail && p.Service != "")
	refuse("key", !mail && p.Key != "")
	refuse("domain", !mail && p.Domain != "")
	refuse("region", !mail && p.Region != "")
	refuse("transactionalId", !mail && p.TransactionalID != "")
	refuse("maxAge", !mail && p.MaxAge != 0)
	refuse("issuer", !client && p.Issuer != "")
	refuse("clientId", !client && p.ClientID != "")
	refuse("clientSecret", !client && p.ClientSecret != "")
	refuse("clientAuth", !client && p.ClientAuth != "")
	refuse("privateKey", !client && p.PrivateKey != "")
	refuse("scopes", !client && p.Scopes != nil)
	refuse("rpId", !keys && p.RPID != "")
	refuse("rpName", !keys && p.RPName != "")
	refuse("origins", !keys && p.Origins != nil)
	refuse("signUp", !keys && p.SignUp)
	refuse("securityKeys", !keys && p.SecurityKeys)
	for name, value := range map[string]string{"keyId": p.KeyID, "teamId": p.TeamID, "certificate": p.Certificate} {
		if value != "" && p.PrivateKey == "" {
			d.fail(p.Line, key+"."+name, "belongs to a privateKey, which is missing")
		}
	}
	switch p.Type {
	case "":
		need("id", p.ID)
		if p.ID != "" && !slices.Contains(catalog.IDs(), p.ID) {
			hint := "it has " + strings.Join(catalog.IDs(), ", ") + "; any other provider needs a type: oidc, oauth, email or passkey"
			if near := Nearest(p.ID, catalog.IDs()); near != "" {
				hint = "did you mean " + near + "?"
			}
			d.fail(p.Line, key+".id", "the catalog has no %q: %s", p.ID, hint)
		}
		refuse("name", p.Name != "")
		refuse("brandColor", p.BrandColor != "")
		refuse("authorizationUrl", p.AuthorizationURL != "")
		refuse("tokenUrl", p.TokenURL != "")
		refuse("userinfoUrl", p.UserinfoURL != "")
	case "oidc":
		need("id", p.ID)
		need("issuer", p.Issuer)
		need("clientId", p.ClientID)
	case "oauth":
		need("id", p.ID)
		need("clientId", p.ClientID)
		need("authorizationUrl", p.AuthorizationURL)
		need("tokenUrl", p.TokenURL)
		need("userinfoUrl", p.UserinfoURL)
	case "email":
		need("from", p.From)
		p.checkService(d, key)
	case "passkey": // nothing is needed
	case "credentials":
		d.fail(p.Line, key+".type", "passwords are checked by the application: use the Go package, not this command")
	default:
		d.fail(p.Line, key+".type", "%q is none of oidc, oauth, email, passkey", p.Type)
	}
}

// checkService checks how a provider of type email sends.
func (p *Provider) checkService(d *decoder, key string) {
	services := httpmail.IDs()
	switch {
	case p.SMTP != "" && p.Service != "":
		d.fail(p.Line, key+".service", "stands beside smtp: mails are sent by one of them")
	case p.SMTP == "" && p.Service == "":
		d.fail(p.Line, key+".smtp", "is missing; or name a service: %s", strings.Join(services, ", "))
	case p.Service != "" && !slices.Contains(services, p.Service):
		hint := "it is none of " + strings.Join(services, ", ")
		if near := Nearest(p.Service, services); near != "" {
			hint = "did you mean " + near + "?"
		}
		d.fail(p.Line, key+".service", "%q is not known: %s", p.Service, hint)
	case p.Service != "" && p.Key == "":
		d.fail(p.Line, key+".key", "is missing: set it or %s", oauth.EnvName(p.Service, "KEY"))
	case p.Service == "" && (p.Key != "" || p.Domain != "" || p.Region != "" || p.TransactionalID != ""):
		d.fail(p.Line, key+".service", "is missing, and key, domain, region and transactionalId belong to one")
	}
}

func (p *Provider) kind() string {
	if p.Type == "" {
		return "catalog"
	}
	return p.Type
}
