package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

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
	token, err := ends.verifier.Verify(ctx, raw)
	if err != nil {
		return gatebook.Claims{}, p.signatureFailed(err)
	}
	var c gatebook.Claims
	if token.Claims(&c) != nil {
		return invalid("", "claims are no JSON object")
	}
	if iss := c.String("iss"); iss != ends.issuer && !slices.Contains(p.cfg.IssuerAliases, iss) {
		return gatebook.Claims{}, checkFailed("id_token", reasonIssuerMismatch, "iss", "iss is not the provider's issuer")
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
	// Without the check a nonce in the token belongs to some other sign-in.
	if !equal(c.String("nonce"), string(nonce)) || c.Has("nonce") && !p.has(CheckNonce) {
		return gatebook.Claims{}, checkFailed("id_token", reasonNonceMismatch, "nonce", "nonce is not the one we sent")
	}
	// Section 3.1.3.8: optional in the code flow, but binding when there.
	if c.Has("at_hash") && (c.String("at_hash") == "" || token.VerifyAccessToken(t.access) != nil) {
		return invalid("signature", "at_hash is not the access token's")
	}
	if c.String("sub") == "" {
		return invalid("", "sub is missing")
	}
	return c, nil
}

// signatureFailed tells keys that could not be had from a token that none of
// them signed.
func (p *Provider) signatureFailed(err error) *gatebook.ProviderError {
	p.discovery.expire()
	if e := requestFailed("id_token", err); e.Err != errNoAnswer {
		return e
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
