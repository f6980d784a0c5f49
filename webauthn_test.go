package gatebook_test

import (
	"context"
	"crypto/ecdh"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/memory"
	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/internal/jwe"
	"github.com/gatebook/gatebook/record"
)

// fakePasskeys proves whatever the browser's answer says. Real ceremonies are
// tested in the module passkey.
type fakePasskeys struct{ id string }

func (p fakePasskeys) Info() gatebook.ProviderInfo {
	return gatebook.ProviderInfo{ID: p.id, Name: "Passkey", Type: gatebook.TypeWebAuthn}
}
func (fakePasskeys) SignUp() bool { return true }

func (fakePasskeys) CreationOptions(c *gatebook.Ceremony, owner *gatebook.PasskeyOwner) (json.RawMessage, error) {
	return json.Marshal(map[string]any{"challenge": c.Challenge, "handle": owner.Handle, "name": owner.Name, "displayName": owner.DisplayName,
		"count": len(c.Credentials)})
}

func (fakePasskeys) RequestOptions(c *gatebook.Ceremony) (json.RawMessage, error) {
	return json.Marshal(map[string]any{"challenge": c.Challenge, "count": len(c.Credentials)})
}

// said is what the browser answers the fake with.
type said struct {
	ID        string `json:"id"`
	Challenge string `json:"challenge"`
	Handle    string `json:"handle"`
	Counter   uint32 `json:"counter"`
	Made      string `json:"made"` // another credential id than ID
}

func (fakePasskeys) read(c *gatebook.Ceremony, response []byte) (*said, error) {
	var s said
	if err := json.Unmarshal(response, &s); err != nil {
		return nil, err
	}
	if s.Challenge != c.Challenge {
		return nil, &gatebook.ProviderError{Reason: record.ReasonWebAuthnFailed, Check: "challenge"}
	}
	id, err := base64.RawURLEncoding.DecodeString(s.ID)
	if err != nil {
		return nil, err
	}
	s.ID = base64.StdEncoding.EncodeToString(id)
	return &s, nil
}

func (p fakePasskeys) Register(c *gatebook.Ceremony, response []byte) (*gatebook.Registration, error) {
	s, err := p.read(c, response)
	if err != nil {
		return nil, err
	}
	if s.Made != "" {
		s.ID = s.Made
	}
	return &gatebook.Registration{AAGUID: "00000000-0000-0000-0000-000000000001", UserVerified: true,
		Authenticator: gatebook.Authenticator{CredentialID: s.ID, PublicKey: []byte("public-key-marker"), Counter: s.Counter,
			DeviceType: gatebook.DeviceSingle, Transports: []string{"usb"}}}, nil
}

func (p fakePasskeys) Authenticate(c *gatebook.Ceremony, _ *gatebook.Authenticator, response []byte) (*gatebook.Assertion, error) {
	s, err := p.read(c, response)
	if err != nil {
		return nil, err
	}
	return &gatebook.Assertion{Counter: s.Counter, UserHandle: s.Handle}, nil
}

// newPasskeyStage is a stage with passkeys on a site with a name.
func newPasskeyStage(t *testing.T, strategy string, change func(*site, *gatebook.Config)) *stage {
	t.Helper()
	return newStage(t, strategy, func(s *site, c *gatebook.Config) {
		c.URL = strings.Replace(c.URL, "127.0.0.1", "localhost", 1)
		c.Providers = append(c.Providers, fakePasskeys{"passkey"})
		if change != nil {
			change(s, c)
		}
	})
}

// ceremony asks for options and answers them; of the answer more says more.
func (st *stage) ceremony(query, id string, more said) *answer {
	st.t.Helper()
	action, o := st.options(query)
	more.ID, more.Challenge = base64.RawURLEncoding.EncodeToString([]byte(id)), o.Challenge
	data, err := json.Marshal(more)
	if err != nil {
		st.t.Fatal(err)
	}
	return st.b.post("/auth/callback/passkey", url.Values{"action": {action}, "data": {string(data)}})
}

type fakeOptions struct {
	Challenge, Handle, Name, DisplayName string
	Count                                int
}

func (st *stage) options(query string) (string, *fakeOptions) {
	st.t.Helper()
	var body struct {
		Action  string
		Options fakeOptions
	}
	a := st.b.get("/auth/webauthn-options/passkey?" + query)
	if err := json.Unmarshal([]byte(a.body), &body); err != nil || a.StatusCode != http.StatusOK {
		st.t.Fatalf("options?%s = %d to %q: %s\n%v", query, a.StatusCode, a.Header.Get("Location"), a.body, st.lines.all())
	}
	return body.Action, &body.Options
}

// passkey gives a user a passkey as another program would.
func (st *stage) passkey(u *gatebook.User, id string, counter uint32) {
	st.t.Helper()
	key := base64.StdEncoding.EncodeToString([]byte(id))
	st.commit(gatebook.LinkAccount{Account: gatebook.Account{UserID: u.ID, Type: gatebook.TypeWebAuthn, Provider: "passkey", ProviderAccountID: key}},
		gatebook.CreateAuthenticator{Authenticator: gatebook.Authenticator{CredentialID: key, UserID: u.ID, ProviderAccountID: key,
			PublicKey: []byte("key"), Counter: counter, DeviceType: gatebook.DeviceSingle}})
}

func (st *stage) commit(writes ...gatebook.Write) {
	st.t.Helper()
	if err := st.store.Commit(context.Background(), &gatebook.Act{Writes: writes}); err != nil {
		st.t.Fatal(err)
	}
}

var foreignHandle = strings.Repeat("0123456789abcdef", 4)

// TestPasskeyDecision is the part of the decision table for passkeys, with both
// strategies: what is written and told, and in which order.
func TestPasskeyDecision(t *testing.T) {
	const register, authenticate = "action=register", "action=authenticate"
	signed := said{Handle: foreignHandle, Counter: 6}
	tests := []struct {
		row    string
		query  string
		setup  func(*stage)
		user   func(*stage) string
		refuse string
		reason string
		events []string
		writes []string
		keep   bool
		isNew  bool
	}{
		{row: "W1 passkey of who is signed in", query: authenticate, keep: true,
			setup:  func(st *stage) { st.passkey(st.ada, "key", 5); st.signedIn(st.ada) },
			user:   func(st *stage) string { return st.ada.ID },
			events: []string{"signIn"}, writes: []string{"UseCheck", "CountAuthenticator"}},
		{row: "W2 passkey of somebody else", query: authenticate,
			setup:  func(st *stage) { st.passkey(st.grace, "key", 5); st.signedIn(st.ada) },
			user:   func(st *stage) string { return st.grace.ID },
			refuse: "signin?error=AccountNotLinked", reason: record.ReasonLinkedToOtherUser,
			events: []string{"signIn.failed"}, writes: []string{"UseCheck", "CountAuthenticator"}},
		{row: "W2 registering somebody else's", query: register,
			setup:  func(st *stage) { st.passkey(st.grace, "key", 5); st.signedIn(st.ada) },
			user:   func(st *stage) string { return st.grace.ID },
			refuse: "signin?error=AccountNotLinked", reason: record.ReasonLinkedToOtherUser,
			events: []string{"signIn.failed"}, writes: []string{"UseCheck"}},
		{row: "W3 known passkey", query: authenticate,
			setup:  func(st *stage) { st.passkey(st.ada, "key", 5) },
			user:   func(st *stage) string { return st.ada.ID },
			events: []string{"signIn"}, writes: []string{"UseCheck", "CountAuthenticator"}},
		{row: "W4 add to who is signed in", query: register, keep: true,
			setup:  func(st *stage) { st.signedIn(st.grace) },
			user:   func(st *stage) string { return st.grace.ID },
			events: []string{"linkAccount", "passkey.added", "signIn"}, writes: []string{"UseCheck", "LinkAccount", "CreateAuthenticator"}},
		{row: "W5 new", query: "email=New@example.com", isNew: true,
			setup:  func(*stage) {},
			events: []string{"createUser", "linkAccount", "passkey.added", "signIn"},
			writes: []string{"UseCheck", "CreateUser", "LinkAccount", "CreateAuthenticator"}},
		{row: "W6 the address was taken meanwhile", query: "email=new@example.com",
			setup: func(st *stage) {
				// Between the options and the answer somebody takes the address:
				// the answer's own read is the first that names the passkey.
				st.spy.onFind(func(q gatebook.Query) error {
					if q.Credential != "" {
						st.spy.onFind(nil)
						u := gatebook.User{ID: "new", Email: "new@example.com"}
						st.commit(gatebook.CreateUser{User: u, Subject: record.NewKey()})
					}
					return nil
				})
			},
			refuse: "signin?error=AccountNotLinked", reason: record.ReasonAccountNotLinked,
			user:   func(*stage) string { return "new" },
			events: []string{"signIn.failed"}, writes: []string{"UseCheck"}},
		{row: "an account without its passkey", query: authenticate,
			setup: func(st *stage) {
				st.link(st.ada, "passkey", base64.StdEncoding.EncodeToString([]byte("key")))
			},
			user:   func(st *stage) string { return st.ada.ID },
			refuse: "error?error=WebAuthnVerificationError", reason: record.ReasonWebAuthnFailed,
			events: []string{"check.failed", "signIn.failed"}, writes: []string{"UseCheck"}},
		{row: "a passkey without its account", query: authenticate,
			setup: func(st *stage) {
				st.commit(gatebook.CreateAuthenticator{Authenticator: gatebook.Authenticator{
					CredentialID: base64.StdEncoding.EncodeToString([]byte("key")), UserID: st.ada.ID, ProviderAccountID: "x", DeviceType: gatebook.DeviceSingle}})
			},
			refuse: "error?error=Configuration", reason: record.ReasonConfiguration,
			events: []string{"signIn.failed"}, writes: []string{"UseCheck"}},
		{row: "a passkey with another user's account", query: authenticate,
			setup: func(st *stage) {
				st.link(st.grace, "passkey", "x")
				st.commit(gatebook.CreateAuthenticator{Authenticator: gatebook.Authenticator{
					CredentialID: base64.StdEncoding.EncodeToString([]byte("key")), UserID: st.ada.ID, ProviderAccountID: "x", DeviceType: gatebook.DeviceSingle}})
			},
			refuse: "error?error=Configuration", reason: record.ReasonConfiguration,
			events: []string{"signIn.failed"}, writes: []string{"UseCheck"}},
	}
	for _, tt := range tests {
		t.Run(tt.row, func(t *testing.T) {
			strategies(t, func(t *testing.T, strategy string) {
				t.Helper()
				st := newPasskeyStage(t, strategy, nil)
				tt.setup(st)
				old := st.b.cookies["authjs.session-token"]
				st.quiet()
				a := st.ceremony(tt.query, "key", signed)
				st.check(tt.events...)
				want := tt.writes
				switch {
				case !st.database || tt.refuse != "":
				case tt.keep:
					want = slices.Concat(want, []string{"DeleteSession", "CreateSession"})
				default:
					want = slices.Concat(want, []string{"CreateSession"})
				}
				if diff := cmp.Diff(want, st.spy.writes()); diff != "" {
					t.Errorf("writes (-want +got):\n%s", diff)
				}
				if tt.refuse != "" {
					if to := a.Header.Get("Location"); !strings.HasSuffix(to, "/auth/"+tt.refuse) {
						t.Errorf("to %q, want %q\n%v", to, tt.refuse, st.lines.all())
					}
					f := st.failed()
					if f.Reason != tt.reason || tt.user != nil && (f.User == nil || f.User.ID != tt.user(st)) {
						t.Errorf("signIn.failed: reason %q, user %v", f.Reason, f.User)
					}
					if st.b.cookies["authjs.session-token"] != old {
						t.Error("a refused sign-in changed the session cookie")
					}
					return
				}
				ev := st.signIn()
				if ev == nil || ev.IsNewUser == nil || *ev.IsNewUser != tt.isNew || ev.Account.UserID != ev.User.ID || ev.Profile != nil {
					t.Fatalf("signIn is %+v\n%v", ev, st.lines.all())
				}
				if tt.user != nil && ev.User.ID != tt.user(st) {
					t.Errorf("signed in as %s, want %s", ev.User.ID, tt.user(st))
				}
				if kept := ev.Session == st.sid; kept != tt.keep {
					t.Errorf("sid kept: %v, want %v", kept, tt.keep)
				}
				if !ev.User.EmailVerified.IsZero() {
					t.Error("the address counts as verified")
				}
			})
		})
	}
}

// The signIn callback's answer is honoured, also where it leads elsewhere.
func TestPasskeyVeto(t *testing.T) {
	var answer error
	var asked *gatebook.SignInAttempt
	st := newPasskeyStage(t, gatebook.StrategyDatabase, func(_ *site, c *gatebook.Config) {
		c.Callbacks.SignIn = func(_ context.Context, a *gatebook.SignInAttempt) error { asked = a; return answer }
	})
	st.passkey(st.ada, "key", 0)
	for _, tt := range []struct {
		err error
		to  string
	}{
		{gatebook.Deny("closed"), "/auth/error?error=AccessDenied&code=closed"},
		{gatebook.RedirectTo("/wait"), "/wait"},
	} {
		answer = tt.err
		st.quiet()
		a := st.ceremony("action=authenticate", "key", said{Handle: foreignHandle})
		if to := a.Header.Get("Location"); !strings.HasSuffix(to, tt.to) || st.b.cookies["authjs.session-token"] != "" {
			t.Errorf("%v leads to %q", tt.err, to)
		}
		st.check("signIn.failed")
		if asked.User.ID != st.ada.ID || asked.Account.Type != gatebook.TypeWebAuthn || asked.Account.UserID != st.ada.ID || asked.Profile != nil {
			t.Errorf("the callback was asked about %+v, %+v", asked.User, asked.Account)
		}
		a = st.ceremony("email=new@example.com", "other", said{})
		if to := a.Header.Get("Location"); !strings.HasSuffix(to, tt.to) {
			t.Errorf("registering: %v leads to %q", tt.err, to)
		}
		if asked.User.Email != "new@example.com" || asked.Account.UserID != "" {
			t.Errorf("the callback was asked about %+v, %+v", asked.User, asked.Account)
		}
	}
	if found, err := st.store.Find(context.Background(), gatebook.Query{Email: "new@example.com"}); err != nil || found.ByEmail != nil {
		t.Errorf("a vetoed registration made %v, %v", found.ByEmail, err)
	}
	answer = nil
	st.signedIn(st.grace)
	st.ceremony("action=register", "hers", said{})
	if asked.User.ID != st.grace.ID {
		t.Errorf("adding a passkey asks about %+v, want who is signed in", asked.User)
	}
}

// The challenge cookie is sealed as Auth.js seals it, and one that Auth.js sealed
// is taken.
func TestChallengeCookie(t *testing.T) {
	st := newPasskeyStage(t, gatebook.StrategyJWT, nil)
	a := st.b.get("/auth/webauthn-options/passkey?email=Ada2@Example.com")
	if got := a.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type is %q", got)
	}
	var cookie *http.Cookie
	for _, c := range a.Cookies() {
		if c.Name == "authjs.challenge" {
			cookie = c
		}
	}
	if cookie == nil || cookie.MaxAge != 900 || !cookie.HttpOnly || cookie.SameSite != http.SameSiteLaxMode || cookie.Path != "/" {
		t.Fatalf("the challenge cookie is %v", cookie)
	}
	open := func(salt, token string) map[string]any {
		t.Helper()
		codec, err := jwe.New([]string{secret}, salt)
		if err != nil {
			t.Fatal(err)
		}
		payload, err := codec.Open(nil, token)
		if err != nil {
			t.Fatalf("open with the salt %s: %v", salt, err)
		}
		var m map[string]any
		if err := json.Unmarshal(payload, &m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	outer := open("authjs.challenge", cookie.Value)
	if outer["provider"] != "passkey" {
		t.Errorf("the cookie holds %v", outer)
	}
	inner := open("encodedWebauthnChallenge", outer["value"].(string))
	data, _ := inner["registerData"].(map[string]any)
	if diff := cmp.Diff(map[string]any{"email": "ada2@example.com"}, data); diff != "" {
		t.Errorf("registerData (-want +got):\n%s", diff)
	}
	if raw, err := base64.RawURLEncoding.DecodeString(inner["challenge"].(string)); err != nil || len(raw) != 32 {
		t.Errorf("the challenge is %v", inner["challenge"])
	}
	if !strings.Contains(a.body, inner["challenge"].(string)) {
		t.Errorf("the cookie's challenge %v is not that of %s", inner["challenge"], a.body)
	}

	seal := func(salt string, m map[string]any) string {
		t.Helper()
		codec, err := jwe.New([]string{secret}, salt)
		if err != nil {
			t.Fatal(err)
		}
		now := st.clock.Now().Unix()
		m["iat"], m["exp"], m["jti"] = now, now+900, "4f1c2c9e-55b1-4bb4-a4d8-7fd4f0a3c7a1"
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return string(codec.Seal(nil, b))
	}
	theirs := func(inner map[string]any) {
		st.b.cookies["authjs.challenge"] = seal("authjs.challenge", map[string]any{"value": seal("encodedWebauthnChallenge", inner), "provider": "passkey"})
	}
	post := func(action, id string, s said) string {
		s.ID = base64.RawURLEncoding.EncodeToString([]byte(id))
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return st.b.post("/auth/callback/passkey", url.Values{"action": {action}, "data": {string(b)}}).Header.Get("Location")
	}
	theirs(map[string]any{"challenge": "one", "registerData": map[string]any{"email": "new@example.com"}})
	if to := post("register", "key", said{Challenge: "one"}); strings.Contains(to, "error") {
		t.Errorf("registering with Auth.js's challenge leads to %q\n%v", to, st.lines.all())
	}
	theirs(map[string]any{"challenge": "two"})
	if to := post("authenticate", "key", said{Challenge: "two", Handle: foreignHandle}); strings.Contains(to, "error") {
		t.Errorf("signing in with Auth.js's challenge leads to %q\n%v", to, st.lines.all())
	}
}

// What was looked up must be what was made.
func TestAnotherCredential(t *testing.T) {
	st := newPasskeyStage(t, gatebook.StrategyDatabase, nil)
	st.signedIn(st.ada)
	st.quiet()
	a := st.ceremony("action=register", "key", said{Made: "b3RoZXI="})
	if to := a.Header.Get("Location"); !strings.HasSuffix(to, "error=WebAuthnVerificationError") {
		t.Errorf("leads to %q", to)
	}
	st.check("check.failed", "signIn.failed")
}

// recordingPasskeys keeps what it was to verify against.
type recordingPasskeys struct {
	fakePasskeys
	stored **gatebook.Authenticator
}

func (p recordingPasskeys) Authenticate(c *gatebook.Ceremony, stored *gatebook.Authenticator, response []byte) (*gatebook.Assertion, error) {
	*p.stored = stored
	return p.fakePasskeys.Authenticate(c, stored, response)
}

// An answer for a passkey that nobody has is verified like any other, with a key
// that could be somebody's, and refused even when it verifies.
func TestUnknownPasskey(t *testing.T) {
	var stored *gatebook.Authenticator
	st := newStage(t, gatebook.StrategyJWT, func(_ *site, c *gatebook.Config) {
		c.URL = strings.Replace(c.URL, "127.0.0.1", "localhost", 1)
		c.Providers = append(c.Providers, recordingPasskeys{fakePasskeys{"passkey"}, &stored})
	})
	st.quiet()
	a := st.ceremony("action=authenticate", "nobody's", said{Handle: foreignHandle})
	if to := a.Header.Get("Location"); !strings.HasSuffix(to, "error=WebAuthnVerificationError") {
		t.Errorf("leads to %q", to)
	}
	st.check("check.failed", "signIn.failed")
	// A COSE key for ES256: 10 bytes, x, 3 bytes, y.
	if stored == nil || len(stored.PublicKey) != 77 {
		t.Fatalf("verified against %+v", stored)
	}
	point := slices.Concat([]byte{4}, stored.PublicKey[10:42], stored.PublicKey[45:])
	if _, err := ecdh.P256().NewPublicKey(point); err != nil {
		t.Errorf("the key that stands in is none: %v", err)
	}
}

// Our user handles say whose they are, and those of Auth.js say nothing.
func TestUserHandles(t *testing.T) {
	st := newPasskeyStage(t, gatebook.StrategyDatabase, nil)
	handle := func(u *gatebook.User) string {
		st.signedIn(u)
		_, o := st.options("action=register")
		if o.Name != u.Email || o.DisplayName != u.Name {
			t.Errorf("%s is shown as %q, %q", u.Email, o.Name, o.DisplayName)
		}
		clear(st.b.cookies)
		return o.Handle
	}
	ada, grace := handle(st.ada), handle(st.grace)
	if ada != handle(st.ada) || ada == grace {
		t.Errorf("handles are %s, %s and %s", ada, grace, handle(st.ada))
	}
	st.passkey(st.ada, "key", 0)
	for _, tt := range []struct {
		name, handle, query string
		ok                  bool
	}{
		{"hers", ada, "action=authenticate", true},
		{"Auth.js's", foreignHandle, "action=authenticate", true},
		{"somebody else's", grace, "action=authenticate", false},
		{"none", "", "action=authenticate", false},
		{"none, asked for by id", "", "action=authenticate&email=ada@example.com", true},
		{"somebody else's, asked for by id", grace, "action=authenticate&email=ada@example.com", false},
		{"no hex", strings.Repeat("z", 64), "action=authenticate", false},
		{"longer", ada + "00", "action=authenticate", false},
	} {
		clear(st.b.cookies)
		a := st.ceremony(tt.query, "key", said{Handle: tt.handle})
		if ok := !strings.Contains(a.Header.Get("Location"), "error"); ok != tt.ok {
			t.Errorf("%s: to %q", tt.name, a.Header.Get("Location"))
		}
	}

	// A new user's handle is that of the user who is made.
	clear(st.b.cookies)
	_, o := st.options("email=carol@example.com")
	data := `{"id":"` + base64.RawURLEncoding.EncodeToString([]byte("carol's")) + `","challenge":"` + o.Challenge + `"}`
	st.b.post("/auth/callback/passkey", url.Values{"action": {"register"}, "data": {data}})
	_, again := st.options("action=register")
	if again.Handle != o.Handle {
		t.Errorf("the new user's handle was %s and is %s", o.Handle, again.Handle)
	}
}

// Not every provider gives an address; a passkey needs none.
func TestPasskeyWithoutAddress(t *testing.T) {
	st := newPasskeyStage(t, gatebook.StrategyDatabase, nil)
	st.idp.prove("1", "", false)
	st.b.get(st.b.back("idp", st.b.begin("idp")))
	if _, o := st.options("action=register"); o.Name != "Ada Lovelace" || o.DisplayName != "Ada Lovelace" {
		t.Errorf("they are shown as %q, %q", o.Name, o.DisplayName)
	}
	if a := st.ceremony("action=register", "key", said{}); strings.Contains(a.Header.Get("Location"), "error") {
		t.Errorf("registering leads to %q\n%v", a.Header.Get("Location"), st.lines.all())
	}
}

// reads counts what options ask the store for.
type reads struct {
	gatebook.Adapter
	asked []string
}

func (r *reads) Find(ctx context.Context, q gatebook.Query) (*gatebook.Found, error) {
	r.asked = append(r.asked, "Find")
	return r.Adapter.Find(ctx, q)
}

func (r *reads) Authenticators(ctx context.Context, userID string) ([]gatebook.Authenticator, error) {
	if len(userID) != 36 {
		r.asked = append(r.asked, "not the id of a user: "+userID)
	}
	r.asked = append(r.asked, "Authenticators")
	return r.Adapter.Authenticators(ctx, userID)
}

// Options take the same reads for every address, known or not.
func TestPasskeyReads(t *testing.T) {
	var r *reads
	st := newPasskeyStage(t, gatebook.StrategyDatabase, func(s *site, c *gatebook.Config) {
		r = &reads{Adapter: c.Adapter}
		c.Adapter = r
	})
	st.passkey(st.ada, "key", 0)
	want := []string{"Find", "Authenticators"}
	for _, email := range []string{"ada@example.com", "grace@example.com", "nobody@example.com"} {
		r.asked = nil
		if _, o := st.options("action=authenticate&email=" + email); o.Count == 0 {
			t.Errorf("%s gets no credentials", email)
		}
		if !slices.Equal(r.asked, want) {
			t.Errorf("%s: the store is asked %v, want %v", email, r.asked, want)
		}
	}
}

// What the book has of a passkey: no key, and its id only as the account's.
func TestPasskeysAreRecorded(t *testing.T) {
	st := newPasskeyStage(t, gatebook.StrategyDatabase, nil)
	st.signedIn(st.ada)
	st.ceremony("action=register", "key", said{Counter: 7})
	clear(st.b.cookies)
	st.ceremony("action=authenticate", "key", said{Handle: foreignHandle, Counter: 7})
	entries := bookOf(t, st.book)
	added, warned := of(entries, record.TypePasskeyAdded), of(entries, record.TypePasskeyCloneWarning)
	if len(added) != 1 || len(warned) != 1 {
		t.Fatalf("the book has %v", types(entries))
	}
	hash := "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683" // SHA-256 of "key"
	want := record.Passkey{User: record.Person{ID: st.ada.ID, Email: st.ada.Email, Name: st.ada.Name}, CredentialIDHash: hash,
		AAGUID: "00000000-0000-0000-0000-000000000001", Transports: []string{"usb"}, DeviceBound: true}
	if diff := cmp.Diff(want, payload[record.Passkey](t, added[0], record.ClassIdentity)); diff != "" {
		t.Errorf("passkey.added (-want +got):\n%s", diff)
	}
	want.AAGUID, want.Stored, want.Received = "", new(uint32(7)), new(uint32(7))
	if diff := cmp.Diff(want, payload[record.Passkey](t, warned[0], record.ClassIdentity)); diff != "" {
		t.Errorf("passkey.cloneWarning (-want +got):\n%s", diff)
	}
	if warned[0].Header.Subject != added[0].Header.Subject || warned[0].Header.Outcome != record.Failure {
		t.Errorf("the warning's header is %+v", warned[0].Header)
	}
	for _, e := range entries {
		for _, b := range e.Blocks {
			if strings.Contains(string(b.Bytes), "key-marker") {
				t.Errorf("%s holds the public key", e.Header.Type)
			}
		}
	}
	found, err := st.book.Read(context.Background(), book.Query{Filter: book.Filter{UserID: st.ada.ID, Types: []string{"passkey."}}})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := types(found), []string{"passkey.added", "passkey.cloneWarning"}; !slices.Equal(got, want) {
		t.Errorf("searching for the user finds %v, want %v", got, want)
	}
}

// An act that got in the way of a sign-in is seen: the counter is read anew.
func TestPasskeyConflicts(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		st := newPasskeyStage(t, strategy, nil)
		st.passkey(st.ada, "key", 5)
		id := base64.StdEncoding.EncodeToString([]byte("key"))
		between := func(writes ...gatebook.Write) {
			st.spy.onCommit(func(*gatebook.Act) error {
				st.spy.onCommit(nil)
				st.commit(writes...)
				return nil
			})
		}
		st.quiet()
		between(gatebook.CountAuthenticator{CredentialID: id, From: 5, To: 6})
		if a := st.ceremony("action=authenticate", "key", said{Handle: foreignHandle, Counter: 7}); strings.Contains(a.Header.Get("Location"), "error") {
			t.Errorf("counter 7 after 6 leads to %q", a.Header.Get("Location"))
		}
		st.check("signIn")

		clear(st.b.cookies)
		st.quiet()
		between(gatebook.CountAuthenticator{CredentialID: id, From: 7, To: 8})
		st.ceremony("action=authenticate", "key", said{Handle: foreignHandle, Counter: 8})
		st.check("passkey.cloneWarning", "signIn.failed")

		clear(st.b.cookies)
		st.quiet()
		between(gatebook.DeleteAuthenticator{UserID: st.ada.ID, CredentialID: id})
		st.ceremony("action=authenticate", "key", said{Handle: foreignHandle, Counter: 9})
		st.check("check.failed", "signIn.failed")
	})
}

func TestPasskeyConfiguration(t *testing.T) {
	store := memory.New()
	for name, tt := range map[string]struct {
		cfg  gatebook.Config
		want string
	}{
		"no adapter": {gatebook.Config{Providers: []gatebook.Provider{fakePasskeys{"passkey"}}, Book: store.Book()}, "needs Config.Adapter"},
		"two": {gatebook.Config{Providers: []gatebook.Provider{fakePasskeys{"passkey"}, fakePasskeys{"webauthn"}}, Adapter: store},
			`"passkey" and "webauthn" are both for passkeys`},
	} {
		tt.cfg.Secrets = []gatebook.Secret{secret}
		if _, err := gatebook.New(tt.cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, tt.want)
		}
	}
	// Browsers make no passkeys for an address without a name.
	w := newWire(t, func(_ *site, c *gatebook.Config) { c.Providers = append(c.Providers, fakePasskeys{"passkey"}) })
	a := newBrowser(w.site).get("/auth/webauthn-options/passkey")
	if to := a.Header.Get("Location"); to != w.server.URL+"/auth/error?error=Configuration" {
		t.Errorf("on an IP address options lead to %q", to)
	}
	if lines := strings.Join(w.lines.all(), "\n"); !strings.Contains(lines, "not an IP address") {
		t.Errorf("the log says %s", lines)
	}
}
