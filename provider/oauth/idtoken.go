package oauth

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/gatebook/gatebook"
)

// skew is how far the provider's clock may be off ours.
const skew = 30 * time.Second

// verifyIDToken checks the ID token of a reply (OpenID Connect Core, Section
// 3.1.3.7) and returns its claims. The signature is verified although the token
// came over TLS, so that a token endpoint's proxy, cache or a forged plain-http
// reply cannot sign anybody in.
func (p *Provider) verifyIDToken(ctx context.Context, ends *endpoints, t *tokens, nonce gatebook.Secret) (gatebook.Claims, error) {
	invalid := func(check, text string) (gatebook.Claims, error) {
		return gatebook.Claims{}, checkFailed("id_token", reasonIDTokenInvalid, check, text)
	}
	raw := t.reply.String("id_token")
	if raw == "" {
		return gatebook.Claims{}, replyInvalid("token", errors.New("reply has no id_token"))
	}
	// go-jose would read the JSON serialization too.
	if strings.Count(raw, ".") != 2 || strings.ContainsAny(raw, "{ \t\r\n") {
		return invalid("signature", "token is no compact JWS")
	}
	var signature verdict
	token, err := ends.verifier.Verify(context.WithValue(ctx, verdictKey{}, &signature), raw)
	if !signature.good {
		return gatebook.Claims{}, p.signatureFailed(signature.err)
	}
	var c gatebook.Claims
	if err != nil || token.Claims(&c) != nil {
		return invalid("", "claims are malformed")
	}
	if err := p.checkIssuer(ends, c, header(raw).String("kid")); err != nil {
		return gatebook.Claims{}, err
	}
	aud := texts(c.Raw("aud"))
	if !slices.Contains(aud, p.cfg.ClientID) {
		return invalid("aud", "aud lacks our client")
	}
	if len(aud) > 1 && c.String("azp") != p.cfg.ClientID {
		return invalid("aud", "azp is not our client")
	}
	now := p.cfg.Now()
	if exp, ok := instant(c, "exp"); !ok || !now.Before(exp.Add(skew)) {
		return invalid("exp", "exp is missing or past")
	}
	if iat, ok := instant(c, "iat"); !ok || iat.After(now.Add(skew)) {
		return invalid("exp", "iat is missing or in the future")
	}
	if nbf, ok := instant(c, "nbf"); c.Has("nbf") && (!ok || nbf.After(now.Add(skew))) {
		return invalid("exp", "nbf is in the future")
	}
	// Without the check there is none to be had: one in the token belongs to some
	// other sign-in.
	if !equal(c.String("nonce"), string(nonce)) {
		return gatebook.Claims{}, checkFailed("id_token", reasonNonceMismatch, "nonce", "nonce is not the one we sent")
	}
	// Section 3.1.3.8: optional in the code flow, but binding when there.
	if c.Has("at_hash") && c.String("at_hash") != atHash(raw, t.access) {
		return invalid("signature", "at_hash is not the access token's")
	}
	if c.String("sub") == "" {
		return invalid("", "sub is missing")
	}
	return c, nil
}

// asymmetric are the algorithms an ID token may be signed with. With HS256 the
// provider's public key, or a secret that others hold, would be enough to sign.
var asymmetric = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512,
	oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA,
}

// hs256 is the one algorithm without a key pair. It is allowed only where the
// configuration names it and nothing else, so that no token can choose it.
const hs256 = "HS256"

// newVerifier returns a verifier of signatures by the keys at jwksURL, with the
// configured algorithms, or those that the metadata names, or RS256 if it names
// none. The claims are left to verifyIDToken: the verifier's errors do not say
// which one is wrong, and quote it.
func (p *Provider) newVerifier(ctx context.Context, issuer, jwksURL string, algs []string) *oidc.IDTokenVerifier {
	var keys oidc.KeySet = oidc.NewRemoteKeySet(ctx, jwksURL)
	switch {
	case slices.Contains(p.cfg.IDTokenAlgs, hs256):
		algs, keys = p.cfg.IDTokenAlgs, secretKey(p.cfg.ClientSecret)
	case p.cfg.IDTokenAlgs != nil:
		algs = p.cfg.IDTokenAlgs
	default:
		algs = slices.DeleteFunc(algs, func(alg string) bool { return !slices.Contains(asymmetric, alg) })
	}
	return oidc.NewVerifier(issuer, keySet{keys}, &oidc.Config{
		SupportedSigningAlgs: algs, SkipClientIDCheck: true, SkipIssuerCheck: true, SkipExpiryCheck: true,
	})
}

// secretKey is the client secret as the key of HS256.
type secretKey gatebook.Secret

func (k secretKey) VerifySignature(_ context.Context, jwt string) ([]byte, error) {
	jws, err := jose.ParseSignedCompact(jwt, []jose.SignatureAlgorithm{jose.HS256})
	if err != nil {
		return nil, errors.New("token is not signed with HS256")
	}
	return jws.Verify([]byte(k))
}

// atHash returns the at_hash of an access token beside an ID token: the left
// half of its hash with the ID token's hash function (OpenID Connect Core,
// Section 3.1.3.6), or "" when there is none.
func atHash(idToken, access string) string {
	var sum []byte
	switch alg := header(idToken).String("alg"); {
	case strings.HasSuffix(alg, "256"):
		h := sha256.Sum256([]byte(access))
		sum = h[:]
	case strings.HasSuffix(alg, "384"):
		h := sha512.Sum384([]byte(access))
		sum = h[:]
	case strings.HasSuffix(alg, "512"), alg == oidc.EdDSA:
		h := sha512.Sum512([]byte(access))
		sum = h[:]
	}
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}

// header returns the header of a compact JWS whose signature is good.
func header(jws string) gatebook.Claims {
	head, _, _ := strings.Cut(jws, ".")
	b, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		return gatebook.Claims{}
	}
	h, _ := gatebook.ParseClaims(b) // what is no object has no members
	return h
}

// keySet tells the verdict in the context what came of the signature, which the
// verifier's own error says in words only.
type keySet struct{ oidc.KeySet }

type verdict struct {
	good bool
	err  error // nil when it never came to the keys
}

type verdictKey struct{}

func (k keySet) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	payload, err := k.KeySet.VerifySignature(ctx, jwt)
	v := ctx.Value(verdictKey{}).(*verdict)
	v.good, v.err = err == nil, err
	return payload, err
}

// signatureFailed tells keys that could not be had from a token that none of
// them signed. err is the key set's.
func (p *Provider) signatureFailed(err error) *gatebook.ProviderError {
	if err != nil {
		p.discovery.expire()
	}
	var request *url.Error
	switch {
	case errors.As(err, &request) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return requestFailed("id_token", err)
	case err != nil && strings.HasPrefix(err.Error(), "fetching keys"):
		return replyInvalid("id_token", errNotJSON)
	}
	return checkFailed("id_token", reasonIDTokenInvalid, "signature", "no key of the provider verifies the token")
}

// instant reads a NumericDate (RFC 7519, Section 2). Fractions are cut.
func instant(c gatebook.Claims, name string) (time.Time, bool) {
	f, ok := gatebook.Claim[float64](c, name)
	if !ok || f < 0 || f > 1e11 {
		return time.Time{}, false
	}
	return time.Unix(int64(f), 0).UTC(), true
}

// assurance reads how strongly the provider authenticated the person.
func assurance(c gatebook.Claims) (amr []string, acr string, authTime time.Time) {
	authTime, _ = instant(c, "auth_time")
	return texts(c.Raw("amr")), c.String("acr"), authTime
}

// texts reads a JSON string, or an array of them, as aud may be either.
func texts(raw json.RawMessage) []string {
	var one string
	if raw == nil || string(raw) == "null" {
		return nil
	}
	if json.Unmarshal(raw, &one) == nil {
		return []string{one}
	}
	var many []string
	if json.Unmarshal(raw, &many) != nil {
		return nil
	}
	return many
}
