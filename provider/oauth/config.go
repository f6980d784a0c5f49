package oauth

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/gatebook/gatebook"
)

// withDefaults returns a copy of c that shares nothing with it.
func withDefaults(c Config) Config {
	if c.Name == "" {
		c.Name = c.ID
	}
	if c.Type == "" {
		c.Type = gatebook.TypeOIDC
	}
	if c.Issuer == "" {
		c.Issuer = os.Getenv(EnvName(c.ID, "ISSUER"))
	}
	if c.ClientID == "" {
		c.ClientID = os.Getenv(EnvName(c.ID, "ID"))
	}
	if c.ClientAuth == "" {
		c.ClientAuth = ClientSecretBasic
	}
	if c.ClientSecret == "" && c.SecretSource == nil && c.ClientAuth != ClientNone && c.ClientAuth != PrivateKeyJWT {
		c.ClientSecret = gatebook.Secret(os.Getenv(EnvName(c.ID, "SECRET")))
	}
	if c.Checks == nil {
		c.Checks = []string{CheckState, CheckPKCE}
		if c.Type == gatebook.TypeOIDC {
			c.Checks = append(c.Checks, CheckNonce)
		}
	}
	c.Profile = c.Profile.withDefaults()
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Scopes = slices.Clone(c.Scopes)
	c.AuthParams = slices.Clone(c.AuthParams)
	c.Checks = slices.Clone(c.Checks)
	c.IssuerAliases = slices.Clone(c.IssuerAliases)
	c.IDTokenAlgs = slices.Clone(c.IDTokenAlgs)
	c.Tenants = c.Tenants.clone()
	return c
}

func (c *Config) validate() error {
	if !validID.MatchString(c.ID) {
		return errors.New("field ID must be 1 to 64 letters, digits, '-' and '_'")
	}
	if c.ClientID == "" {
		return fmt.Errorf("field ClientID is empty, and so is %s", EnvName(c.ID, "ID"))
	}
	switch c.Type {
	case gatebook.TypeOIDC:
		if c.Issuer == "" {
			return fmt.Errorf("field Issuer is empty, and so is %s", EnvName(c.ID, "ISSUER"))
		}
	case gatebook.TypeOAuth:
		if c.AuthURL == "" || c.TokenURL == "" || c.UserinfoURL == "" {
			return errors.New("fields AuthURL, TokenURL and UserinfoURL are required for type oauth")
		}
	default:
		return fmt.Errorf("field Type %q is neither oidc nor oauth", c.Type)
	}
	return errors.Join(
		c.checkURL("Issuer", c.Issuer), c.checkURL("AuthURL", c.AuthURL),
		c.checkURL("TokenURL", c.TokenURL), c.checkURL("UserinfoURL", c.UserinfoURL),
		c.checkURL("JWKSURL", c.JWKSURL), c.validateClient(), c.validateOpenID(),
		c.validateChecks(), c.validateParams())
}

// validateOpenID checks what only an ID token gives a meaning.
func (c *Config) validateOpenID() error {
	openID := c.Type == gatebook.TypeOIDC
	for field, set := range map[string]bool{
		"JWKSURL": c.JWKSURL != "", "Tenants": c.Tenants != nil, "IDTokenAlgs": c.IDTokenAlgs != nil,
		"IssuerAliases": c.IssuerAliases != nil, "UserinfoProfile": c.UserinfoProfile,
	} {
		if set && !openID {
			return fmt.Errorf("field %s needs an ID token, which type oauth has not", field)
		}
	}
	if openID && c.Scopes != nil && !slices.Contains(c.Scopes, "openid") && !c.NoOpenIDScope {
		return errors.New(`field Scopes of an OpenID provider must contain "openid"`)
	}
	if c.UserinfoProfile && c.UserinfoURL == "" && c.isExplicit() {
		return errors.New("field UserinfoURL is empty, which UserinfoProfile needs where nothing is discovered")
	}
	for _, alg := range c.IDTokenAlgs {
		switch {
		case alg == hs256 && len(c.IDTokenAlgs) == 1 && c.ClientSecret != "":
		case alg == hs256:
			return errors.New("field IDTokenAlgs: HS256 must stand alone, and needs ClientSecret")
		case !slices.Contains(asymmetric, alg):
			return fmt.Errorf("field IDTokenAlgs: %q is none of HS256, %s", alg, strings.Join(asymmetric, ", "))
		}
	}
	return c.Tenants.validate()
}

// isExplicit reports that every address is configured, so that nothing is
// discovered.
func (c *Config) isExplicit() bool {
	return c.AuthURL != "" && c.TokenURL != "" && c.JWKSURL != ""
}

// checkURL refuses URLs that no request can go to, and http where the reply
// would decide who somebody is and anybody could forge it. An empty one is none.
func (c *Config) checkURL(field, s string) error {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http" {
		return fmt.Errorf("field %s is no absolute https URL", field)
	}
	if field == "Issuer" && u.RawQuery != "" {
		return errors.New("field Issuer must have no query")
	}
	if u.Scheme == "http" && !c.InsecureHTTP && !isLoopback(u.Hostname()) {
		return fmt.Errorf("field %s must be https (InsecureHTTP allows http for development)", field)
	}
	return nil
}

func isLoopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

func (c *Config) validateChecks() error {
	for _, check := range c.Checks {
		if check != CheckState && check != CheckPKCE && check != CheckNonce {
			return fmt.Errorf("field Checks: %q is none of state, pkce, nonce", check)
		}
	}
	if !slices.Contains(c.Checks, CheckState) {
		return errors.New("field Checks must contain state")
	}
	if slices.Contains(c.Checks, CheckNonce) && c.Type != gatebook.TypeOIDC {
		return errors.New("field Checks: nonce needs an ID token, which type oauth has not")
	}
	return nil
}

func (c *Config) validateParams() error {
	for _, p := range c.AuthParams {
		switch {
		case p.Name == "response_mode":
			if p.Value != "query" && p.Value != "form_post" {
				return errors.New("field AuthParams: response_mode must be query or form_post")
			}
		case p.Name == "" || isProtected(p.Name):
			return fmt.Errorf("field AuthParams: %q cannot be set", p.Name)
		}
	}
	return nil
}
