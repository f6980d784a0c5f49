package passkey_test

import (
	"context"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/passkey"
	"github.com/gatebook/gatebook/passkey/passkeytest"
	"github.com/gatebook/gatebook/record"
)

var signUp = passkey.Config{SignUp: true}

// strategies are the two kinds of sessions.
var strategies = map[string]func(*gatebook.Config){
	gatebook.StrategyJWT:      func(c *gatebook.Config) { c.Session.Strategy = gatebook.StrategyJWT },
	gatebook.StrategyDatabase: func(c *gatebook.Config) { c.Session.Strategy = gatebook.StrategyDatabase },
}

// Rows W5, W3 and W1.
func TestSignUpAndSignIn(t *testing.T) {
	for name, strategy := range strategies {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, signUp, strategy)
			d, b := passkeytest.New(t, origin), s.browser()
			if to := b.register(d, "email=Ada%40Example.com"); to != "" {
				t.Fatalf("registering leads to %q\n%s", to, s.log)
			}
			events := s.events()
			var types []string
			for _, e := range events {
				types = append(types, e.Meta().Type)
			}
			if want := []string{"createUser", "linkAccount", "passkey.added", "signIn"}; !slices.Equal(types, want) {
				t.Fatalf("events are %v, want %v", types, want)
			}
			in := events[3].(*gatebook.SignInEvent)
			if in.IsNewUser == nil || !*in.IsNewUser || in.User.Email != "ada@example.com" || in.Account.UserID != in.User.ID || in.Profile != nil ||
				in.Auth.Method != "webauthn" || !slices.Equal(in.Auth.AMR, []string{"pop", "user", "mfa"}) {
				t.Errorf("signIn is %+v", in)
			}
			link := events[1].(*gatebook.LinkAccountEvent)
			if link.Account.UserID != "" || link.Profile.Email != "ada@example.com" || link.Account.ProviderAccountID != stdB64.EncodeToString(d.ID) {
				t.Errorf("linkAccount is %+v", link)
			}
			if got := b.session(); got != "ada@example.com" {
				t.Errorf("the session is %q's", got)
			}
			list := s.passkeys("ada@example.com")
			want := []gatebook.Authenticator{{CredentialID: stdB64.EncodeToString(d.ID), UserID: s.user("ada@example.com").ID,
				ProviderAccountID: stdB64.EncodeToString(d.ID), PublicKey: d.COSE, DeviceType: "multiDevice", BackedUp: true,
				Transports: []string{"internal", "hybrid"}}}
			if diff := cmp.Diff(want, list); diff != "" {
				t.Errorf("stored passkeys (-want +got):\n%s", diff)
			}

			other := s.browser()
			if to := other.signIn(d); to != "" || other.session() != "ada@example.com" {
				t.Fatalf("signing in leads to %q\n%s", to, s.log)
			}
			events = s.events()
			in, ok := events[0].(*gatebook.SignInEvent)
			if !ok || *in.IsNewUser || in.Account.UserID != in.User.ID {
				t.Errorf("events are %v, want one signIn of a known user", events)
			}
			sid := in.Session
			s.told()
			if to := other.signIn(d); to != "" { // the same person again
				t.Fatalf("signing in again leads to %q", to)
			}
			if again := s.events()[0].(*gatebook.SignInEvent); again.Session != sid {
				t.Errorf("signing in again changes the session from %s to %s", sid, again.Session)
			}
		})
	}
}

// Rows W4, W2 and W6.
func TestAddPasskey(t *testing.T) {
	for name, strategy := range strategies {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, signUp, strategy)
			ada, grace, second := passkeytest.New(t, origin), passkeytest.New(t, origin), passkeytest.New(t, origin)
			a, g := s.browser(), s.browser()
			a.register(ada, "email=ada@example.com")
			g.register(grace, "email=grace@example.com")
			s.told()

			o := a.options("action=register")
			if len(o.Options.ExcludeCredentials) != 1 || o.Options.ExcludeCredentials[0].ID != b64.EncodeToString(ada.ID) {
				t.Errorf("excludeCredentials are %+v, want the first passkey", o.Options.ExcludeCredentials)
			}
			if o.Options.User.ID != ada.Handle {
				t.Errorf("the user handle is %s for one passkey and %s for the next", ada.Handle, o.Options.User.ID)
			}
			if to := a.answer("register", second.Create(t, o)); to != "" {
				t.Fatalf("adding leads to %q\n%s", to, s.log)
			}
			s.want("linkAccount", "passkey.added", "signIn")
			if n := len(s.passkeys("ada@example.com")); n != 2 {
				t.Errorf("Ada has %d passkeys, want 2", n)
			}

			if to := a.signIn(grace); to != "/auth/signin?error=AccountNotLinked" { // W2
				t.Errorf("signing in as somebody else leads to %q", to)
			}
			s.want("signIn.failed")
			if got := a.session(); got != "ada@example.com" {
				t.Errorf("the session is %q's", got)
			}
			s.told()

			// W6: the address was taken while the person registered.
			newcomer := s.browser()
			o = newcomer.options("email=carol@example.com")
			if _, err := s.auth.CreateUser(context.Background(), gatebook.User{Email: "carol@example.com"}); err != nil {
				t.Fatal(err)
			}
			s.told()
			if to := newcomer.answer("register", passkeytest.New(t, origin).Create(t, o)); to != "/auth/signin?error=AccountNotLinked" {
				t.Errorf("registering a taken address leads to %q", to)
			}
			failed := s.events()[0].(*gatebook.SignInFailedEvent)
			if failed.Reason != record.ReasonAccountNotLinked || failed.User == nil || failed.User.Email != "carol@example.com" {
				t.Errorf("signIn.failed is %+v", failed)
			}
		})
	}
}

func TestOptionsTable(t *testing.T) {
	const invalid = `{"error":"Invalid request"}`
	open := newSite(t, signUp, nil)
	closed := newSite(t, passkey.Config{}, nil)
	for _, s := range []*site{open, closed} {
		for _, u := range []string{"known@example.com", "none@example.com"} {
			if _, err := s.auth.CreateUser(context.Background(), gatebook.User{Email: u}); err != nil {
				t.Fatal(err)
			}
		}
	}
	in := open.browser()
	in.register(passkeytest.New(t, origin), "email=ada@example.com")
	stray := open.browser()
	stray.cookies["__Secure-authjs.session-token"] = "nonsense"
	tests := []struct {
		name, query string
		b           *browser
		want        string // action or body
	}{
		{"authenticate, signed in", "action=authenticate", in, "authenticate"},
		{"authenticate, nobody", "action=authenticate", open.browser(), "authenticate"},
		{"authenticate, known", "action=authenticate&email=known@example.com", open.browser(), "authenticate"},
		{"register, signed in", "action=register", in, "register"},
		{"register, new", "action=register&email=new@example.com", open.browser(), "register"},
		{"register, known", "action=register&email=known@example.com", open.browser(), invalid},
		{"register, nobody", "action=register", open.browser(), invalid},
		{"register, a session that opens nothing", "action=register", stray, invalid},
		{"absent, signed in", "", in, invalid},
		{"absent, nobody", "", open.browser(), "authenticate"},
		{"absent, known", "email=known@example.com", open.browser(), "authenticate"},
		{"absent, new", "email=new@example.com", open.browser(), "register"},
		{"absent, no address", "email=new", open.browser(), "authenticate"},
		{"no sign-up: register, new", "action=register&email=new@example.com", closed.browser(), invalid},
		{"no sign-up: register, known", "action=register&email=known@example.com", closed.browser(), invalid},
		{"no sign-up: absent, new", "email=new@example.com", closed.browser(), "authenticate"},
		{"unknown action", "action=delete", open.browser(), `{"error":"Invalid action"}`},
		{"empty action", "action=", open.browser(), `{"error":"Invalid action"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := tt.b.get("/auth/webauthn-options/passkey?" + tt.query)
			got := w.Body.String()
			if w.Code == http.StatusOK {
				got = passkeytest.ParseOptions(t, []byte(got)).Action
				if tt.b.cookies["__Secure-authjs.challenge"] == "" {
					t.Error("there is no challenge cookie")
				}
			} else if w.Code != http.StatusBadRequest {
				t.Errorf("status %d, want 200 or 400", w.Code)
			}
			if got != tt.want || w.Header().Get("Content-Type") != "application/json" {
				t.Errorf("answer is %s (%s), want %s", got, w.Header().Get("Content-Type"), tt.want)
			}
		})
	}
	for _, path := range []string{"/auth/webauthn-options/github", "/auth/webauthn-options"} {
		if w := in.get(path); w.Header().Get("Location") != origin+"/auth/error?error=Configuration" {
			t.Errorf("%s leads to %q", path, w.Header().Get("Location"))
		}
	}
	if w := in.post("/auth/webauthn-options/passkey", url.Values{}); w.Header().Get("Location") != origin+"/auth/error?error=Configuration" {
		t.Errorf("POST leads to %q", w.Header().Get("Location"))
	}
	if w := in.get("/auth/callback/passkey"); w.Header().Get("Location") != origin+"/auth/error?error=Configuration" {
		t.Errorf("GET of the callback leads to %q", w.Header().Get("Location"))
	}
}

// A session that has run out registers nothing.
func TestOptionsAfterTheSession(t *testing.T) {
	for name, strategy := range strategies {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, signUp, strategy)
			b := s.browser()
			b.register(passkeytest.New(t, origin), "email=ada@example.com")
			if w := b.get("/auth/webauthn-options/passkey?action=register"); w.Code != http.StatusOK {
				t.Fatalf("signed in, options are %d %s", w.Code, w.Body)
			}
			s.now = s.now.Add(31 * 24 * time.Hour)
			if w := b.get("/auth/webauthn-options/passkey?action=register"); w.Code != http.StatusBadRequest {
				t.Errorf("after the session, options are %d %s", w.Code, w.Body)
			}
		})
	}
}

// The members and their order are Auth.js's.
func TestOptionsJSON(t *testing.T) {
	s := newSite(t, signUp, nil)
	b, d := s.browser(), passkeytest.New(t, origin)
	blank := func(body string, values ...string) string {
		for _, v := range values {
			if !strings.Contains(body, v) {
				t.Errorf("%s has no %s", body, v)
			}
			body = strings.ReplaceAll(body, v, "…")
		}
		return body
	}
	w := b.get("/auth/webauthn-options/passkey?email=ada@example.com")
	o := passkeytest.ParseOptions(t, w.Body.Bytes()).Options
	if got := w.Header().Get("Cache-Control"); !strings.Contains(got, "no-store") {
		t.Errorf("Cache-Control is %q", got)
	}
	want := `{"action":"register","options":{"challenge":"…","rp":{"name":"app.example.com","id":"app.example.com"},` +
		`"user":{"id":"…","name":"ada@example.com","displayName":"ada@example.com"},` +
		`"pubKeyCredParams":[{"alg":-8,"type":"public-key"},{"alg":-7,"type":"public-key"},{"alg":-257,"type":"public-key"}],` +
		`"timeout":300000,"attestation":"none","excludeCredentials":[],` +
		`"authenticatorSelection":{"residentKey":"required","userVerification":"required","requireResidentKey":true},` +
		`"extensions":{"credProps":true}}}`
	if got := blank(w.Body.String(), o.Challenge, o.User.ID); got != want {
		t.Errorf("options are\n%s\nwant\n%s", got, want)
	}
	if raw, err := b64.DecodeString(o.Challenge); err != nil || len(raw) != 32 {
		t.Errorf("the challenge %q is no 32 bytes", o.Challenge)
	}
	if raw, err := hex.DecodeString(o.User.ID); err != nil || len(raw) != 32 {
		t.Errorf("the user handle %q is no 64 hex digits", o.User.ID)
	}
	b.register(d, "email=ada@example.com")

	w = s.browser().get("/auth/webauthn-options/passkey?action=authenticate&email=ada@example.com")
	o = passkeytest.ParseOptions(t, w.Body.Bytes()).Options
	want = `{"action":"authenticate","options":{"challenge":"…","allowCredentials":[{"id":"` + b64.EncodeToString(d.ID) +
		`","type":"public-key","transports":["hybrid","internal"]}],"timeout":300000,"userVerification":"required","rpId":"app.example.com"}}`
	if got := blank(w.Body.String(), o.Challenge); got != want {
		t.Errorf("options are\n%s\nwant\n%s", got, want)
	}

	w = s.browser().get("/auth/webauthn-options/passkey")
	o = passkeytest.ParseOptions(t, w.Body.Bytes()).Options
	want = `{"action":"authenticate","options":{"challenge":"…","timeout":300000,"userVerification":"required","rpId":"app.example.com"}}`
	if got := blank(w.Body.String(), o.Challenge); got != want {
		t.Errorf("options are\n%s\nwant\n%s", got, want)
	}
}

// Nothing tells an address with passkeys from one without, or from one that
// nobody has.
func TestDecoys(t *testing.T) {
	s := newSite(t, passkey.Config{}, nil)
	if _, err := s.auth.CreateUser(context.Background(), gatebook.User{Email: "none@example.com"}); err != nil {
		t.Fatal(err)
	}
	ask := func(s *site, email string) string {
		w := s.browser().get("/auth/webauthn-options/passkey?email=" + email)
		o := passkeytest.ParseOptions(t, w.Body.Bytes())
		if len(o.Options.AllowCredentials) == 0 || o.Action != "authenticate" {
			t.Fatalf("%s gets %s", email, w.Body)
		}
		return strings.ReplaceAll(w.Body.String(), o.Options.Challenge, "…")
	}
	seen := map[string]bool{}
	for _, email := range []string{"none@example.com", "nobody@example.com", "nobody2@example.com"} {
		first := ask(s, email)
		if again := ask(s, strings.ToUpper(email)); again != first {
			t.Errorf("%s gets other credentials each time:\n%s\n%s", email, first, again)
		}
		if seen[first] {
			t.Errorf("%s gets somebody else's credentials", email)
		}
		seen[first] = true
	}
	if other := newSite(t, passkey.Config{}, nil); ask(other, "nobody@example.com") == ask(s, "nobody@example.com") {
		t.Error("two sites have the same decoys, so that they can be told")
	}
	rotated := newSite(t, passkey.Config{}, func(c *gatebook.Config) {
		c.Adapter = s.store
		c.Secrets = []gatebook.Secret{"another secret that took the place of the first"}
	})
	if ask(rotated, "nobody@example.com") != ask(s, "nobody@example.com") {
		t.Error("decoys change with the secret, and passkeys do not")
	}

	// Answering for a decoy, or for any unknown credential, looks like answering
	// wrongly for a real one.
	known := passkeytest.New(t, origin)
	s.add(t, known, "none@example.com")
	s.told()
	wrong := func(a *passkeytest.Answer) { a.Flags &^= passkeytest.UserVerified }
	fake := passkeytest.New(t, origin)
	fake.Handle = known.Handle
	answers := map[string]string{
		"known, wrong": s.browser().signIn(known, wrong),
		"unknown":      s.browser().signIn(fake),
		"unknown, key": s.browser().signIn(fake, wrong),
	}
	for name, to := range answers {
		if to != "/auth/error?error=WebAuthnVerificationError" {
			t.Errorf("%s leads to %q", name, to)
		}
	}
}

// add gives a user a passkey, as somebody signed in would.
func (s *site) add(t *testing.T, d *passkeytest.Authenticator, email string) {
	t.Helper()
	temp := newSite(t, passkey.Config{SignUp: true}, nil)
	temp.browser().register(d, "email="+email)
	k := temp.passkeys(email)[0]
	u := s.user(email)
	k.UserID = u.ID
	acc := gatebook.Account{UserID: u.ID, Type: gatebook.TypeWebAuthn, Provider: "passkey", ProviderAccountID: k.ProviderAccountID}
	if err := s.store.Commit(context.Background(), &gatebook.Act{Writes: []gatebook.Write{
		gatebook.LinkAccount{Account: acc}, gatebook.CreateAuthenticator{Authenticator: k}}}); err != nil {
		t.Fatal(err)
	}
	d.Handle = strings.Repeat("0123456789abcdef", 4) // as Auth.js makes one, which nobody knows
}
