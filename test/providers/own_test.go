package providers_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/provider/catalog"
	"github.com/gatebook/gatebook/provider/oauth"
	"github.com/gatebook/gatebook/record"
	"github.com/gatebook/gatebook/test/providers"
)

const microsoft = "https://login.microsoftonline.com/"

// TestEntraTenants signs people of two tenants in where the registration allows
// all, all but personal accounts, only those, or one tenant.
func TestEntraTenants(t *testing.T) {
	const other = "f8cdef31-a31e-4b4a-93e4-5f571e91255a"
	tests := []struct {
		tenant   string // of the issuer that is configured
		metadata string // the tenant that its metadata names
		person   string // the tenant of who signs in
		ok       bool
	}{
		{"common", "{tenantid}", providers.EntraTenant, true},
		{"common", "{tenantid}", providers.EntraPersonal, true},
		{"organizations", "{tenantid}", other, true},
		{"organizations", "{tenantid}", providers.EntraPersonal, false},
		{"consumers", providers.EntraPersonal, providers.EntraPersonal, true},
		{"consumers", providers.EntraPersonal, other, false},
		{"consumers", "{tenantid}", other, false},
		{other, other, other, true},
		{other, other, providers.EntraTenant, false},
		{"acme.example", other, other, true},
		{"acme.example", other, providers.EntraTenant, false},
	}
	for _, tt := range tests {
		t.Run(tt.tenant+" for "+tt.person, func(t *testing.T) {
			for _, slash := range []string{"", "/"} {
				idp, p := start(t, "microsoft-entra-id", func(c *catalog.Client) { c.Issuer = microsoft + tt.tenant + "/v2.0" + slash })
				idp.Discovery = microsoft + tt.tenant + "/v2.0/.well-known/openid-configuration"
				idp.Issuer, idp.TokenIssuer = microsoft+tt.metadata+"/v2.0", microsoft+tt.person+"/v2.0"
				idp.Claims = func(o providers.Object) { o["tid"] = tt.person }
				s := newSite(t, p, gatebook.StrategyJWT)
				to := s.newBrowser(t).signIn(idp, "microsoft-entra-id", providers.Consent)
				if tt.ok {
					if to != origin+"/home" {
						t.Errorf("the sign-in leads to %q\n%s", to, &s.log)
					}
					continue
				}
				wantFailed(t, s, to, record.ReasonIssuerMismatch)
			}
		})
	}
	// The token's own words about its tenant must agree.
	idp, p := start(t, "microsoft-entra-id", nil)
	idp.Claims = func(o providers.Object) { o["tid"] = other }
	s := newSite(t, p, gatebook.StrategyJWT)
	wantFailed(t, s, s.newBrowser(t).signIn(idp, "microsoft-entra-id", providers.Consent), record.ReasonIssuerMismatch)
}

// TestEntraVerified has the optional claims that say more of an address than
// email does, and a claim that means nothing there.
func TestEntraVerified(t *testing.T) {
	for name, tt := range map[string]struct {
		claims providers.Object
		linked bool
	}{
		"email_verified, which Entra does not have": {providers.Object{"email_verified": true}, false},
		"xms_edov":                {providers.Object{"xms_edov": true}, true},
		"xms_edov as text":        {providers.Object{"xms_edov": "1"}, true},
		"xms_edov false":          {providers.Object{"xms_edov": false}, false},
		"primary address":         {providers.Object{"verified_primary_email": []string{"ada@Example.com"}}, true},
		"secondary address":       {providers.Object{"xms_edov": false, "verified_primary_email": []string{"x@example.com"}, "verified_secondary_email": []string{"ada@example.com"}}, true},
		"another address":         {providers.Object{"verified_primary_email": []string{"x@example.com"}}, false},
		"a list that is no list":  {providers.Object{"verified_primary_email": false}, false},
		"an address as a boolean": {providers.Object{"verified_secondary_email": providers.Object{"ada@example.com": true}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			idp, p := start(t, "microsoft-entra-id", func(c *catalog.Client) { c.LinkByVerifiedEmail = true })
			idp.Claims = func(o providers.Object) {
				for k, v := range tt.claims {
					o[k] = v
				}
			}
			s := newSite(t, p, gatebook.StrategyJWT)
			user := gatebook.User{ID: "u1", Email: "ada@example.com"}
			if err := s.store.Commit(t.Context(), &gatebook.Act{Writes: []gatebook.Write{gatebook.CreateUser{User: user, Subject: record.NewKey()}}}); err != nil {
				t.Fatal(err)
			}
			if to := s.newBrowser(t).signIn(idp, "microsoft-entra-id", providers.Consent); (to == origin+"/home") != tt.linked {
				t.Errorf("the sign-in leads to %q, want linked = %v", to, tt.linked)
			}
		})
	}
}

// TestEntraKey authenticates with a key, whose certificate Entra knows by its
// thumbprint, and the token endpoint as audience.
func TestEntraKey(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	thumbprint := sha256.Sum256(der)
	idp, p := start(t, "microsoft-entra-id", func(c *catalog.Client) {
		c.Secret, c.Auth, c.Key = "", oauth.PrivateKeyJWT, &oauth.ClientKey{Signer: key, Certificate: certificate}
	})
	idp.ClientAuth = []string{"assertion"}
	idp.CheckAssertion = func(e *providers.Emulator, assertion string) bool {
		jws, err := jose.ParseSignedCompact(assertion, []jose.SignatureAlgorithm{jose.RS256, jose.PS256})
		if err != nil || jws.Signatures[0].Protected.ExtraHeaders["x5t#S256"] != base64.RawURLEncoding.EncodeToString(thumbprint[:]) {
			return false
		}
		payload, err := jws.Verify(key.Public())
		if err != nil {
			return false
		}
		var c struct {
			Iss, Sub, Aud, JTI string
			Exp                int64
		}
		return json.Unmarshal(payload, &c) == nil && c.Iss == client && c.Sub == client && c.Aud == e.Token && c.JTI != "" && c.Exp > e.Now().Unix()
	}
	s := newSite(t, p, gatebook.StrategyJWT)
	if to := s.newBrowser(t).signIn(idp, "microsoft-entra-id", providers.Consent); to != origin+"/home" {
		t.Errorf("the sign-in leads to %q\n%s", to, &s.log)
	}
}

// TestAppleUser takes the name, and nothing else, from what Apple does not sign.
func TestAppleUser(t *testing.T) {
	for name, tt := range map[string]struct {
		user providers.Object
		want string
	}{
		"another address": {providers.Object{"name": providers.Object{"firstName": "Ada", "lastName": "L"}, "email": "root@example.com", "sub": "1"}, "Ada L"},
		"one name":        {providers.Object{"name": providers.Object{"lastName": "Lovelace"}}, "Lovelace"},
		"no name":         {nil, "Ada@example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			idp, p := start(t, "apple", nil)
			idp.User = tt.user
			s := newSite(t, p, gatebook.StrategyJWT)
			if to := s.newBrowser(t).signIn(idp, "apple", providers.Consent); to != origin+"/home" {
				t.Fatalf("the sign-in leads to %q\n%s", to, &s.log)
			}
			found, err := s.store.Find(t.Context(), gatebook.Query{Account: gatebook.AccountKey{Provider: "apple", ProviderAccountID: idp.Want.AccountID}})
			if err != nil || found.ByAccount == nil {
				t.Fatalf("no account: %v", err)
			}
			if u := found.ByAccount.User; u.Name != tt.want || u.Email != "ada@example.com" {
				t.Errorf("user = %+v, want the name %q", u, tt.want)
			}
		})
	}
}

// TestAppleSecretElsewhere has a client secret that was signed elsewhere, as
// Auth.js needs it.
func TestAppleSecretElsewhere(t *testing.T) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: providers.AppleKey()}, (&jose.SignerOptions{}).WithHeader("kid", providers.AppleKeyID))
	if err != nil {
		t.Fatal(err)
	}
	idp, _ := start(t, "apple", nil)
	now := idp.Now().Unix()
	jws, err := signer.Sign([]byte(strings.NewReplacer("NOW", big.NewInt(now).String(), "THEN", big.NewInt(now+86400*180).String()).Replace(
		`{"iss":"` + providers.AppleTeamID + `","iat":NOW,"exp":THEN,"aud":"https://appleid.apple.com","sub":"` + client + `"}`)))
	if err != nil {
		t.Fatal(err)
	}
	compact, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("AUTH_APPLE_ID", client)
	t.Setenv("AUTH_APPLE_SECRET", compact)
	p, err := catalog.Apple(catalog.Client{HTTP: idp.HTTP()})
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, p, gatebook.StrategyJWT)
	if to := s.newBrowser(t).signIn(idp, "apple", providers.Consent); to != origin+"/home" {
		t.Errorf("the sign-in leads to %q\n%s", to, &s.log)
	}
}

func TestAppleKeyRefused(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(p384)
	if err != nil {
		t.Fatal(err)
	}
	wrong := gatebook.Secret(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	good := applePEM(t)
	for field, c := range map[string]catalog.Client{
		"TeamID":      {SecretKey: &catalog.SecretKey{KeyID: "K", PrivateKey: good}},
		"KeyID":       {SecretKey: &catalog.SecretKey{TeamID: "T", PrivateKey: good}},
		"PrivateKey":  {SecretKey: &catalog.SecretKey{TeamID: "T", KeyID: "K", PrivateKey: "secret-text"}},
		"PrivateKey ": {SecretKey: &catalog.SecretKey{TeamID: "T", KeyID: "K", PrivateKey: wrong}},
		"Secret":      {Secret: "x", SecretKey: &catalog.SecretKey{TeamID: "T", KeyID: "K", PrivateKey: good}},
	} {
		c.ID = client
		_, err := catalog.Apple(c)
		if err == nil || !strings.Contains(err.Error(), strings.TrimSpace(field)) || strings.Contains(err.Error(), "secret-text") {
			t.Errorf("%s: error %v, want one that names the field", field, err)
		}
	}
	if _, err := catalog.Google(catalog.Client{ID: client, SecretKey: &catalog.SecretKey{}}); err == nil || !strings.Contains(err.Error(), "SecretKey") {
		t.Errorf("Google with a SecretKey: error %v", err)
	}
}

// TestTwitterAddress asks for the address, which needs a scope of its own.
func TestTwitterAddress(t *testing.T) {
	idp, p := start(t, "twitter", func(c *catalog.Client) {
		c.Scopes, c.LinkByVerifiedEmail = []string{"users.read", "tweet.read", "users.email"}, true
	})
	s := newSite(t, p, gatebook.StrategyJWT)
	user := gatebook.User{ID: "u1", Email: "ada@example.com"}
	if err := s.store.Commit(t.Context(), &gatebook.Act{Writes: []gatebook.Write{gatebook.CreateUser{User: user, Subject: record.NewKey()}}}); err != nil {
		t.Fatal(err)
	}
	if to := s.newBrowser(t).signIn(idp, "twitter", providers.Consent); to != origin+"/home" {
		t.Errorf("with a confirmed address the sign-in leads to %q\n%s", to, &s.log)
	}
}

// TestDiscordPictures makes the URL of each kind of picture.
func TestDiscordPictures(t *testing.T) {
	for name, tt := range map[string]struct {
		change providers.Object
		want   string
	}{
		"animated":          {providers.Object{"avatar": "a_8342729096ea3675442027381ff50dfe"}, "https://cdn.discordapp.com/avatars/80351110224678912/a_8342729096ea3675442027381ff50dfe.gif"},
		"none, a new name":  {providers.Object{"avatar": nil}, "https://cdn.discordapp.com/embed/avatars/5.png"},
		"none, an old name": {providers.Object{"avatar": nil, "discriminator": "1337"}, "https://cdn.discordapp.com/embed/avatars/2.png"},
		"a path":            {providers.Object{"avatar": "../../x"}, ""},
		"a URL of theirs":   {providers.Object{"avatar": "../x", "image_url": "https://evil.example/x.png"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			idp, p := start(t, "discord", nil)
			profile := providers.Object{}
			for k, v := range idp.Profile {
				profile[k] = v
			}
			for k, v := range tt.change {
				profile[k] = v
			}
			idp.Profile = profile
			s := newSite(t, p, gatebook.StrategyJWT)
			s.newBrowser(t).signIn(idp, "discord", providers.Consent)
			found, err := s.store.Find(t.Context(), gatebook.Query{Email: "ada@example.com"})
			if err != nil || found.ByEmail == nil {
				t.Fatalf("no user: %v\n%s", err, &s.log)
			}
			if got := found.ByEmail.User.Image; got != tt.want {
				t.Errorf("picture %q, want %q", got, tt.want)
			}
		})
	}
}

// TestWithoutAddress signs in people who have none.
func TestWithoutAddress(t *testing.T) {
	for _, id := range []string{"facebook", "discord", "gitlab", "google", "microsoft-entra-id"} {
		idp, p := start(t, id, nil)
		profile := providers.Object{}
		for k, v := range idp.Profile {
			if !strings.HasPrefix(k, "email") {
				profile[k] = v
			}
		}
		idp.Profile = profile
		s := newSite(t, p, gatebook.StrategyJWT)
		if to := s.newBrowser(t).signIn(idp, id, providers.Consent); to != origin+"/home" {
			t.Errorf("%s: the sign-in leads to %q\n%s", id, to, &s.log)
		}
	}
}

// TestPublicClient has no secret.
func TestPublicClient(t *testing.T) {
	for _, id := range []string{"okta", "auth0", "keycloak", "twitter"} {
		idp, p := start(t, id, func(c *catalog.Client) { c.Secret, c.Auth = "", oauth.ClientNone })
		idp.ClientAuth = []string{"none"}
		s := newSite(t, p, gatebook.StrategyJWT)
		if to := s.newBrowser(t).signIn(idp, id, providers.Consent); to != origin+"/home" || idp.LastToken.Get("auth") != "none" {
			t.Errorf("%s: the sign-in leads to %q, authenticated by %q\n%s", id, to, idp.LastToken.Get("auth"), &s.log)
		}
	}
}

// TestEnvironment takes everything from the variables of Auth.js.
func TestEnvironment(t *testing.T) {
	for _, id := range ids(t) {
		t.Run(id, func(t *testing.T) {
			if id == "apple" {
				return // TestAppleSecretElsewhere
			}
			t.Setenv(oauth.EnvName(id, "ID"), client)
			t.Setenv(oauth.EnvName(id, "SECRET"), secret)
			t.Setenv(oauth.EnvName(id, "ISSUER"), providers.Issuers[id])
			idp, p := start(t, id, func(c *catalog.Client) { c.ID, c.Secret, c.Issuer = "", "", "" })
			s := newSite(t, p, gatebook.StrategyJWT)
			if to := s.newBrowser(t).signIn(idp, id, providers.Consent); to != origin+"/home" {
				t.Errorf("the sign-in leads to %q\n%s", to, &s.log)
			}
		})
	}
}

// TestOwnInstances is at instances with addresses of their own.
func TestOwnInstances(t *testing.T) {
	for id, tt := range map[string]struct{ issuer, from, to string }{
		"gitlab":             {"https://git.example.com/", "https://gitlab.com/", "https://git.example.com/"},
		"microsoft-entra-id": {"https://login.microsoftonline.us/common/v2.0", microsoft, "https://login.microsoftonline.us/"},
	} {
		idp, p := start(t, id, func(c *catalog.Client) { c.Issuer = tt.issuer })
		for _, address := range []*string{&idp.Authorize, &idp.Token, &idp.Userinfo, &idp.Discovery, &idp.Keys, &idp.Issuer, &idp.TokenIssuer} {
			*address = strings.Replace(*address, tt.from, tt.to, 1)
		}
		s := newSite(t, p, gatebook.StrategyJWT)
		if to := s.newBrowser(t).signIn(idp, id, providers.Consent); to != origin+"/home" {
			t.Errorf("%s: the sign-in leads to %q\n%s", id, to, &s.log)
		}
	}
	for _, issuer := range []string{"https://login.microsoftonline.com", "https://login.microsoftonline.com/v2.0", "https://login.microsoftonline.com/common"} {
		if _, err := catalog.MicrosoftEntraID(catalog.Client{ID: client, Secret: secret, Issuer: issuer}); err == nil || !strings.Contains(err.Error(), "Issuer") {
			t.Errorf("issuer %s: error %v, want one that names Issuer", issuer, err)
		}
	}
}

// TestGitHubAddresses lets the application read no list of addresses, or an
// empty one.
func TestGitHubAddresses(t *testing.T) {
	for name, body := range map[string]any{"empty": []any{}, "not allowed": nil} {
		idp, p := start(t, "github", nil)
		scope := "user:email"
		if body == nil {
			scope = "another"
		}
		idp.Documents = map[string]providers.Document{"https://api.github.com/user/emails": {Scope: scope, Body: body}}
		s := newSite(t, p, gatebook.StrategyJWT)
		if to := s.newBrowser(t).signIn(idp, "github", providers.Consent); to != origin+"/home" {
			t.Errorf("%s: the sign-in leads to %q\n%s", name, to, &s.log)
		}
	}
}
