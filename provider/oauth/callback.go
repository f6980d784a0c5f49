package oauth

import (
	"context"
	"crypto/subtle"
	"errors"
	"slices"

	"github.com/gatebook/gatebook"
)

// denials are the error codes that say that the person, not the provider, ended
// the sign-in (RFC 6749, Section 4.1.2.1; OpenID Connect Core, Section 3.1.2.6;
// and what providers send in place of access_denied).
var denials = []string{
	"access_denied", "interaction_required", "login_required", "consent_required",
	"account_selection_required", "user_denied", "user_cancelled_login", "user_cancelled_authorize",
}

// Complete checks the authorization response (RFC 6749, Section 4.1.2), redeems
// its code, verifies the ID token, and maps the profile. Every error is a
// *[gatebook.ProviderError].
func (p *Provider) Complete(ctx context.Context, c *gatebook.Complete) (*gatebook.Proof, error) {
	ends, err := p.checkResponse(ctx, c)
	if err != nil {
		return nil, err
	}
	tok, err := p.redeem(ctx, ends, c)
	if err != nil {
		return nil, err
	}
	proof := &gatebook.Proof{Account: tok.account(p.cfg, p.cfg.Now())}
	if p.isOIDC() {
		proof.Profile, err = p.verifyIDToken(ctx, ends, tok, c.Nonce)
		if err != nil {
			return nil, err
		}
		proof.AMR, proof.ACR, proof.AuthTime = assurance(proof.Profile)
	}
	if name := p.cfg.UserParam; name != "" {
		addUser(&proof.Profile, name, c.Params[name])
	}
	if !p.isOIDC() || p.cfg.UserinfoProfile {
		proof.Profile, err = p.userinfo(ctx, ends.userinfoURL, tok.access, proof.Profile)
		if err != nil {
			return nil, err
		}
	}
	if err := p.enrich(ctx, tok.access, &proof.Profile); err != nil {
		return nil, err
	}
	if err := p.cfg.Profile.apply(proof); err != nil {
		return nil, err
	}
	return proof, nil
}

// addUser makes the JSON object that the browser brought the profile's member
// name. What a signature stands for is not replaced, and what is no object is
// left out: it comes at the first sign-in only.
func addUser(profile *gatebook.Claims, name, object string) {
	user, err := gatebook.ParseClaims([]byte(object))
	if err == nil && !profile.Has(name) {
		_ = profile.Set(name, user) // it is JSON
	}
}

// checkResponse checks what the browser brought back before anything is done
// with it. State comes first, so that nobody who did not begin a sign-in here
// can make us send a request.
func (p *Provider) checkResponse(ctx context.Context, c *gatebook.Complete) (*endpoints, error) {
	const step = "authorize"
	// Replies of other flows, which we never ask for. A token that came through
	// the browser proves nothing.
	for _, name := range []string{"response", "id_token", "token", "access_token"} {
		if _, ok := c.Params[name]; ok {
			return nil, replyInvalid(step, errors.New("reply has the parameter "+name))
		}
	}
	if c.State == "" || !equal(c.Params["state"], c.State) {
		return nil, checkFailed(step, reasonStateMismatch, "state", "state is not the one we sent")
	}
	ends, err := p.endpoints(ctx)
	if err != nil {
		return nil, err
	}
	// RFC 9207, Section 2.4. A provider without an issuer may send what it likes.
	iss, ok := c.Params["iss"]
	if ends.issuer != "" && (ok && !p.isIssuer(ends, iss) || !ok && ends.issRequired) {
		return nil, checkFailed(step, reasonIssuerMismatch, "iss", "iss is not the provider's issuer")
	}
	if code, ok := c.Params["error"]; ok {
		e := replyInvalid(step, errors.New("reply has the parameter error"))
		e.Denied, e.Code = true, errorCode(code)
		if slices.Contains(denials, code) {
			e.Reason = reasonProviderDenied
		}
		return nil, e
	}
	if c.Params["code"] == "" {
		return nil, replyInvalid(step, errors.New("reply has no code"))
	}
	if p.has(CheckPKCE) && c.CodeVerifier == "" {
		return nil, checkFailed(step, reasonPKCEFailed, "pkce", "there is no code verifier")
	}
	if p.has(CheckNonce) && c.Nonce == "" {
		return nil, checkFailed(step, reasonNonceMismatch, "nonce", "there is no nonce")
	}
	return ends, nil
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// errorCode returns code if it has the form of one, else "": where a code should
// be a provider, or whoever made the URL, may have put anything.
func errorCode(code string) string {
	if len(code) > 64 {
		return ""
	}
	for _, c := range []byte(code) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' && c != '.' {
			return ""
		}
	}
	return code
}
