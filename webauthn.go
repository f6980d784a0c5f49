package gatebook

import (
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/netip"
	"regexp"
	"strings"

	"github.com/google/uuid"

	"github.com/gatebook/gatebook/internal/claims"
	"github.com/gatebook/gatebook/record"
)

const (
	// challengeSalt separates the keys of the challenge's inner token from all
	// others (Auth.js).
	challengeSalt = "encodedWebauthnChallenge"
	// maxResponse is how many bytes a browser's answer to a ceremony may have;
	// attestations with certificates have about 6,000.
	maxResponse = 64 << 10
	// maxCredentialID is how many bytes a credential id may have (WebAuthn Level
	// 3, Section 7.1, step 25).
	maxCredentialID = 1023
)

// challenge is what the challenge cookie holds.
type challenge struct {
	value string
	// owner is who registers: a user with an id when somebody signed in adds a
	// passkey. It is nil for an authentication.
	owner *User
	// newUser is the id that a new user is to have; it is in the user handle.
	newUser string
	// discoverable is set when no credential was named, so that the browser's
	// answer must say whose it is.
	discoverable bool
}

// asker is who asks for options.
type asker struct {
	email             string
	signedIn, byEmail *FoundUser
}

// webauthnOptions answers GET webauthn-options: what the browser is to do.
func (x *exchange) webauthnOptions() {
	p, ok := x.a.providers[x.provider].(WebAuthnProvider)
	if !ok {
		x.fail(&routeError{step: "no provider of passkeys has this id", reason: record.ReasonConfiguration})
		return
	}
	action, given := x.query["action"]
	if given && action != "register" && action != "authenticate" {
		x.json(http.StatusBadRequest, `{"error":"Invalid action"}`, true)
		return
	}
	if _, err := netip.ParseAddr(strings.Trim(hostname(x.origin), "[]")); err == nil {
		x.fail(&routeError{step: "passkeys need a site with a name, not an IP address: set Config.URL, or visit localhost", reason: record.ReasonConfiguration})
		return
	}
	who, err := x.whoAsks()
	if err != nil {
		x.fail(&routeError{step: "store", reason: record.ReasonStoreError, err: err})
		return
	}
	newcomer := who.signedIn == nil && who.byEmail == nil && p.SignUp() && looksLikeAddress(who.email)
	switch {
	case action == "authenticate", !given && who.signedIn == nil && !newcomer:
		err = x.requestOptions(p, who)
	case action == "register" && who.signedIn != nil, newcomer:
		err = x.creationOptions(p, who)
	default:
		x.json(http.StatusBadRequest, `{"error":"Invalid request"}`, true)
	}
	if err != nil {
		x.fail(err)
	}
}

// whoAsks finds out who is signed in, and whose the given address is.
func (x *exchange) whoAsks() (*asker, error) {
	who := &asker{email: record.LowerAddress(strings.TrimSpace(x.query["email"]))}
	if len(who.email) > maxAddress {
		who.email = ""
	}
	q := Query{Email: who.email}
	database := x.a.cfg.Session.Strategy == StrategyDatabase
	token, _ := x.sessionChunks()
	switch {
	case token == "":
	case database && len(token) <= 1024:
		q.Session = Secret(token)
	case !database:
		if c, err := x.a.openToken(x.r.Context(), token, x.now, x.cookieName(sessionCookie)); err == nil {
			q.UserID = c.String("sub")
			if x.a.listed() {
				q.TokenSession = x.a.listID(c.String("sid"))
			}
		}
	}
	found, err := x.a.adapter.Find(x.r.Context(), q)
	if err != nil {
		return nil, err
	}
	if found.Revoked { // whoever brings the token is nobody
		found.ByID = nil
	}
	who.byEmail, who.signedIn = found.ByEmail, found.ByID
	if s := found.Session; s != nil && s.Session.Expires.After(x.now) {
		who.signedIn = &s.FoundUser
	}
	return who, nil
}

// requestOptions answers with the options of an authentication.
func (x *exchange) requestOptions(p WebAuthnProvider, who *asker) error {
	c := &Ceremony{Origin: x.origin, Challenge: newRandom()}
	list, err := x.credentials(who)
	if err != nil {
		return &routeError{step: "store", reason: record.ReasonStoreError, err: err}
	}
	c.Credentials = list
	options, err := guard(func() (json.RawMessage, error) { return p.RequestOptions(c) })
	if err != nil {
		return &routeError{step: "make the options of a passkey", reason: reasonOf(err), err: err}
	}
	x.sealChallenge(challenge{value: c.Challenge, discoverable: len(list) == 0})
	x.json(http.StatusOK, `{"action":"authenticate","options":`+string(options)+`}`, true)
	return nil
}

// credentials lists the passkeys that may answer. An address that nobody has,
// or whose user has no passkey, gets decoys, and takes the same reads: neither
// the answer nor its time tells which addresses are known.
func (x *exchange) credentials(who *asker) ([]Authenticator, error) {
	ctx := x.r.Context()
	if who.signedIn != nil {
		return x.a.adapter.Authenticators(ctx, who.signedIn.User.ID)
	}
	if who.email == "" {
		return nil, nil
	}
	decoys, id, err := x.a.decoys(ctx, who.email)
	if err != nil {
		return nil, err
	}
	if who.byEmail != nil {
		id = who.byEmail.User.ID
	}
	list, err := x.a.adapter.Authenticators(ctx, id)
	if err != nil || len(list) > 0 {
		return list, err
	}
	return decoys, nil
}

// decoyShapes are how the credentials of common authenticators look.
var decoyShapes = [...]struct {
	size       int
	transports []string
}{
	{20, []string{"internal", "hybrid"}}, // Apple's keychain
	{16, []string{"internal", "hybrid"}}, // password managers
	{32, []string{"internal", "hybrid"}}, // Android
	{32, []string{"internal"}},           // Windows Hello
}

// decoys returns passkeys that an address might have, always the same for the
// same address, and a user id that nobody has.
func (a *Auth) decoys(ctx context.Context, email string) ([]Authenticator, string, error) {
	b, err := a.derive(ctx, "passkey decoy", email, 2+16+2*32)
	if err != nil {
		return nil, "", err
	}
	n := 1
	if b[0] < 64 { // one in four has two
		n = 2
	}
	list := make([]Authenticator, n)
	for i := range list {
		shape := decoyShapes[int(b[1]>>(4*i))%len(decoyShapes)]
		id := b[18+32*i:][:shape.size]
		list[i] = Authenticator{CredentialID: base64.StdEncoding.EncodeToString(id), Transports: shape.transports}
	}
	return list, uuid.UUID(b[2:18]).String(), nil
}

// derive returns n bytes that stand for a value for good: under the book's key,
// which unlike the secrets is never rotated.
func (a *Auth) derive(ctx context.Context, label, value string, n int) ([]byte, error) {
	id, err := a.bookIdentity(ctx)
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, id.SearchKey)
	mac.Write([]byte(label + "\x00" + value)) // no kind of a search term
	return hkdf.Expand(sha256.New, mac.Sum(nil), label, n)
}

// creationOptions answers with the options of a registration: of a further
// passkey for whoever is signed in, or of a new user's first.
func (x *exchange) creationOptions(p WebAuthnProvider, who *asker) error {
	ctx := x.r.Context()
	ch := challenge{value: newRandom(), owner: &User{Email: who.email}, newUser: uuid.NewString()}
	c := &Ceremony{Origin: x.origin, Challenge: ch.value}
	id := ch.newUser
	if who.signedIn != nil {
		u := &who.signedIn.User
		id, ch.newUser = u.ID, ""
		ch.owner = &User{ID: u.ID, Name: u.Name, Email: u.Email, Image: u.Image}
		var err error
		if c.Credentials, err = x.a.adapter.Authenticators(ctx, u.ID); err != nil {
			return &routeError{step: "store", reason: record.ReasonStoreError, err: err}
		}
	}
	handle, err := x.a.userHandle(ctx, id)
	if err != nil {
		return &routeError{step: "store", reason: record.ReasonStoreError, err: err}
	}
	owner := &PasskeyOwner{Handle: handle, Name: ch.owner.Email, DisplayName: ch.owner.Name}
	if owner.Name == "" { // not every provider gives an address
		owner.Name = owner.DisplayName
	}
	if owner.DisplayName == "" {
		owner.DisplayName = owner.Name
	}
	options, err := guard(func() (json.RawMessage, error) { return p.CreationOptions(c, owner) })
	if err != nil {
		return &routeError{step: "make the options of a passkey", reason: reasonOf(err), err: err}
	}
	x.sealChallenge(ch)
	x.json(http.StatusOK, `{"action":"register","options":`+string(options)+`}`, true)
	return nil
}

// userHandle returns the user handle of the passkeys that we make: as in Auth.js
// 64 hex digits, but the same for all of a user's, and its second half proves
// that it is one of ours.
func (a *Auth) userHandle(ctx context.Context, userID string) (string, error) {
	head, err := a.derive(ctx, "passkey user handle", userID, 16)
	if err != nil {
		return "", err
	}
	return a.sealHandle(ctx, hex.EncodeToString(head))
}

func (a *Auth) sealHandle(ctx context.Context, head string) (string, error) {
	tail, err := a.derive(ctx, "passkey user handle of ours", head, 16)
	return head + hex.EncodeToString(tail), err
}

var hexHandle = regexp.MustCompile(`^[0-9a-f]{64}$`)

// handleFits reports whether a passkey of the user may have this user handle:
// ours, or the random one that Auth.js gave and nobody knows.
func (a *Auth) handleFits(ctx context.Context, handle, userID string) (bool, error) {
	if !hexHandle.MatchString(handle) {
		return false, nil
	}
	sealed, err := a.sealHandle(ctx, handle[:32])
	if err != nil || sealed != handle {
		return err == nil, err
	}
	own, err := a.userHandle(ctx, userID)
	return own == handle, err
}

// sealChallenge queues the challenge cookie: a sealed check whose value is a
// sealed token of its own, as Auth.js writes and reads it.
func (x *exchange) sealChallenge(ch challenge) {
	var o claims.Object
	o.SetString("challenge", ch.value)
	if u := ch.owner; u != nil {
		var data claims.Object
		for _, m := range [...]Param{{"id", u.ID}, {"name", u.Name}, {"email", u.Email}, {"image", u.Image}} {
			if m.Value != "" {
				data.SetString(m.Name, m.Value)
			}
		}
		_ = o.SetRaw("registerData", data.Append(nil)) // what Append returns is JSON
	}
	if ch.newUser != "" {
		o.SetString("newUser", ch.newUser)
	}
	if ch.discoverable {
		_ = o.SetRaw("discoverable", json.RawMessage("true"))
	}
	x.sealCheck(challengeCookie, x.a.sealObject(challengeSalt, x.now, o), x.provider, false)
}

// openChallenge reads and clears the challenge cookie; why says what is wrong
// with it, or is empty.
func (x *exchange) openChallenge() (ch challenge, why string) {
	if _, ok := x.jar.Get(x.cookieName(challengeCookie)); ok {
		x.clear(challengeCookie, x.cookieName(challengeCookie))
	}
	token, why := x.openCheck(challengeCookie, x.provider)
	if why != "" {
		return ch, why
	}
	o, why := x.openSealed(challengeSalt, token)
	if why != "" {
		return ch, why
	}
	ch.value, _ = o.String("challenge")
	ch.newUser, _ = o.String("newUser")
	_, ch.discoverable = o.Get("discoverable")
	if raw, ok := o.Get("registerData"); ok {
		data, err := claims.Parse(raw)
		if err != nil {
			return ch, "mismatch"
		}
		ch.owner = &User{}
		var t [4]string
		data.Texts(t[:], "id", "name", "email", "image")
		ch.owner.ID, ch.owner.Name, ch.owner.Email, ch.owner.Image = t[0], t[1], record.LowerAddress(t[2]), t[3]
	}
	if ch.value == "" {
		return ch, "mismatch"
	}
	return ch, ""
}

// passkeyProof is what a ceremony proved: a registration or an assertion.
type passkeyProof struct {
	challenge
	registration *Registration
	assertion    *Assertion
}

// webauthnCallback completes a ceremony. Whatever of it fails, the visitor is
// told the same, and whether the passkey is known at all shows nowhere.
func (x *exchange) webauthnCallback(p WebAuthnProvider) {
	info := p.Info()
	if !x.csrfOK {
		x.refuseCSRF(info)
		return
	}
	ch, why := x.openChallenge()
	id, ok := credentialOf(x.form["data"])
	action := x.form["action"]
	r := refused{auth: info, reason: record.ReasonWebAuthnFailed, cause: record.TypeCheckFailed}
	switch {
	case action != "register" && action != "authenticate" || !ok:
		r.step, r.check, r.why = "the browser's answer is malformed or too long", "format", "mismatch"
	case why != "":
		r.step, r.check, r.why = "check of the challenge cookie", "webauthnChallenge", why
	case (action == "register") != (ch.owner != nil):
		r.step, r.check, r.why = "the challenge is for the other ceremony", "webauthnChallenge", "mismatch"
	case ch.owner != nil && ch.owner.ID == "" && !p.SignUp():
		r.step, r.check, r.why, r.reason = "signing up with a passkey is off", "account", "forbidden", record.ReasonAccessDenied
	default:
		x.completeCeremony(p, ch, id)
		return
	}
	x.refuse(r)
}

// credentialOf returns the id of the credential that a browser answered with, in
// the form in which it is stored.
func credentialOf(data string) (string, bool) {
	if len(data) > maxResponse {
		return "", false
	}
	o, err := claims.Parse([]byte(data))
	if err != nil {
		return "", false
	}
	text, _ := o.String("id")
	id, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(id) == 0 || len(id) > maxCredentialID || base64.RawURLEncoding.EncodeToString(id) != text {
		return "", false
	}
	return base64.StdEncoding.EncodeToString(id), true
}

// unknownKey stands in for the key of a passkey that nobody has, so that an
// answer for it takes as long: a point of P-256, which is not good for anything
// else, for such an answer is refused whatever it says.
var unknownKey, _ = hex.DecodeString("a5010203262001" +
	"2158206b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296" +
	"2258204fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5")

// completeCeremony verifies what the browser answered. The challenge is used up
// whatever comes of it.
func (x *exchange) completeCeremony(p WebAuthnProvider, ch challenge, id string) {
	info := p.Info()
	ctx := context.WithoutCancel(x.r.Context())
	in := &proved{info: info, method: TypeWebAuthn, passkey: &passkeyProof{challenge: ch}, check: checkDigest("webauthnChallenge", ch.value),
		account: Account{Type: TypeWebAuthn, Provider: info.ID, ProviderAccountID: id},
		auth:    AuthInfo{Provider: info.ID, Method: TypeWebAuthn}}
	in.use = []Write{UseCheck{Digest: in.check, Expires: x.now.Add(2 * checkAge)}}
	in.query = Query{Credential: id, Account: AccountKey{info.ID, id}, Check: in.check}
	ask := in.query
	if ch.owner != nil {
		in.profile, in.newUserID = *ch.owner, ch.newUser
		ask.UserID, ask.Email = ch.owner.ID, ch.owner.Email
	}
	found, err := x.a.adapter.Find(ctx, ask)
	if err != nil {
		x.storeFailed(info, err)
		return
	}
	if found.CheckUsed {
		x.refuse(x.replay(in))
		return
	}
	c := &Ceremony{Origin: x.origin, Challenge: ch.value}
	verified := false
	known := found.ByAccount
	if ch.owner != nil {
		if known = found.ByID; known == nil {
			known = found.ByEmail
		}
		in.query.Email = ch.owner.Email
		var reg *Registration
		reg, err = guard(func() (*Registration, error) { return p.Register(c, []byte(x.form["data"])) })
		if err == nil && reg.Authenticator.CredentialID != id {
			err = &ProviderError{Reason: record.ReasonWebAuthnFailed, Step: "registration", Check: "credential"}
		}
		if err == nil {
			in.passkey.registration, verified = reg, reg.UserVerified
		}
	} else {
		stored := found.Authenticator
		if stored == nil {
			stored = &Authenticator{CredentialID: id, PublicKey: unknownKey, DeviceType: DeviceSingle}
		} else {
			in.query.Account.ProviderAccountID = stored.ProviderAccountID
			in.account.ProviderAccountID = stored.ProviderAccountID
		}
		var as *Assertion
		as, err = guard(func() (*Assertion, error) { return p.Authenticate(c, stored, []byte(x.form["data"])) })
		if found.Authenticator == nil {
			err = &ProviderError{Reason: record.ReasonWebAuthnFailed, Step: "authentication", Check: "credential"}
		}
		if err == nil {
			in.passkey.assertion, verified = as, as.UserVerified
		}
	}
	if err != nil {
		r := refused{auth: info, page: "WebAuthnVerificationError", reason: reasonOf(err), step: "verify the passkey", err: err,
			known: known, target: in.profile.Email, writes: in.use}
		if pe := providerError(err); pe != nil && pe.Check != "" {
			r.cause, r.check, r.why = record.TypeCheckFailed, pe.Check, "mismatch"
		}
		x.refuse(r)
		return
	}
	// RFC 8176: possession of a key, a person at the device, and, where they had
	// to prove it was theirs, a second factor.
	in.auth.AMR = []string{"pop", "user"}
	if verified {
		in.auth.AMR = append(in.auth.AMR, "mfa")
	}
	x.finish(in)
}

// checkPasskey checks what was proved against what the store has now; the
// counter is compared here, with the same read that its write rests on.
func (x *exchange) checkPasskey(ctx context.Context, in *proved, t *attempt, found *Found) (*refused, error) {
	no := &refused{page: "WebAuthnVerificationError", reason: record.ReasonWebAuthnFailed, cause: record.TypeCheckFailed, why: "mismatch"}
	k := in.passkey
	in.use = in.use[:1:1] // the challenge; a try before this one may have added to it
	if k.registration != nil {
		owner := ""
		if t.signedIn != nil {
			owner = t.signedIn.User.ID
		}
		other := found.ByAccount != nil && t.signedIn != nil && found.ByAccount.User.ID != owner
		switch {
		case owner != k.owner.ID:
			// Or else a passkey begun by one person could go to another who
			// signed in meanwhile.
			no.step, no.check, no.known = "another person is signed in than began the registration", "account", t.signedIn
			return no, nil
		case other: // decided as W2
		case found.ByAccount != nil || found.Authenticator != nil:
			no.step, no.check, no.why, no.known = "the credential id is taken", "credential", "used", found.ByAccount
			return no, nil
		}
		t.passkey = &k.registration.Authenticator
		return nil, nil
	}
	stored, owner := found.Authenticator, found.ByAccount
	if stored == nil {
		no.step, no.check = "the passkey was removed", "credential"
		return no, nil
	}
	no.known = owner
	if owner == nil || owner.User.ID != stored.UserID {
		no.page, no.reason, no.cause = "", record.ReasonConfiguration, ""
		no.step = "the passkey's account is missing, or another user's"
		return no, nil
	}
	fits := k.assertion.UserHandle == "" && !k.discoverable
	if !fits {
		var err error
		if fits, err = x.a.handleFits(ctx, k.assertion.UserHandle, stored.UserID); err != nil {
			return nil, err
		}
	}
	if !fits {
		no.step, no.check = "the user handle is not the owner's", "userHandle"
		return no, nil
	}
	if n := k.assertion.Counter; n <= stored.Counter && (n != 0 || stored.Counter != 0) {
		no.step, no.cloned = "the signature counter did not go up: the passkey may exist twice",
			&PasskeyEvent{User: owner.User.clone(), Passkey: stored, Received: n}
		return no, nil
	}
	in.account.UserID = stored.UserID
	in.use = append(in.use, CountAuthenticator{CredentialID: stored.CredentialID, From: stored.Counter,
		To: k.assertion.Counter, BackedUp: k.assertion.BackedUp})
	return nil, nil
}
