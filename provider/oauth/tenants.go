package oauth

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gatebook/gatebook"
)

// Tenants says how a provider that has many tenants under one address names
// them. Its metadata then names one tenant, or none with a placeholder in braces;
// its ID tokens name their own.
type Tenants struct {
	// Issuer is the issuer of a tenant with {tenant} where its name is, such as
	// "https://login.microsoftonline.com/{tenant}/v2.0".
	Issuer string
	// Claim is the ID token's claim that holds the tenant's name, such as tid.
	Claim string
	// Only are the tenants whose people may sign in; nil allows all. Except are
	// tenants whose people may not.
	Only, Except []string
}

const tenantField = "{tenant}"

func (t *Tenants) clone() *Tenants {
	if t == nil {
		return nil
	}
	c := *t
	c.Only, c.Except = slices.Clone(t.Only), slices.Clone(t.Except)
	return &c
}

func (t *Tenants) validate() error {
	switch {
	case t == nil:
		return nil
	case strings.Count(t.Issuer, tenantField) != 1:
		return fmt.Errorf("field Tenants: Issuer must have %s once", tenantField)
	case t.Claim == "":
		return errors.New("field Tenants: Claim is empty")
	}
	return nil
}

// name returns the tenant that issuer names.
func (t *Tenants) name(issuer string) (string, bool) {
	if t == nil {
		return "", false
	}
	before, after, _ := strings.Cut(t.Issuer, tenantField)
	rest, ok := strings.CutPrefix(issuer, before)
	if !ok {
		return "", false
	}
	name, ok := strings.CutSuffix(rest, after)
	return name, ok && name != "" && !strings.ContainsAny(name, "/?#")
}

// isPlaceholder reports that a name out of the metadata stands for any tenant.
func isPlaceholder(name string) bool { return strings.HasPrefix(name, "{") }

// checkIssuer checks the iss of an ID token, whose signature is good. Whose
// tenant it is the token alone says, so iss and the claim must agree, and where
// the metadata names a tenant it must be that one.
func (p *Provider) checkIssuer(ends *endpoints, c gatebook.Claims) *gatebook.ProviderError {
	failed := func(text string) *gatebook.ProviderError {
		return checkFailed("id_token", reasonIssuerMismatch, "iss", text)
	}
	iss, t := c.String("iss"), p.cfg.Tenants
	if t == nil {
		if iss != ends.issuer && !slices.Contains(p.cfg.IssuerAliases, iss) {
			return failed("iss is not the provider's issuer")
		}
		return nil
	}
	tenant, ok := t.name(iss)
	switch named, _ := t.name(ends.issuer); {
	case !ok || isPlaceholder(tenant) || tenant != c.String(t.Claim):
		return failed("iss is not the issuer of the token's tenant")
	case !isPlaceholder(named) && tenant != named:
		return failed("iss is the issuer of another tenant")
	case t.Only != nil && !slices.Contains(t.Only, tenant) || slices.Contains(t.Except, tenant):
		return failed("people of this tenant may not sign in")
	}
	return nil
}

// isIssuer reports whether the iss parameter of a reply (RFC 9207) is this
// provider's. Of a provider with tenants it says no more than the address: the
// ID token says which.
func (p *Provider) isIssuer(ends *endpoints, iss string) bool {
	tenant, ok := p.cfg.Tenants.name(iss)
	return iss == ends.issuer || ok && !isPlaceholder(tenant)
}
