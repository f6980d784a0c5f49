package catalog

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/provider/oauth"
)

// entra gives no address that may be trusted by itself: an administrator of any
// tenant can write any address into email. The optional claims that say more are
// xms_edov, set when the domain's owner was verified, and the two lists of
// verified addresses.
var entra = entry{
	id: "microsoft-entra-id", name: "Microsoft Entra ID", brand: "#0072c6",
	typ:     gatebook.TypeOIDC,
	issuer:  "https://login.microsoftonline.com/common/v2.0",
	tenants: entraTenants,
	scopes:  []string{"openid", "profile", "email", "User.Read"},
	profile: oauth.Profile{
		ID:            []string{"sub"},
		Name:          []string{"name"},
		Image:         []string{},
		EmailVerified: []string{"xms_edov", "verified_primary_email", "verified_secondary_email"},
	},
}

// MicrosoftEntraID returns Microsoft Entra ID. Issuer is
// https://login.microsoftonline.com/<tenant>/v2.0, where the tenant is an id, a
// domain, "common" (the default: people of every tenant and with accounts of
// their own), "organizations" (the former only) or "consumers" (the latter
// only). Key needs its Certificate. The picture is not fetched: it would be in
// every token session as a data URI.
func MicrosoftEntraID(c Client) (*oauth.Provider, error) { return entra.provider(c) }

// entraPersonal is the tenant of everybody's own accounts.
const entraPersonal = "9188040d-6c67-4c5b-b112-36a304b66dad"

// entraTenants returns what iss may be for the issuer we ask, which has one of
// the names for many tenants, a tenant's domain or its id in its path.
func entraTenants(issuer string) (*oauth.Tenants, error) {
	u, err := url.Parse(issuer)
	if err != nil {
		return nil, errors.New("field Issuer is no URL")
	}
	tenant, version, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	if tenant == "" || version != "v2.0" {
		return nil, fmt.Errorf("field Issuer %q is not of the form https://login.microsoftonline.com/<tenant>/v2.0", issuer)
	}
	rule := entraRules[tenant]
	return &oauth.Tenants{
		Issuer: u.Scheme + "://" + u.Host + "/{tenant}/v2.0", Claim: "tid", Only: rule.only, Except: rule.except,
	}, nil
}

// entraRules are the tenants behind the names for many.
var entraRules = map[string]struct{ only, except []string }{
	"organizations": {except: []string{entraPersonal}},
	"consumers":     {only: []string{entraPersonal}},
}
