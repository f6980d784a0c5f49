package gatebook

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/gatebook/gatebook/internal/cookie"
	"github.com/gatebook/gatebook/internal/csrf"
	"github.com/gatebook/gatebook/record"
)

// startSignIn answers POST signin: off to the provider, or a magic link.
func (x *exchange) startSignIn() {
	p := x.a.providers[x.provider]
	switch {
	case x.provider == "":
		x.redirect(x.origin + x.a.base + "/signin")
		return
	case p == nil:
		x.fail(&routeError{step: "no provider has this id", reason: record.ReasonConfiguration})
		return
	case !x.csrfOK:
		x.refuseCSRF(p.Info())
		return
	}
	switch p := p.(type) {
	case RedirectProvider:
		x.startRedirect(p)
	case EmailProvider:
		x.requestLink(p)
	default:
		x.redirect(x.origin + x.a.base + "/signin")
	}
}

// startRedirect sends the browser to the provider, with fresh checks sealed
// into its cookies.
func (x *exchange) startRedirect(p RedirectProvider) {
	id := p.Info().ID
	b := &Begin{RedirectURI: x.redirectURI(id), State: x.newState(id), Params: x.params}
	to, err := guard(func() (*Redirection, error) { return p.Begin(x.r.Context(), b) })
	if err != nil {
		x.refuse(refusedBy(p.Info(), "begin at the provider", err))
		return
	}
	for _, c := range [...]struct {
		check  string
		cookie cookieKind
		value  string
	}{
		{"state", stateCookie, b.State}, {"pkce", pkceCookie, string(to.CodeVerifier)}, {"nonce", nonceCookie, string(to.Nonce)},
	} {
		if slices.Contains(p.Checks(), c.check) {
			x.sealCheck(c.cookie, c.value, id, p.FormPost())
		}
	}
	if p.FormPost() {
		// Where to go must come with the provider's form too.
		x.add(callbackCookie, cookie.Cookie{Name: x.cookieName(callbackCookie), Value: x.callback, SameSite: "None"})
	}
	x.redirect(to.URL)
}

// guard calls code of the application or of a provider; a panic is an error, so
// that the attempt is recorded and answered like any other that fails.
func guard[T any](fn func() (T, error)) (v T, err error) {
	defer func() {
		if p := recover(); p != nil {
			var none T
			v, err = none, &panicked{panicError(p), string(debug.Stack())}
		}
	}()
	return fn()
}

// panicked is a panic as an error, with where it was.
type panicked struct {
	err   error
	stack string
}

func (p *panicked) Error() string { return p.err.Error() }
func (p *panicked) Unwrap() error { return p.err }

func reasonOf(err error) string {
	if pe := providerError(err); pe != nil && pe.Reason != "" {
		return pe.Reason
	}
	return record.ReasonInternal
}

func providerError(err error) *ProviderError {
	var pe *ProviderError
	errors.As(err, &pe)
	return pe
}

// serveCallback answers the callback route of each kind of provider.
func (x *exchange) serveCallback() {
	p := x.a.providers[x.provider]
	posted := false
	switch p.(type) {
	case CredentialsProvider, WebAuthnProvider:
		posted = true
	}
	switch {
	case p == nil, posted && x.r.Method != http.MethodPost:
		x.fail(&routeError{step: "no provider takes this callback", reason: record.ReasonConfiguration})
		return
	case x.r.Method == http.MethodHead:
		// Mail scanners look at links with HEAD: that signs nobody in and uses
		// no link up.
		noCache(x.w.Header())
		return
	}
	switch p := p.(type) {
	case RedirectProvider:
		x.redirectCallback(p)
	case EmailProvider:
		x.openLink(p)
	case CredentialsProvider:
		if !x.csrfOK {
			x.refuseCSRF(p.Info())
			return
		}
		x.checkCredentials(p)
	case WebAuthnProvider:
		x.webauthnCallback(p)
	}
}

// redirectCallback completes a sign-in at a provider. Every check is made
// before the code is redeemed.
func (x *exchange) redirectCallback(p RedirectProvider) {
	info := p.Info()
	if x.forward(info) {
		return
	}
	x.clearChecks()
	c := &Complete{RedirectURI: x.redirectURI(info.ID), Params: x.query}
	// What a provider posts to the redirect proxy comes on in the query.
	if p.FormPost() && !(x.proxied() && x.r.Method == http.MethodGet) {
		c.Params = x.form
	}
	for _, check := range p.Checks() {
		kind, reason := stateCookie, record.ReasonStateMismatch
		switch check {
		case "pkce":
			kind, reason = pkceCookie, record.ReasonPKCEFailed
		case "nonce":
			kind, reason = nonceCookie, record.ReasonNonceMismatch
		}
		value, why := x.openCheck(kind, info.ID)
		if check == "state" && why == "" && !csrf.Equal(c.Params["state"], value) {
			if why = "mismatch"; c.Params["state"] == "" {
				why = "missing"
			}
		}
		if why != "" {
			x.refuse(refused{auth: info, reason: reason, step: "check of the " + check + " cookie",
				cause: record.TypeCheckFailed, check: check, why: why})
			return
		}
		switch check {
		case "state":
			c.State = value
		case "pkce":
			c.CodeVerifier = Secret(value)
		case "nonce":
			c.Nonce = Secret(value)
		}
	}
	in := &proved{info: info, method: info.Type, linkByEmail: p.LinkByEmail()}
	if c.State != "" && x.a.adapter != nil {
		in.check = checkDigest("state", c.State)
		in.use = append(in.use, UseCheck{Digest: in.check, Expires: x.now.Add(2 * checkAge)})
	}
	proof, err := guard(func() (*Proof, error) { return p.Complete(x.r.Context(), c) })
	if err != nil {
		x.proofFailed(in, err)
		return
	}
	in.profile, in.account, in.raw = proof.User, proof.Account, new(proof.Profile)
	// Whoever wrote the provider, its accounts are its own, and an address is
	// found again whichever case it is written in.
	in.account.Provider, in.profile.Email = info.ID, lower(in.profile.Email)
	in.emailVerified = proof.EmailVerified
	in.auth = AuthInfo{Provider: info.ID, Method: info.Type, AMR: proof.AMR, ACR: proof.ACR, AuthTime: proof.AuthTime}
	in.query = Query{Account: AccountKey{info.ID, in.account.ProviderAccountID}, Email: in.profile.Email, Check: in.check}
	if in.account.ProviderAccountID == "" {
		x.refuse(refused{auth: info, reason: record.ReasonProfileInvalid, step: "the profile has no account id", writes: in.use})
		return
	}
	x.finish(in)
}

// proofFailed refuses what a provider did not prove. Providers take a code once,
// so this is also how most replays end: whether it was one is asked only here
// and where the sign-in is decided, which spares every other sign-in a read.
func (x *exchange) proofFailed(in *proved, err error) {
	if in.check != [32]byte{} {
		found, ferr := x.a.find(context.WithoutCancel(x.r.Context()), Query{Check: in.check})
		if ferr == nil && found.CheckUsed {
			x.refuse(x.replay(in))
			return
		}
	}
	r := refusedBy(in.info, "complete at the provider", err)
	r.writes = in.use
	x.refuse(r)
}

// refusedBy is a sign-in that a provider's error ended.
func refusedBy(info ProviderInfo, step string, err error) refused {
	r := refused{auth: info, reason: reasonOf(err), step: step, err: err}
	var pe *ProviderError
	if errors.As(err, &pe) {
		if pe.Denied {
			r.page = "OAuthCallbackError"
		}
		if pe.Check != "" {
			r.cause, r.check, r.why = record.TypeCheckFailed, pe.Check, "mismatch"
		}
	}
	return r
}

// replay refuses a callback whose state or link was used before.
func (x *exchange) replay(in *proved) refused {
	r := refused{auth: in.info, reason: record.ReasonReplay, step: "the state was used before",
		cause: record.TypeReplayDetected, check: "state", why: "used"}
	switch in.method {
	case TypeWebAuthn:
		r.check, r.step = "webauthnChallenge", "the challenge was used before"
	case TypeNative:
		r.check, r.step = "code", "the code was used before"
	case TypeEmail:
		r.reason, r.check, r.step, r.page = record.ReasonTokenUsed, "verificationToken", "the magic link was used before", "Verification"
		r.target = in.profile.Email
	}
	return r
}

// requestLink answers the request for a magic link. Known and unknown addresses
// get the same answer.
func (x *exchange) requestLink(p EmailProvider) {
	info := p.Info()
	ctx := context.WithoutCancel(x.r.Context())
	address, err := guard(func() (string, error) { return p.Normalize(x.form["email"]) })
	if err != nil || identifier(address, maxAddress) != nil {
		x.refuse(refused{auth: info, reason: record.ReasonIdentifierInvalid, step: "the address is none that a link may be sent to"})
		return
	}
	found, err := x.a.find(ctx, Query{Email: address, LinksTo: address})
	if err != nil {
		x.storeFailed(info, err)
		return
	}
	user := &User{ID: uuid.NewString(), Email: address}
	if found.ByEmail != nil {
		user = found.ByEmail.User.clone()
	}
	account := &Account{Type: TypeEmail, Provider: info.ID, ProviderAccountID: address, UserID: user.ID}
	r := x.veto(ctx, &SignInAttempt{User: user, Account: account, VerificationRequest: true})
	if r == nil {
		r = x.sendNewLink(ctx, &linkRequest{p: p, info: info, address: address, limits: linkLimits(p)}, found.Links)
	}
	if r != nil {
		r.auth, r.known, r.target = info, found.ByEmail, address
	}
	switch {
	case r == nil:
	case r.unseen:
		x.logFailure(&routeError{step: r.step, reason: r.reason, unrecorded: x.recordRefusal(*r)})
	default:
		x.refuse(*r)
		return
	}
	q := cookie.AppendForm([]byte(nil), "provider", info.ID)
	x.redirect(x.origin + x.a.base + "/verify-request?" + string(cookie.AppendForm(q, "type", TypeEmail)))
}

// openLink completes a sign-in by magic link. The link is looked up before the
// callbacks run, and used up in the transaction that signs in, refuses, or finds
// it expired.
func (x *exchange) openLink(p EmailProvider) {
	info := p.Info()
	email, claimed := x.query["email"], ""
	if looksLikeAddress(email) {
		claimed = email
	}
	ctx := context.WithoutCancel(x.r.Context())
	bad := refused{auth: info, page: "Verification", reason: record.ReasonTokenUnknown, step: "no such magic link"}
	token := x.query["token"]
	hash := x.a.csrf.HashToken(token)
	check := checkDigest("verificationToken", hash)
	found, err := x.a.find(ctx, Query{Verification: hash, Check: check, Email: claimed})
	if err != nil {
		x.storeFailed(info, err)
		return
	}
	row := found.Verification
	if token == "" || row == nil {
		if found.CheckUsed {
			bad = x.replay(&proved{info: info, method: TypeEmail})
		}
		bad.known, bad.target = found.ByEmail, claimed
		x.refuse(bad)
		return
	}
	in := &proved{info: info, method: TypeEmail, profile: User{Email: row.Identifier}, emailVerified: true,
		account: Account{Type: TypeEmail, Provider: info.ID, ProviderAccountID: row.Identifier},
		auth:    AuthInfo{Provider: info.ID, Method: TypeEmail},
		query:   Query{Email: row.Identifier, Verification: hash}}
	in.use = []Write{UseVerificationToken{Identifier: row.Identifier, Hash: hash},
		UseCheck{Digest: check, Expires: x.now.Add(p.MaxAge())}}
	switch {
	case email != "" && email != row.Identifier:
		bad.step = "the magic link was sent to another address"
	case !row.Expires.After(x.now):
		bad.reason, bad.step = record.ReasonTokenExpired, "the magic link has expired"
	default:
		x.finish(in)
		return
	}
	known, err := x.a.find(ctx, Query{Email: row.Identifier})
	if err != nil {
		x.storeFailed(info, err)
		return
	}
	bad.writes, bad.known, bad.target = in.use, known.ByEmail, row.Identifier
	x.refuse(bad)
}

// checkCredentials completes a sign-in by what somebody typed.
func (x *exchange) checkCredentials(p CredentialsProvider) {
	info := p.Info()
	user, err := guard(func() (*User, error) { return p.Authorize(x.r.Context(), x.form, x.r) })
	if err == nil && user == nil {
		err = ErrBadCredentials
	}
	if err != nil {
		x.refuseCredentials(info, err)
		return
	}
	user = user.clone()
	if user.ID == "" {
		user.ID = uuid.NewString()
	}
	x.finish(&proved{info: info, method: TypeCredentials, profile: *user,
		account: Account{Type: TypeCredentials, Provider: info.ID, ProviderAccountID: user.ID},
		auth:    AuthInfo{Provider: info.ID, Method: TypeCredentials},
		query:   Query{UserID: user.ID}, credentials: x.form})
}

// refuseCredentials refuses what somebody typed. The claimed address is looked
// up so that the entry is about whom it concerns.
func (x *exchange) refuseCredentials(info ProviderInfo, err error) {
	r := refused{auth: info, page: "CredentialsSignin", code: "credentials", reason: record.ReasonBadCredentials, step: "bad credentials"}
	if !errors.Is(err, ErrBadCredentials) {
		r = refused{auth: info, reason: record.ReasonInternal, step: "authorize", err: err}
	}
	var no *refusal
	if errors.As(err, &no) { // as from the signIn callback
		r = refused{auth: info, page: "AccessDenied", code: no.code, to: no.url, reason: record.ReasonAccessDenied, step: "authorize refused"}
	}
	var ce *CredentialsError
	if errors.As(err, &ce) {
		if ce.Code != "" {
			r.code = ce.Code
		}
		if ce.Reason == record.ReasonUnknownUser {
			r.reason = ce.Reason
		}
		// A person may have typed the password into the wrong field. So a name
		// is recorded only when Authorize says that somebody has it, and of the
		// form only what is an address.
		if ce.Reason == record.ReasonBadCredentials || looksLikeAddress(ce.Target) {
			r.target = ce.Target
		}
	}
	if email := strings.ToLower(strings.TrimSpace(x.form["email"])); r.target == "" && looksLikeAddress(email) {
		r.target = email
	}
	if r.target != "" && x.a.adapter != nil {
		if found, err := x.a.find(context.WithoutCancel(x.r.Context()), Query{Email: record.LowerAddress(r.target)}); err == nil {
			r.known = found.ByEmail
		}
	}
	x.refuse(r)
}

// addressForm is narrower than what mail allows: its last label has letters
// only, as every top-level domain has, so that few passwords pass for one.
var addressForm = regexp.MustCompile(`^[A-Za-z0-9.!#$%&'*+/=?^_{|}~-]+@[A-Za-z0-9.-]+\.(?:[A-Za-z]{2,}|xn--[A-Za-z0-9-]+)$`)

// maxAddress is the most bytes of an address (RFC 5321, Section 4.5.3.1).
const maxAddress = 320

func looksLikeAddress(s string) bool { return len(s) <= maxAddress && addressForm.MatchString(s) }

// veto asks the signIn callback; nil means that it allows.
func (x *exchange) veto(ctx context.Context, s *SignInAttempt) (r *refused) {
	fn := x.a.cfg.Callbacks.SignIn
	if fn == nil {
		return nil
	}
	s.Request = x.a.request(x.visit)
	_, err := guard(func() (struct{}, error) { return struct{}{}, fn(ctx, s) })
	if err == nil {
		return nil
	}
	r = &refused{page: "AccessDenied", reason: record.ReasonAccessDenied, step: "the signIn callback refused"}
	var no *refusal
	switch {
	case errors.As(err, &no):
		r.code, r.to = no.code, no.url
	case errors.Is(err, ErrBadCredentials):
		r.page, r.code, r.reason = "CredentialsSignin", "credentials", record.ReasonBadCredentials
		if ce := (*CredentialsError)(nil); errors.As(err, &ce) && ce.Code != "" {
			r.code = ce.Code
		}
	default:
		r.reason, r.step, r.err = record.ReasonInternal, "signIn callback", err
	}
	return r
}

// refused is an attempt that comes to nothing: what is recorded, and what the
// visitor is told, which is less.
type refused struct {
	auth   ProviderInfo
	reason string
	step   string
	page   string // code of the error page; Configuration when empty
	code   string
	to     string // where the signIn callback sends the visitor instead
	err    error
	unseen bool // the visitor is answered as if all were well

	// cause is the type of the more precise entry, with what failed and why;
	// cloned is it when a passkey may exist twice.
	cause, check, why string
	cloned            *PasskeyEvent

	known   *FoundUser // the known user whose address or account was claimed
	target  string
	account *AccountKey
	writes  []Write // what the attempt uses up
}

// refuse records a refused attempt and answers it.
func (x *exchange) refuse(r refused) {
	e := &routeError{step: r.step, reason: r.reason, page: r.page, code: r.code, err: r.err, unrecorded: x.recordRefusal(r)}
	if r.to != "" && x.action != "native-token" {
		to, err := x.resolveURL(r.to, "signIn callback")
		if err == nil {
			x.logFailure(e)
			x.redirect(to)
			return
		}
		e.err = err
	}
	x.fail(e)
}

// recordRefusal writes the entries of a refused attempt. When what it uses up
// was used meanwhile, it is recorded all the same.
func (x *exchange) recordRefusal(r refused) error {
	tries := 0
	return retry(func() error {
		err := x.tryRefusal(&r)
		if !isConflict(err) {
			return err
		}
		// The database may only have asked to be asked again, so what is to be
		// used up is given up last.
		if tries++; tries == maxTries-1 {
			r.writes = nil
		}
		if r.known != nil && x.a.adapter != nil {
			found, ferr := x.a.find(context.WithoutCancel(x.r.Context()), Query{UserID: r.known.User.ID})
			if ferr != nil {
				return ferr
			}
			r.known = found.ByID
		}
		return err
	})
}

func (x *exchange) tryRefusal(r *refused) error {
	rec := x.a.newRecorder(x.visit)
	rec.auth = AuthInfo{Provider: r.auth.ID, Method: r.auth.Type}
	k := keys{subject: record.NewKey()}
	c := change{writes: slices.Clone(r.writes)}
	ev := &SignInFailedEvent{Target: r.target, Account: r.account}
	if r.known != nil {
		known := *r.known
		c.add(rec.meet(&known))
		ev.User, k.subject = known.User.clone(), known.Subject
	}
	switch {
	case r.cloned != nil:
		warning := *r.cloned
		warning.Envelope = rec.failure(record.TypePasskeyCloneWarning, r.reason)
		warning.Subject, rec.cause = warning.User.ID, warning.ID
		c.does(&warning, k)
	case r.cause != "":
		d := &DefenceEvent{Envelope: rec.failure(r.cause, r.reason), Check: r.check, Why: r.why}
		rec.cause = d.ID
		c.does(d, k)
	}
	ev.Envelope = rec.failure(record.TypeSignInFailed, r.reason)
	if r.known != nil {
		ev.Subject = r.known.User.ID
	}
	c.does(ev, k)
	return x.a.act(x.r.Context(), x.firing, c)
}

// refuseCSRF refuses a sign-in that did not come from our own page.
func (x *exchange) refuseCSRF(info ProviderInfo) {
	x.refuse(refused{auth: info, page: "MissingCSRF", reason: record.ReasonCSRF, step: "CSRF token missing or wrong",
		cause: record.TypeCSRFRejected, check: "csrf", why: x.whyCSRF()})
}

// storeFailed answers an attempt that the store could not decide. It is
// recorded if the store can do that.
func (x *exchange) storeFailed(info ProviderInfo, err error) {
	x.refuse(refused{auth: info, reason: record.ReasonStoreError, step: "store", err: err})
}
