package providers_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/provider/oauth"
	"github.com/gatebook/gatebook/record"
	"github.com/gatebook/gatebook/test/providers"
)

// The names of the OpenID Foundation's tests of relying parties: the list of the
// profile "code" of its first suite, with those for form_post, and the modules of
// its present suite for the same.
const (
	firstSuite = `
rp-response_type-code rp-scope-userinfo-claims rp-nonce-invalid rp-token_endpoint-client_secret_basic rp-id_token-aud
rp-id_token-kid-absent-single-jwks rp-id_token-sig-none rp-id_token-issuer-mismatch rp-id_token-kid-absent-multiple-jwks
rp-id_token-bad-sig-rs256 rp-id_token-iat rp-id_token-sig-rs256 rp-id_token-sub rp-userinfo-bad-sub-claim rp-userinfo-bearer-header
rp-discovery-jwks_uri-keys rp-discovery-webfinger-http-href rp-discovery-webfinger-acct rp-discovery-webfinger-unknown-member
rp-discovery-issuer-not-matching-config rp-discovery-webfinger-url rp-discovery-openid-configuration rp-registration-dynamic
rp-request_uri-sig+enc rp-request_uri-sig rp-request_uri-unsigned rp-request_uri-enc rp-token_endpoint-private_key_jwt
rp-token_endpoint-client_secret_jwt rp-token_endpoint-client_secret_post rp-id_token-sig+enc-a128kw rp-id_token-bad-sig-es256
rp-id_token-sig+enc rp-id_token-sig-es256 rp-id_token-bad-sig-hs256 rp-id_token-sig-hs256 rp-key-rotation-op-sign-key-native
rp-key-rotation-op-sign-key rp-key-rotation-op-enc-key rp-claims-distributed rp-claims-aggregated rp-userinfo-sig+enc
rp-userinfo-bearer-body rp-userinfo-sig rp-userinfo-enc
rp-response_mode-form_post rp-response_mode-form_post-error rp-claims_request-id_token rp-claims_request-userinfo
rp-id_token-bad-at_hash rp-id_token-missing-at_hash rp-id_token-bad-c_hash rp-id_token-missing-c_hash rp-nonce-unless-code-flow`

	presentSuite = `
oidcc-client-test oidcc-client-test-invalid-iss oidcc-client-test-missing-sub oidcc-client-test-invalid-aud oidcc-client-test-missing-aud
oidcc-client-test-missing-iat oidcc-client-test-kid-absent-single-jwks oidcc-client-test-kid-absent-multiple-jwks
oidcc-client-test-idtoken-sig-rs256 oidcc-client-test-idtoken-sig-none oidcc-client-test-invalid-sig-rs256
oidcc-client-test-invalid-sig-hs256 oidcc-client-test-invalid-sig-es256 oidcc-client-test-userinfo-invalid-sub
oidcc-client-test-nonce-invalid oidcc-client-test-scope-userinfo-claims oidcc-client-test-client-secret-basic
oidcc-client-test-userinfo-bearer-header oidcc-client-test-userinfo-bearer-body oidcc-client-test-nonce-unless-code-flow
oidcc-client-test-invalid-athash oidcc-client-test-missing-athash oidcc-client-test-invalid-chash oidcc-client-test-missing-chash
oidcc-client-test-form-post-error oidcc-client-test-aggregated-claims oidcc-client-test-distributed-claims
oidcc-client-test-mtls-endpoint-aliases oidcc-client-test-ignores-unparseable-key-in-jwks
oidcc-client-test-discovery-openid-config oidcc-client-test-discovery-jwks-uri-keys oidcc-client-test-discovery-issuer-mismatch
oidcc-client-test-discovery-webfinger-acct oidcc-client-test-discovery-webfinger-url oidcc-client-test-dynamic-registration
oidcc-client-test-request-uri-signed-rs256 oidcc-client-test-request-uri-signed-none oidcc-client-test-userinfo-signed
oidcc-client-test-signing-key-rotation oidcc-client-test-signing-key-rotation-just-before-signing
oidcc-client-test-refresh-token oidcc-client-test-refresh-token-invalid-issuer oidcc-client-test-refresh-token-invalid-sub
oidcc-client-test-3rd-party-init-login`
)

// notOurs are the tests of what we do not do, with the reason.
var notOurs = map[string][]string{
	"the issuer is configured; nobody's account name chooses where we send requests": {
		"rp-discovery-webfinger-http-href", "rp-discovery-webfinger-acct", "rp-discovery-webfinger-unknown-member", "rp-discovery-webfinger-url",
		"oidcc-client-test-discovery-webfinger-acct", "oidcc-client-test-discovery-webfinger-url"},
	"a client is registered by hand": {"rp-registration-dynamic", "oidcc-client-test-dynamic-registration"},
	"the request is sent in parameters, which state, PKCE and nonce protect": {
		"rp-request_uri-sig+enc", "rp-request_uri-sig", "rp-request_uri-unsigned", "rp-request_uri-enc",
		"oidcc-client-test-request-uri-signed-rs256", "oidcc-client-test-request-uri-signed-none"},
	"the access token goes in the header only":                            {"rp-userinfo-bearer-body", "oidcc-client-test-userinfo-bearer-body"},
	"we have no key to which anything could be encrypted":                 {"rp-key-rotation-op-enc-key"},
	"client certificates are not offered":                                 {"oidcc-client-test-mtls-endpoint-aliases"},
	"tokens are not refreshed: a session does not rest on them":           {"oidcc-client-test-refresh-token", "oidcc-client-test-refresh-token-invalid-issuer", "oidcc-client-test-refresh-token-invalid-sub"},
	"a sign-in that another site begins would be a login forgery's start": {"oidcc-client-test-3rd-party-init-login"},
}

// rp is a sign-in at an OpenID provider that a test changes.
type rp struct {
	t      *testing.T
	idp    *providers.Emulator
	config oauth.Config
	// reply changes what the browser brings back.
	reply func(url.Values)

	request url.Values // the authorization request
	events  []gatebook.Event
}

// profile returns what the sign-in event has.
func (c *rp) profile() *gatebook.Claims {
	return c.events[len(c.events)-1].(*gatebook.SignInEvent).Profile
}

func (c *rp) claim(name string, v any) {
	before := c.idp.Claims
	c.idp.Claims = func(o providers.Object) {
		if before != nil {
			before(o)
		}
		if o[name] = v; v == nil {
			delete(o, name)
		}
	}
}

func (c *rp) metadata(name string, v any) {
	c.idp.Metadata = func(o providers.Object) { o[name] = v }
}

// keySet publishes keys of the kinds RS256 and ES256.
func (c *rp) keySet(keys ...jose.JSONWebKey) { c.idp.KeySet.Keys = keys }

var (
	secondKey = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	curveKey  = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	alienKey  = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

const longSecret = "a client secret of thirty-two bytes or more"

// sign signs with any algorithm; key is what go-jose takes.
func sign(alg jose.SignatureAlgorithm, kid string, key any) func(providers.Object) string {
	return func(claims providers.Object) string {
		opts := &jose.SignerOptions{}
		if kid != "" {
			opts = opts.WithHeader("kid", kid)
		}
		signer := must(jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, opts))
		return must(must(signer.Sign(must(json.Marshal(claims)))).CompactSerialize())
	}
}

// unsigned makes a token with alg none.
func unsigned(claims providers.Object) string {
	enc := func(o providers.Object) string { return base64.RawURLEncoding.EncodeToString(must(json.Marshal(o))) }
	return enc(providers.Object{"alg": "none"}) + "." + enc(claims) + "."
}

// curve has ID tokens signed with ES256.
func curve(c *rp, signing *ecdsa.PrivateKey) {
	c.metadata("id_token_signing_alg_values_supported", []string{"RS256", "ES256"})
	c.keySet(jose.JSONWebKey{Key: curveKey().Public(), KeyID: "ec", Algorithm: "ES256", Use: "sig"})
	c.idp.Sign = sign(jose.ES256, "ec", signing)
}

// encrypted encrypts the ID token to a key that we might have.
func encrypted(claims providers.Object) string {
	inner := sign(jose.RS256, "k1", secondKey())(claims)
	e := must(jose.NewEncrypter(jose.A128CBC_HS256, jose.Recipient{Algorithm: jose.RSA_OAEP, Key: &secondKey().PublicKey}, nil))
	return must(must(e.Encrypt([]byte(inner))).CompactSerialize())
}

// userinfo answers the userinfo request with a body of its own.
type userinfo struct {
	http.RoundTripper
	at, mediaType string
	body          func() string
	seen          *http.Request
}

func (u *userinfo) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := u.RoundTripper.RoundTrip(r)
	if err != nil || "https://"+r.URL.Host+r.URL.Path != u.at {
		return res, err
	}
	u.seen = r
	if u.body != nil {
		res.Header.Set("Content-Type", u.mediaType)
		res.Body = io.NopCloser(strings.NewReader(u.body()))
	}
	return res, nil
}

func fromUserinfo(c *rp) *userinfo {
	c.config.UserinfoProfile = true
	u := &userinfo{RoundTripper: c.idp, at: c.idp.Userinfo}
	c.config.Client = &http.Client{Transport: u}
	return u
}

// rpTests are the tests by the names in both suites. A refused one has the reason
// in signIn.failed, and the check in check.failed where it is one.
var rpTests = []struct {
	names  string
	before bool // somebody signs in before the change
	change func(*rp)
	reason string
	check  string
	then   func(*rp)
}{
	// The request.
	{names: "rp-response_type-code oidcc-client-test", then: func(c *rp) {
		wantParam(c, "response_type", "code")
		if !slices.Contains(strings.Fields(c.request.Get("scope")), "openid") {
			c.t.Errorf("scope = %q", c.request.Get("scope"))
		}
	}},
	{names: "rp-nonce-unless-code-flow oidcc-client-test-nonce-unless-code-flow", then: func(c *rp) {
		if len(c.request.Get("nonce")) < 22 {
			c.t.Errorf("nonce %q has less than 128 bits", c.request.Get("nonce"))
		}
	}},
	{names: "rp-scope-userinfo-claims oidcc-client-test-scope-userinfo-claims", change: func(c *rp) { fromUserinfo(c) },
		then: func(c *rp) {
			wantParam(c, "scope", "openid profile email")
			if p := c.profile(); p.String("name") != "Ada Lovelace" || p.String("email") != "Ada@example.com" {
				c.t.Error("the claims of the scopes are not in the profile")
			}
		}},
	{names: "rp-claims_request-id_token rp-claims_request-userinfo", change: func(c *rp) {
		c.config.AuthParams = []gatebook.Param{{Name: "claims", Value: `{"id_token":{"email":null},"userinfo":{"name":null}}`}}
	}, then: func(c *rp) {
		wantParam(c, "claims", `{"id_token":{"email":null},"userinfo":{"name":null}}`)
	}},
	{names: "rp-response_mode-form_post", change: formPost, then: func(c *rp) { wantParam(c, "response_mode", "form_post") }},
	{names: "rp-response_mode-form_post-error oidcc-client-test-form-post-error", change: func(c *rp) {
		formPost(c)
		c.reply = func(out url.Values) { out.Del("code"); out.Set("error", "login_required") }
	}, reason: record.ReasonProviderDenied},

	// The token endpoint.
	{names: "rp-token_endpoint-client_secret_basic oidcc-client-test-client-secret-basic", then: wantAuth("basic")},
	{names: "rp-token_endpoint-client_secret_post", change: func(c *rp) { c.config.ClientAuth = oauth.ClientSecretPost }, then: wantAuth("post")},
	{names: "rp-token_endpoint-client_secret_jwt", change: func(c *rp) {
		c.config.ClientAuth, c.config.ClientSecret = oauth.ClientSecretJWT, longSecret
		c.idp.CheckAssertion = isAssertion(jose.HS256, []byte(longSecret))
	}, then: wantAuth("assertion")},
	{names: "rp-token_endpoint-private_key_jwt", change: func(c *rp) {
		c.config.ClientAuth, c.config.ClientSecret = oauth.PrivateKeyJWT, ""
		c.config.ClientKey = &oauth.ClientKey{ID: "c1", Signer: secondKey()}
		c.idp.CheckAssertion = isAssertion(jose.RS256, secondKey().Public())
	}, then: wantAuth("assertion")},

	// Discovery and keys.
	{names: "rp-discovery-openid-configuration oidcc-client-test-discovery-openid-config", change: func(c *rp) {
		c.idp.Token = "https://elsewhere.example.com/token"
	}, then: func(c *rp) {
		if c.idp.Calls["https://elsewhere.example.com/token"] != 1 {
			c.t.Error("the token endpoint of the metadata was not asked")
		}
	}},
	{names: "rp-discovery-jwks_uri-keys oidcc-client-test-discovery-jwks-uri-keys", change: func(c *rp) {
		c.idp.Keys = "https://keys.example.com/" + rand.Text()
	}, then: func(c *rp) {
		if c.idp.Calls[c.idp.Keys] != 1 {
			c.t.Error("the keys of the metadata were not fetched")
		}
	}},
	{names: "rp-discovery-issuer-not-matching-config oidcc-client-test-discovery-issuer-mismatch",
		change: func(c *rp) { c.metadata("issuer", "https://other.example.com") }, reason: record.ReasonIssuerMismatch, check: "iss"},
	{names: "rp-key-rotation-op-sign-key oidcc-client-test-signing-key-rotation", before: true, change: rotate},
	{names: "rp-key-rotation-op-sign-key-native oidcc-client-test-signing-key-rotation-just-before-signing", before: true, change: func(c *rp) {
		old := c.idp.KeySet
		c.idp.Sign = func(claims providers.Object) string { // the keys are published when the token is signed
			c.idp.KeySet = old
			rotate(c)
			return c.idp.Sign(claims)
		}
	}},
	{names: "oidcc-client-test-ignores-unparseable-key-in-jwks", change: func(c *rp) {
		c.config.Client = &http.Client{Transport: &userinfo{RoundTripper: c.idp, at: c.idp.Keys, mediaType: "application/json", body: func() string {
			good := string(must(json.Marshal(c.idp.KeySet)))
			return strings.Replace(good, `{"keys":[`, `{"keys":[{"kty":"AKP","kid":"pq","alg":"ML-DSA-00","pub":"AA"},{"kty":"XYZ","kid":"no"},`, 1)
		}}}
	}},

	// The ID token.
	{names: "rp-id_token-sig-rs256 oidcc-client-test-idtoken-sig-rs256"},
	{names: "rp-id_token-sig-es256", change: func(c *rp) { curve(c, curveKey()) }},
	{names: "rp-id_token-sig-hs256", change: func(c *rp) {
		c.config.ClientSecret, c.idp.Client.Secret, c.config.IDTokenAlgs = longSecret, longSecret, []string{"HS256"}
		c.idp.Sign = sign(jose.HS256, "", []byte(longSecret))
	}},
	{names: "rp-id_token-sig-none oidcc-client-test-idtoken-sig-none", change: func(c *rp) { c.idp.Sign = unsigned },
		reason: record.ReasonIDTokenInvalid, check: "signature"}, // the list allows both
	{names: "rp-id_token-bad-sig-rs256 oidcc-client-test-invalid-sig-rs256", change: func(c *rp) { c.idp.Sign = sign(jose.RS256, "k1", secondKey()) },
		reason: record.ReasonIDTokenInvalid, check: "signature"},
	{names: "rp-id_token-bad-sig-es256 oidcc-client-test-invalid-sig-es256", change: func(c *rp) { curve(c, alienKey()) },
		reason: record.ReasonIDTokenInvalid, check: "signature"},
	{names: "rp-id_token-bad-sig-hs256 oidcc-client-test-invalid-sig-hs256", change: func(c *rp) {
		c.config.ClientSecret, c.idp.Client.Secret, c.config.IDTokenAlgs = longSecret, longSecret, []string{"HS256"}
		c.idp.Sign = sign(jose.HS256, "", []byte("another secret of thirty-two bytes or more"))
	}, reason: record.ReasonIDTokenInvalid, check: "signature"},
	{names: "rp-id_token-sig+enc rp-id_token-sig+enc-a128kw", change: func(c *rp) { c.idp.Sign = encrypted },
		reason: record.ReasonIDTokenInvalid, check: "signature"}, // we registered no key
	{names: "rp-id_token-issuer-mismatch oidcc-client-test-invalid-iss", change: func(c *rp) { c.claim("iss", "https://other.example.com") },
		reason: record.ReasonIssuerMismatch, check: "iss"},
	{names: "rp-id_token-sub oidcc-client-test-missing-sub", change: func(c *rp) { c.claim("sub", nil) }, reason: record.ReasonIDTokenInvalid},
	{names: "rp-id_token-aud oidcc-client-test-invalid-aud", change: func(c *rp) { c.claim("aud", "other") },
		reason: record.ReasonIDTokenInvalid, check: "aud"},
	{names: "oidcc-client-test-missing-aud", change: func(c *rp) { c.claim("aud", nil) }, reason: record.ReasonIDTokenInvalid, check: "aud"},
	{names: "rp-id_token-iat oidcc-client-test-missing-iat", change: func(c *rp) { c.claim("iat", nil) },
		reason: record.ReasonIDTokenInvalid, check: "exp"},
	{names: "rp-id_token-kid-absent-single-jwks oidcc-client-test-kid-absent-single-jwks",
		change: func(c *rp) { c.idp.Sign = sign(jose.RS256, "", secondKey()); c.keySet(jwk("k2", secondKey())) }},
	{names: "rp-id_token-kid-absent-multiple-jwks oidcc-client-test-kid-absent-multiple-jwks", change: func(c *rp) {
		c.idp.Sign = sign(jose.RS256, "", secondKey())
		c.keySet(append(c.idp.KeySet.Keys, jwk("k2", secondKey()))...)
	}}, // the list allows both; every key is tried
	{names: "rp-id_token-bad-at_hash oidcc-client-test-invalid-athash", change: func(c *rp) { c.claim("at_hash", "AAAAAAAAAAAAAAAAAAAAAA") },
		reason: record.ReasonIDTokenInvalid, check: "signature"},
	// Of these the code flow says nothing: the token did not come through the browser.
	{names: "rp-id_token-missing-at_hash oidcc-client-test-missing-athash", change: func(c *rp) { c.claim("at_hash", nil) }},
	{names: "rp-id_token-bad-c_hash oidcc-client-test-invalid-chash", change: func(c *rp) { c.claim("c_hash", "AAAAAAAAAAAAAAAAAAAAAA") }},
	{names: "rp-id_token-missing-c_hash oidcc-client-test-missing-chash", change: func(c *rp) { c.claim("c_hash", nil) }},
	{names: "rp-nonce-invalid oidcc-client-test-nonce-invalid", change: func(c *rp) { c.claim("nonce", "another") },
		reason: record.ReasonNonceMismatch, check: "nonce"},

	// Userinfo.
	{names: "rp-userinfo-bearer-header oidcc-client-test-userinfo-bearer-header", change: func(c *rp) { fromUserinfo(c) }, then: func(c *rp) {
		seen := c.config.Client.Transport.(*userinfo).seen
		if seen == nil || seen.Method != http.MethodGet || !strings.HasPrefix(seen.Header.Get("Authorization"), "Bearer at-") || seen.URL.RawQuery != "" {
			c.t.Errorf("the userinfo request is %+v", seen)
		}
	}},
	{names: "rp-userinfo-bad-sub-claim oidcc-client-test-userinfo-invalid-sub", change: func(c *rp) {
		u := fromUserinfo(c)
		u.mediaType, u.body = "application/json", func() string { return `{"sub":"grace-1","name":"Grace"}` }
	}, reason: record.ReasonProfileInvalid},
	{names: "rp-userinfo-sig oidcc-client-test-userinfo-signed", change: func(c *rp) { jwtUserinfo(c, sign(jose.RS256, "k1", secondKey())) },
		reason: record.ReasonProviderError}, // we did not ask for it
	{names: "rp-userinfo-enc rp-userinfo-sig+enc", change: func(c *rp) { jwtUserinfo(c, encrypted) }, reason: record.ReasonProviderError},
	{names: "rp-claims-aggregated oidcc-client-test-aggregated-claims", change: func(c *rp) {
		c.claim("_claim_names", providers.Object{"address": "src1"})
		c.claim("_claim_sources", providers.Object{"src1": providers.Object{"JWT": "a.b.c"}})
	}, then: wantSources},
	{names: "rp-claims-distributed oidcc-client-test-distributed-claims", change: func(c *rp) {
		c.claim("_claim_names", providers.Object{"credit_score": "src1"})
		c.claim("_claim_sources", providers.Object{"src1": providers.Object{"endpoint": "https://claims.example.com/", "access_token": "x"}})
	}, then: wantSources},

	// Beyond the lists.
	{names: "exp-missing", change: func(c *rp) { c.claim("exp", nil) }, reason: record.ReasonIDTokenInvalid, check: "exp"},
	{names: "exp-past", change: func(c *rp) { c.claim("exp", time.Now().Add(-31*time.Second).Unix()) }, reason: record.ReasonIDTokenInvalid, check: "exp"},
	{names: "iat-in-the-future", change: func(c *rp) { c.claim("iat", time.Now().Add(time.Minute).Unix()) }, reason: record.ReasonIDTokenInvalid, check: "exp"},
	{names: "nbf-in-the-future", change: func(c *rp) { c.claim("nbf", time.Now().Add(time.Minute).Unix()) }, reason: record.ReasonIDTokenInvalid, check: "exp"},
	{names: "iss-missing", change: func(c *rp) { c.claim("iss", nil) }, reason: record.ReasonIssuerMismatch, check: "iss"},
	{names: "nonce-missing", change: func(c *rp) { c.claim("nonce", nil) }, reason: record.ReasonNonceMismatch, check: "nonce"},
	{names: "aud-many-without-azp", change: func(c *rp) { c.claim("aud", []string{client, "other"}) }, reason: record.ReasonIDTokenInvalid, check: "aud"},
	{names: "aud-many-with-azp", change: func(c *rp) { c.claim("aud", []string{"other", client}); c.claim("azp", client) }},
	{names: "id_token-missing", change: func(c *rp) { c.idp.Reply = func(o providers.Object) { delete(o, "id_token") } }, reason: record.ReasonProviderError},
	{names: "hs256-with-the-public-key", change: func(c *rp) {
		der := must(x509.MarshalPKIXPublicKey(c.idp.KeySet.Keys[0].Key))
		c.idp.Sign = sign(jose.HS256, "k1", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
		c.metadata("id_token_signing_alg_values_supported", []string{"RS256", "HS256"})
	}, reason: record.ReasonIDTokenInvalid, check: "signature"},
	{names: "hs256-with-the-secret-unasked", change: func(c *rp) {
		c.config.ClientSecret, c.idp.Client.Secret = longSecret, longSecret
		c.idp.Sign = sign(jose.HS256, "", []byte(longSecret))
		c.metadata("id_token_signing_alg_values_supported", []string{"HS256"})
	}, reason: record.ReasonIDTokenInvalid, check: "signature"},
	{names: "key-withdrawn", before: true, change: func(c *rp) {
		old := c.idp.Sign
		rotate(c)
		c.idp.Sign = old
		c.config.Now = func() time.Time { return time.Now().Add(61 * time.Minute) }
		c.idp.Now = c.config.Now
	}, reason: record.ReasonIDTokenInvalid, check: "signature"},
	{names: "iss-of-the-reply", change: func(c *rp) { c.reply = func(out url.Values) { out.Set("iss", c.idp.Issuer) } }},
	{names: "iss-of-the-reply-is-another", change: func(c *rp) { c.reply = func(out url.Values) { out.Set("iss", "https://other.example.com") } },
		reason: record.ReasonIssuerMismatch, check: "iss"},
	{names: "iss-of-the-reply-is-missing", change: func(c *rp) { c.metadata("authorization_response_iss_parameter_supported", true) },
		reason: record.ReasonIssuerMismatch, check: "iss"},
	{names: "state-missing", change: func(c *rp) { c.reply = func(out url.Values) { out.Del("state") } }, reason: record.ReasonStateMismatch, check: "state"},
	{names: "state-of-another", change: func(c *rp) { c.reply = func(out url.Values) { out.Set("state", "another") } }, reason: record.ReasonStateMismatch, check: "state"},
	{names: "code-missing", change: func(c *rp) { c.reply = func(out url.Values) { out.Del("code") } }, reason: record.ReasonProviderError},
	{names: "id_token-through-the-browser", change: func(c *rp) { c.reply = func(out url.Values) { out.Set("id_token", "a.b.c") } }, reason: record.ReasonProviderError},
	{names: "error-and-code", change: func(c *rp) { c.reply = func(out url.Values) { out.Set("error", "server_error") } }, reason: record.ReasonProviderError},
	{names: "endpoint-of-the-metadata-is-http", change: func(c *rp) { c.metadata("token_endpoint", "http://op.example.com/token") }, reason: record.ReasonProviderError},
	{names: "userinfo-without-sub", change: func(c *rp) {
		u := fromUserinfo(c)
		u.mediaType, u.body = "application/json", func() string { return `{"name":"Ada"}` }
	}, reason: record.ReasonProfileInvalid},
}

func rotate(c *rp) {
	c.keySet(jwk("k2", secondKey()))
	c.idp.Sign = sign(jose.RS256, "k2", secondKey())
}

func jwk(kid string, key *rsa.PrivateKey) jose.JSONWebKey {
	return jose.JSONWebKey{Key: key.Public(), KeyID: kid, Algorithm: "RS256", Use: "sig"}
}

func formPost(c *rp) {
	c.config.AuthParams = []gatebook.Param{{Name: "response_mode", Value: "form_post"}}
	c.idp.Params = map[string]string{"response_mode": "form_post"}
}

func jwtUserinfo(c *rp, make func(providers.Object) string) {
	u := fromUserinfo(c)
	u.mediaType, u.body = "application/jwt", func() string { return make(providers.Object{"sub": "ada-1", "iss": c.idp.Issuer, "aud": client}) }
}

func isAssertion(alg jose.SignatureAlgorithm, key any) func(*providers.Emulator, string) bool {
	return func(e *providers.Emulator, assertion string) bool {
		jws, err := jose.ParseSignedCompact(assertion, []jose.SignatureAlgorithm{alg})
		if err != nil {
			return false
		}
		payload, err := jws.Verify(key)
		var c struct{ Iss, Sub, Aud, JTI string }
		return err == nil && json.Unmarshal(payload, &c) == nil && c.Iss == client && c.Sub == client && c.Aud == e.Issuer && c.JTI != ""
	}
}

func wantParam(c *rp, name, want string) {
	c.t.Helper()
	if got := c.request.Get(name); got != want {
		c.t.Errorf("%s = %q, want %q", name, got, want)
	}
}

func wantAuth(how string) func(*rp) {
	return func(c *rp) {
		c.t.Helper()
		if got := c.idp.LastToken.Get("auth"); got != how {
			c.t.Errorf("the client authenticates by %s, want %s", got, how)
		}
	}
}

// wantSources looks for claims of elsewhere: they are kept for the application,
// and nobody is asked.
func wantSources(c *rp) {
	c.t.Helper()
	if p := c.profile(); !p.Has("_claim_names") || !p.Has("_claim_sources") {
		c.t.Error("the profile has lost the claims' sources")
	}
	if c.idp.Calls["https://claims.example.com/"] != 0 {
		c.t.Error("an address out of a token was asked")
	}
}

// TestRelyingParty signs Ada in once for each test of the lists.
func TestRelyingParty(t *testing.T) {
	listed := strings.Fields(firstSuite + presentSuite)
	var covered []string
	for _, names := range notOurs {
		covered = append(covered, names...)
	}
	for _, tt := range rpTests {
		for _, name := range strings.Fields(tt.names) {
			if strings.HasPrefix(name, "rp-") || strings.HasPrefix(name, "oidcc-") {
				covered = append(covered, name)
			}
			t.Run(name, func(t *testing.T) {
				c := newRP(t)
				p := &current{}
				s := newSite(t, p, gatebook.StrategyDatabase)
				if tt.before {
					p.RedirectProvider = must(oauth.New(c.clocked()))
					if to := s.newBrowser(t).signIn(c.idp, "op", providers.Consent); to != origin+"/home" {
						t.Fatalf("the sign-in before leads to %q\n%s", to, &s.log)
					}
					s.heard()
				}
				if tt.change != nil {
					tt.change(c)
				}
				if p.RedirectProvider == nil {
					p.RedirectProvider = must(oauth.New(c.clocked()))
				}
				to := c.signIn(t, s)
				if tt.reason == "" {
					wantSignedIn(t, s, c, to)
				} else {
					wantRefused(t, s, to, tt.reason, tt.check)
				}
				if tt.then != nil && !t.Failed() {
					tt.then(c)
				}
			})
		}
	}
	slices.Sort(listed)
	slices.Sort(covered)
	if diff := cmp.Diff(listed, covered); diff != "" {
		t.Errorf("the lists and what is covered (-list +covered):\n%s", diff)
	}
}

// current is a provider that can be changed under a site.
type current struct{ gatebook.RedirectProvider }

func (p *current) Info() gatebook.ProviderInfo {
	return gatebook.ProviderInfo{ID: "op", Name: "OP", Type: gatebook.TypeOIDC}
}

func newRP(t *testing.T) *rp {
	t.Helper()
	c := &rp{t: t, idp: providers.New(providers.OpenID(), providers.Client{ID: client, Secret: secret, RedirectURI: origin + "/auth/callback/op"})}
	c.config = oauth.Config{ID: "op", Issuer: c.idp.Issuer, ClientID: client, ClientSecret: secret, Client: c.idp.HTTP()}
	return c
}

// clocked is the configuration with a clock that a test may change afterwards.
func (c *rp) clocked() oauth.Config {
	config := c.config
	config.Now = func() time.Time {
		if c.config.Now != nil {
			return c.config.Now()
		}
		return time.Now()
	}
	return config
}

// signIn returns where the sign-in leads.
func (c *rp) signIn(t *testing.T, s *site) string {
	t.Helper()
	b := s.newBrowser(t)
	to := b.begin("op")
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	if u.Host == "app.example.com" {
		return to // refused before it began
	}
	c.request = u.Query()
	reply, err := c.idp.Visit(to, providers.Consent)
	if err != nil {
		t.Fatalf("the provider's page: %v", err)
	}
	if c.reply != nil {
		c.change(t, reply)
	}
	return b.comeBack(reply).Header.Get("Location")
}

func (c *rp) change(t *testing.T, r *providers.Reply) {
	t.Helper()
	if r.Form != nil {
		r.Form = maps.Clone(r.Form)
		c.reply(r.Form)
		return
	}
	u, err := url.Parse(r.URL)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	c.reply(q)
	u.RawQuery = q.Encode()
	r.URL = u.String()
}

func wantSignedIn(t *testing.T, s *site, c *rp, to string) {
	t.Helper()
	types, events := s.heard()
	if to != origin+"/home" || len(types) == 0 || types[len(types)-1] != record.TypeSignIn {
		t.Fatalf("the sign-in leads to %q with %v\n%s", to, types, &s.log)
	}
	c.events = events
	if u := events[len(events)-1].(*gatebook.SignInEvent).User; u.Email != "ada@example.com" {
		t.Errorf("the user is %+v", u)
	}
}

// wantRefused fails the test unless nobody was signed in, for the reason, and
// the check that failed was recorded before it, as its cause.
func wantRefused(t *testing.T, s *site, to, reason, check string) {
	t.Helper()
	page := "/auth/error?error=Configuration"
	if strings.HasSuffix(to, "OAuthCallbackError") {
		page = "/auth/signin?error=OAuthCallbackError"
	}
	if to != origin+page {
		t.Errorf("the sign-in leads to %q", to)
	}
	types, events := s.heard()
	want := []string{record.TypeSignInFailed}
	if check != "" {
		want = []string{record.TypeCheckFailed, record.TypeSignInFailed}
	}
	if !slices.Equal(types, want) {
		t.Fatalf("events %v, want %v\n%s", types, want, &s.log)
	}
	failed := events[len(events)-1].Meta()
	if failed.Reason != reason || failed.Outcome != record.Failure {
		t.Errorf("signIn.failed has the reason %q, want %q\n%s", failed.Reason, reason, &s.log)
	}
	if check != "" {
		d := events[0].(*gatebook.DefenceEvent)
		if d.Check != check || failed.Cause != d.ID {
			t.Errorf("check.failed names %q, want %q; the cause is %q, want %q", d.Check, check, failed.Cause, d.ID)
		}
	}
}
