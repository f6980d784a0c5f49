package gatebook

import (
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
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
	// newUser is the id that a new user is to have; it is in the user handle. It is
	// empty where the adapter makes ids that are not to be had before.
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
	database, foreign := x.a.cfg.Session.Strategy == StrategyDatabase, false
	token, _ := x.sessionChunks()
	switch {
	case token == "":
	case database && len(token) <= maxRowToken:
		q.Session = Secret(token)
	case !database:
		if c, unmet, err := x.a.openToken(x.r.Context(), token, x.now, x.cookieName(sessionCookie)); err == nil {
			foreign, q.UserID = unmet, c.String("sub")
			if x.a.listed() {
				q.TokenSession = x.a.listID(c.String("sid"))
			}
		}
	}
	found, err := x.a.find(x.r.Context(), q)
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
	if who.signedIn == nil || !foreign && (found.Session == nil || found.Session.Session.ID != "") {
		return who, nil
	}
	_, err = x.browserSession() // which another program began: the answer lists its user's passkeys
	if errors.Is(err, ErrNoSession) {
		who.signedIn, err = nil, nil
	}
	return who, err
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
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		list = decoys
	}
	for i := range list { // which order they came in would tell
		list[i].Transports = slices.Sorted(slices.Values(list[i].Transports))
	}
	return list, nil
}

type decoyShape struct {
	size       int // bytes, even
	transports []string
}

// decoyShapes are how the credentials of common authenticators look.
var decoyShapes = [...]decoyShape{
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
		id, err := a.sealDecoy(ctx, b[18+32*i:][:shape.size/2])
		if err != nil {
			return nil, "", err
		}
		list[i] = Authenticator{CredentialID: base64.StdEncoding.EncodeToString(id), Transports: shape.transports}
	}
	// As the stores order them.
	slices.SortFunc(list, func(a, b Authenticator) int { return strings.Compare(a.CredentialID, b.CredentialID) })
	return list, uuid.UUID(b[2:18]).String(), nil
}

// sealDecoy returns the credential id of a decoy: head and as many bytes again,
// by which we know it.
func (a *Auth) sealDecoy(ctx context.Context, head []byte) ([]byte, error) {
	tail, err := a.derive(ctx, "passkey decoy of ours", string(head), len(head))
	return append(head[:len(head):len(head)], tail...), err
}

// isDecoy reports whether a credential id is one that options list for whoever
// has no passkey. Nobody may register it: a real one is taken, so what is not
// would be known for a decoy.
func (a *Auth) isDecoy(ctx context.Context, credentialID string) (bool, error) {
	id, err := base64.StdEncoding.DecodeString(credentialID)
	if err != nil || !slices.ContainsFunc(decoyShapes[:], func(s decoyShape) bool { return s.size == len(id) }) {
		return false, nil //nolint:nilerr // what is no base64 is none of ours
	}
	sealed, err := a.sealDecoy(ctx, id[:len(id)/2])
	return err == nil && hmac.Equal(sealed, id), err
}

// derive returns n bytes that stand for a value for good: under the book's key,
// which unlike the secrets is never rotated.
func (a *Auth) derive(ctx context.Context, label, value string, n int) ([]byte, error) {
	id, err := a.bookKeys(ctx)
	if err != nil {
		return nil, err
	}
	return deriveKey(id.SearchKey, label, value, n)
}

func deriveKey(key []byte, label, value string, n int) ([]byte, error) {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(label + "\x00" + value)) // no kind of a search term
	return hkdf.Expand(sha256.New, mac.Sum(nil), label, n)
}

// creationOptions answers with the options of a registration: of a further
// passkey for whoever is signed in, or of a new user's first.
func (x *exchange) creationOptions(p WebAuthnProvider, who *asker) error {
	ctx := x.r.Context()
	ch := challenge{value: newRandom(), owner: &User{Email: who.email}}
	c := &Ceremony{Origin: x.origin, Challenge: ch.value}
	handle, err := "", error(nil)
	if who.signedIn == nil {
		ch.newUser, handle, err = x.a.newcomer(ctx, ch.owner)
	} else {
		u := &who.signedIn.User
		ch.owner = &User{ID: u.ID, Name: u.Name, Email: u.Email, Image: u.Image}
		if c.Credentials, err = x.a.adapter.Authenticators(ctx, u.ID); err == nil {
			handle, err = x.a.userHandle(ctx, u.ID)
		}
	}
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

// newcomer returns the id and the user handle of somebody who may become a user.
// Where the adapter makes other ids than UUIDs there is no id yet, which anybody
// could use up by asking for options; the handle is then as random as in Auth.js.
func (a *Auth) newcomer(ctx context.Context, u *User) (id, handle string, err error) {
	known := a.uuids.Load()
	if known == nil {
		made, err := a.newUserID(ctx, u, nil)
		if err != nil {
			return "", "", err
		}
		known = new(uuid.Validate(made) == nil)
		a.uuids.Store(known)
	}
	if !*known {
		var b [32]byte
		rand.Read(b[:])
		return "", hex.EncodeToString(b[:]), nil
	}
	id = uuid.NewString()
	handle, err = a.userHandle(ctx, id)
	return id, handle, err
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
