package oauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

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
// the metadata or the key that signed, called kid, names a tenant it must be that
// one.
func (p *Provider) checkIssuer(ends *endpoints, c gatebook.Claims, kid string) *gatebook.ProviderError {
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
	case !ends.keys.mayIssue(t, kid, tenant):
		return failed("the key is for another issuer")
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

// keyIssuers knows for which issuer each key is, where a key set says so in the
// key's member issuer, as Microsoft's does: all tenants share the set, and a key
// of one that leaks must be of no use for the others. It is the transport that
// the set comes through, since the library above drops that member.
type keyIssuers struct {
	base http.RoundTripper

	mu    sync.Mutex // guards what follows
	named bool       // there are keys with an issuer
	byKid map[string][]string
}

// RoundTrip fetches a key set and reads its issuers.
func (k *keyIssuers) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := k.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := readAll(resp)
	if err != nil {
		return nil, err
	}
	setBody(resp, body)
	var set struct {
		Keys []struct{ Kid, Issuer string }
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, errNotJSON
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.named, k.byKid = false, make(map[string][]string, len(set.Keys))
	for _, key := range set.Keys {
		k.named = k.named || key.Issuer != ""
		k.byKid[key.Kid] = append(k.byKid[key.Kid], key.Issuer)
	}
	return resp, nil
}

// mayIssue reports whether the key called kid signs for tenant. Where keys have
// issuers a token must say which signed it, or it would choose among all.
func (k *keyIssuers) mayIssue(t *Tenants, kid, tenant string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return !k.named || slices.ContainsFunc(k.byKid[kid], func(issuer string) bool {
		name, ok := t.name(issuer)
		return issuer == "" || ok && (isPlaceholder(name) || name == tenant)
	})
}
