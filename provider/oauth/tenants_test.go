package oauth_test

import (
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/provider/oauth"
	"github.com/gatebook/gatebook/record"
)

// TestTenants signs in at a provider whose metadata names no tenant, one tenant,
// or nothing that was asked for.
func TestTenants(t *testing.T) {
	const any, acme, other = "{tenantid}", "acme-1", "other-2"
	issuer := func(f *fake, tenant string) string { return f.URL + "/" + tenant + "/v2.0" }
	mismatch := gatebook.ProviderError{Reason: record.ReasonIssuerMismatch, Check: "iss", Step: "id_token"}
	discovery := mismatch
	discovery.Step = "discovery"
	tests := []struct {
		name     string
		metadata string // the tenant that it names
		iss, tid string // of the token
		rule     oauth.Tenants
		param    string // iss of the reply, unless empty
		want     *gatebook.ProviderError
	}{
		{name: "any tenant", metadata: any, iss: acme, tid: acme},
		{name: "any tenant, another one", metadata: any, iss: other, tid: other},
		{name: "the tenant of the metadata", metadata: acme, iss: acme, tid: acme},
		{name: "another tenant than the metadata's", metadata: acme, iss: other, tid: other, want: &mismatch},
		{name: "iss of another tenant than the token's", metadata: any, iss: acme, tid: other, want: &mismatch},
		{name: "no tid", metadata: any, iss: acme, want: &mismatch},
		{name: "the placeholder itself", metadata: any, iss: any, tid: any, want: &mismatch},
		{name: "two path segments", metadata: any, iss: "a/b", tid: "a/b", want: &mismatch},
		{name: "allowed", metadata: any, iss: acme, tid: acme, rule: oauth.Tenants{Only: []string{other, acme}}},
		{name: "not among those allowed", metadata: any, iss: acme, tid: acme, rule: oauth.Tenants{Only: []string{other}}, want: &mismatch},
		{name: "excepted", metadata: any, iss: acme, tid: acme, rule: oauth.Tenants{Except: []string{acme}}, want: &mismatch},
		{name: "not excepted", metadata: any, iss: acme, tid: acme, rule: oauth.Tenants{Except: []string{other}}},
		{name: "reply's iss of a tenant", metadata: any, iss: acme, tid: acme, param: acme},
		{name: "metadata of another form", metadata: "a/b", iss: acme, tid: acme, want: &discovery},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			f.handle("/common/v2.0/.well-known/openid-configuration", f.serveMetadata)
			f.metadata["issuer"] = issuer(f, tt.metadata)
			f.claims["iss"] = issuer(f, tt.iss)
			if tt.tid != "" {
				f.claims["tid"] = tt.tid
			}
			c := f.config()
			c.Issuer = issuer(f, "common")
			tt.rule.Issuer, tt.rule.Claim = issuer(f, "{tenant}"), "tid"
			c.Tenants = &tt.rule
			p := newProvider(t, c)
			if tt.want == &discovery {
				_, err := p.Begin(t.Context(), &gatebook.Begin{RedirectURI: callback, State: "s"})
				wantError(t, nil, err, discovery)
				return
			}
			in := f.begin(t, p)
			if tt.param != "" {
				in.Params["iss"] = issuer(f, tt.param)
			}
			proof, err := p.Complete(t.Context(), in)
			if tt.want == nil {
				if err != nil {
					t.Errorf("sign in: %v", err)
				}
				return
			}
			wantError(t, proof, err, *tt.want)
		})
	}
}

// TestTenantsAfterSignature has a token say that it is of another tenant without
// the key to say so.
func TestTenantsAfterSignature(t *testing.T) {
	f := newFake(t)
	f.handle("/common/v2.0/.well-known/openid-configuration", f.serveMetadata)
	f.metadata["issuer"] = f.URL + "/{tenantid}/v2.0"
	f.claims["iss"], f.claims["tid"] = f.URL+"/acme/v2.0", "acme"
	f.sign = signRS256("k1", otherRSAKey())
	c := f.config()
	c.Issuer, c.Tenants = f.URL+"/common/v2.0", &oauth.Tenants{Issuer: f.URL + "/{tenant}/v2.0", Claim: "tid"}
	proof, err := f.signIn(t, c)
	wantError(t, proof, err, gatebook.ProviderError{Reason: record.ReasonIDTokenInvalid, Check: "signature", Step: "id_token"})
	p := newProvider(t, c)
	in := f.begin(t, p)
	in.Params["iss"] = "https://elsewhere.example/acme/v2.0"
	proof, err = p.Complete(t.Context(), in)
	wantError(t, proof, err, gatebook.ProviderError{Reason: record.ReasonIssuerMismatch, Check: "iss", Step: "authorize"})
}

// TestWithoutDiscovery has every address configured, the keys' too.
func TestWithoutDiscovery(t *testing.T) {
	f := newFake(t)
	c := f.config()
	c.Issuer = "https://issuer.example"
	c.AuthURL, c.TokenURL, c.JWKSURL = f.URL+"/authorize", f.URL+"/token", f.URL+"/keys"
	f.claims["iss"] = c.Issuer
	if _, err := f.signIn(t, c); err != nil {
		t.Fatalf("sign in: %v", err)
	}
	if n := f.count("/.well-known/openid-configuration"); n != 0 {
		t.Errorf("%d requests for metadata", n)
	}
	f.sign = signRS256("k1", otherRSAKey())
	proof, err := f.signIn(t, c)
	wantError(t, proof, err, gatebook.ProviderError{Reason: record.ReasonIDTokenInvalid, Check: "signature", Step: "id_token"})
}

// TestSecretSignedIDToken has ID tokens signed with HS256, as LINE does, where
// the configuration says so.
func TestSecretSignedIDToken(t *testing.T) {
	f := newFake(t)
	c := f.config()
	c.ClientSecret, c.IDTokenAlgs = longSecret, []string{"HS256"}
	f.sign = signHS256([]byte(longSecret))
	sum := sha256.Sum256([]byte("at-1"))
	f.claims["at_hash"] = b64(sum[:16])
	if _, err := f.signIn(t, c); err != nil {
		t.Fatalf("sign in: %v", err)
	}
	if f.count("/keys") != 0 {
		t.Error("keys were fetched")
	}
	for name, sign := range map[string]func(object) string{
		"another secret": signHS256([]byte(strings.Repeat("x", 40))), "RS256": signRS256("k1", rsaKey()), "none": signNone,
	} {
		f.sign = sign
		proof, err := f.signIn(t, c)
		if err == nil {
			t.Fatalf("%s: no error", name)
		}
		wantError(t, proof, err, gatebook.ProviderError{Reason: record.ReasonIDTokenInvalid, Check: "signature", Step: "id_token"})
	}
}

// TestUserParam reads what the browser brings beside the code: the name, and
// nothing that a signature must stand for.
func TestUserParam(t *testing.T) {
	tests := []struct{ name, user, wantName string }{
		{"both names", `{"name":{"firstName":"Grace","lastName":"Hopper"},"email":"evil@example.com","sub":"evil","email_verified":true}`, "Grace Hopper"},
		{"first name only", `{"name":{"firstName":"Grace"}}`, "Grace"},
		{"no name", `{}`, "ada@example.com"},
		{"absent", "", "ada@example.com"},
		{"no object", `["Grace"]`, "ada@example.com"},
		{"no JSON", `{"name":`, "ada@example.com"},
		{"deep", `{"name":` + strings.Repeat("[", 5000), "ada@example.com"},
		{"markup", `{"name":{"firstName":"<b>\u0000\n","lastName":"x"}}`, "<b> x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			f.claims["email"] = "ada@example.com"
			c := f.config()
			c.UserParam = "user"
			c.Profile.Name = []string{"{user.name.firstName} {user.name.lastName}", "user.name.firstName", "email"}
			p := newProvider(t, c)
			in := f.begin(t, p)
			if tt.user != "" {
				in.Params["user"] = tt.user
			}
			proof, err := p.Complete(t.Context(), in)
			if err != nil {
				t.Fatalf("sign in: %v", err)
			}
			if proof.User.Name != tt.wantName || proof.User.Email != "ada@example.com" || proof.Account.ProviderAccountID != "ada-1" {
				t.Errorf("user %+v, account %q", proof.User, proof.Account.ProviderAccountID)
			}
		})
	}
	f := newFake(t)
	f.claims["user"] = object{"name": object{"firstName": "Signed"}}
	c := f.config()
	c.UserParam, c.Profile.Name = "user", []string{"user.name.firstName"}
	p := newProvider(t, c)
	in := f.begin(t, p)
	in.Params["user"] = `{"name":{"firstName":"Unsigned"}}`
	if proof, err := p.Complete(t.Context(), in); err != nil || proof.User.Name != "Signed" {
		t.Errorf("proof %+v, error %v; want the signed claim kept", proof, err)
	}
}

// TestTenantKeys has keys that say for which tenant they are.
func TestTenantKeys(t *testing.T) {
	mismatch := gatebook.ProviderError{Reason: record.ReasonIssuerMismatch, Check: "iss", Step: "id_token"}
	const all, acme, other = "{tenantid}", "acme", "other"
	tests := []struct {
		name       string
		key        any // the tenant of the key that signs; nil for none
		another    any // that of another key
		withoutKid bool
		want       bool
	}{
		{name: "of all tenants", key: all, want: true},
		{name: "of this tenant", key: acme, want: true},
		{name: "of another tenant", key: other},
		{name: "of another tenant, one of all beside", key: other, another: all},
		{name: "of none", another: all, want: true},
		{name: "no key says", want: true},
		{name: "token does not say which", key: other, another: all, withoutKid: true},
		{name: "token does not say which, and no key says", withoutKid: true, want: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			f.handle("/common/v2.0/.well-known/openid-configuration", f.serveMetadata)
			f.metadata["issuer"] = f.URL + "/{tenantid}/v2.0"
			f.claims["iss"], f.claims["tid"] = f.URL+"/acme/v2.0", acme
			f.keys = append(f.keys, rsaJWK("k2", otherRSAKey()))
			for i, tenant := range []any{tt.key, tt.another} {
				if tenant != nil {
					f.keys[i]["issuer"] = f.URL + "/" + tenant.(string) + "/v2.0"
				}
			}
			if tt.withoutKid {
				f.sign = signRS256("", rsaKey())
			}
			c := f.config()
			c.Issuer, c.Tenants = f.URL+"/common/v2.0", &oauth.Tenants{Issuer: f.URL + "/{tenant}/v2.0", Claim: "tid"}
			proof, err := f.signIn(t, c)
			if tt.want {
				if err != nil {
					t.Errorf("sign in: %v", err)
				}
				return
			}
			wantError(t, proof, err, mismatch)
		})
	}
}
