package gatebook_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/record"
)

// strict is a store whose database keeps no NUL bytes and nothing but UTF-8, makes
// the ids of users, and has little room for tokens.
type strict struct {
	*store
	last atomic.Int64
	room int
	more []string // that does not fit either
}

func (s *strict) NewUserID(context.Context, gatebook.User, *sql.Tx) (string, error) {
	return strconv.FormatInt(s.last.Add(1), 10), nil
}

func (s *strict) Unfit(a *gatebook.Account) []string {
	out := slices.Clone(s.more)
	for name, v := range map[string]string{"access_token": string(a.AccessToken), "refresh_token": string(a.RefreshToken),
		"id_token": string(a.IDToken), "scope": a.Scope} {
		if len(v) > s.room {
			out = append(out, name)
		}
	}
	return out
}

var errText = errors.New("strict: invalid byte sequence")

func (s *strict) Find(ctx context.Context, q gatebook.Query) (*gatebook.Found, error) {
	if plain := fmt.Sprintf("%q", fmt.Sprint(string(q.Session), q.UserID, q.Email, q.Account, q.Verification, q.Credential, q.TokenSession, q.LinksTo)); bad(plain) {
		return nil, errText
	}
	return s.store.Find(ctx, q)
}

func (s *strict) Session(ctx context.Context, token gatebook.Secret) (*gatebook.FoundSession, error) {
	if bad(fmt.Sprintf("%q", string(token))) {
		return nil, errText
	}
	return s.store.Session(ctx, token)
}

func (s *strict) Sessions(ctx context.Context, id string) ([]gatebook.StoredSession, error) {
	if bad(fmt.Sprintf("%q", id)) {
		return nil, errText
	}
	return s.store.Sessions(ctx, id)
}

func (s *strict) Accounts(ctx context.Context, id string) ([]gatebook.Account, error) {
	if bad(fmt.Sprintf("%q", id)) {
		return nil, errText
	}
	return s.store.Accounts(ctx, id)
}

func (s *strict) Authenticators(ctx context.Context, id string) ([]gatebook.Authenticator, error) {
	if bad(fmt.Sprintf("%q", id)) {
		return nil, errText
	}
	return s.store.Authenticators(ctx, id)
}

func (s *strict) Commit(ctx context.Context, act *gatebook.Act) error {
	for _, w := range act.Writes {
		text := fmt.Sprintf("%q", fmt.Sprintf("%+v", w))
		if a, ok := w.(gatebook.LinkAccount); ok {
			text += fmt.Sprintf("%q", string(a.Account.AccessToken)+string(a.Account.RefreshToken)+string(a.Account.IDToken))
			if len(s.Unfit(&a.Account)) > len(s.more) {
				return errors.New("strict: value too long")
			}
		}
		if _, check := w.(gatebook.UseCheck); !check && bad(text) {
			return errText
		}
	}
	return s.store.Commit(ctx, act)
}

// bad reports whether quoted text has a NUL byte or a byte that is no UTF-8.
func bad(quoted string) bool {
	return strings.Contains(quoted, `\x00`) || strings.Contains(quoted, `\xff`)
}

// onStrict is a desk on a strict store.
func onStrict(t testing.TB, strategy string, room int) (*desk, *strict) {
	t.Helper()
	var s *strict
	d := newDesk(t, func(d *desk, c *gatebook.Config) {
		listing(strategy)(d, c)
		s = &strict{store: d.store, room: room}
		c.Adapter = s
	})
	return d, s
}

// TestProfileText: what is only shown is cleaned, and the sign-in goes on.
func TestProfileText(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		d, _ := onStrict(t, strategy, 1000)
		d.idp.proof.User.Name, d.idp.proof.User.Image = "A\x00da \xff", "https://img.example/\x00"
		d.idp.proof.Account.Scope, d.idp.proof.Account.TokenType = "open\x00id", "b\xff"
		v := d.visitor()
		v.signIn()
		if !v.signedIn() {
			t.Fatalf("not signed in\n%s", d.log)
		}
		found, err := d.store.Store.Find(t.Context(), gatebook.Query{Email: "ada@example.com"})
		if err != nil || found.ByEmail == nil || found.ByEmail.User.Name != "A\ufffdda \ufffd" || found.ByEmail.User.Image != "https://img.example/\ufffd" {
			t.Errorf("kept is %+v, %v", found.ByEmail, err)
		}
		d.checkTypes(record.TypeCreateUser, record.TypeLinkAccount, record.TypeSignIn)
	})
}

// TestProfileIdentifiers: what identifies somebody is never changed: the sign-in is
// refused, recorded, and the visitor gets a page.
func TestProfileIdentifiers(t *testing.T) {
	long := strings.Repeat("x", 1025)
	for name, tt := range map[string]struct {
		do   func(*desk) *visitor
		why  string
		want string
	}{
		"account id with NUL":     {prove("1\x00", "ada@example.com"), "NUL", record.ReasonProfileInvalid},
		"account id is not UTF-8": {prove("1\xff", "ada@example.com"), "UTF-8", record.ReasonProfileInvalid},
		"account id is too long":  {prove(long, "ada@example.com"), "1025 bytes, at most 1024", record.ReasonProfileInvalid},
		"address with NUL":        {prove("1", "ada\x00@example.com"), "NUL", record.ReasonProfileInvalid},
		"address is not UTF-8":    {prove("1", "ada\xff@example.com"), "UTF-8", record.ReasonProfileInvalid},
		"address is too long":     {prove("1", strings.Repeat("x", 320)+"@example.com"), "332 bytes, at most 320", record.ReasonProfileInvalid},
		"user id of Authorize": {func(d *desk) *visitor {
			v := d.visitor()
			v.password("u\x00", "right")
			return v
		}, "NUL", record.ReasonIdentifierInvalid},
		"long user id of Authorize": {func(d *desk) *visitor {
			v := d.visitor()
			v.password(long, "right")
			return v
		}, "1025 bytes", record.ReasonIdentifierInvalid},
		"typed address": {func(d *desk) *visitor {
			v := d.visitor()
			v.post("/auth/signin/email", url.Values{"email": {"ada\x00@example.com"}})
			return v
		}, "", record.ReasonIdentifierInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			strategies(t, func(t *testing.T, strategy string) {
				t.Helper()
				d, _ := onStrict(t, strategy, 1000)
				v := tt.do(d)
				if v.signedIn() {
					t.Error("signed in")
				}
				all := d.entries()
				if len(all) != 1 || all[0].Header.Type != record.TypeSignInFailed || all[0].Header.Reason != tt.want {
					t.Errorf("recorded %v, want signIn.failed with the reason %s\n%s", types(all), tt.want, d.log)
				}
				if !strings.Contains(d.log.String(), tt.why) || strings.Contains(d.log.String(), "strict:") {
					t.Errorf("the log does not say %q:\n%s", tt.why, d.log)
				}
			})
		})
	}
}

func prove(id, address string) func(*desk) *visitor {
	return func(d *desk) *visitor {
		d.idp.proof.Account.ProviderAccountID, d.idp.proof.User.Email = id, address
		v := d.visitor()
		to := v.signIn().Header().Get("Location")
		if !strings.Contains(to, "error=Configuration") {
			d.t.Errorf("leads to %q", to)
		}
		return v
	}
}

// TestIDsThatAreNone: what no database can have as an id or a token is not there.
func TestIDsThatAreNone(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		d, _ := onStrict(t, strategy, 1000)
		ctx := t.Context()
		v := d.visitor()
		v.signIn()
		for _, id := range []string{"u\x00", "\xff"} {
			_, update := d.auth.UpdateUser(ctx, gatebook.User{ID: id, Name: "A"}, "name")
			_, begin := d.auth.BeginSession(ctx, id, "test")
			for name, err := range map[string]error{
				"UpdateUser": update, "BeginSession": begin, "DeleteUser": d.auth.DeleteUser(ctx, id),
				"LinkAccount":   d.auth.LinkAccount(ctx, gatebook.Account{UserID: id, Type: "oauth", Provider: "p", ProviderAccountID: "1"}),
				"UnlinkAccount": d.auth.UnlinkAccount(ctx, d.userOf(v), gatebook.AccountKey{Provider: "idp", ProviderAccountID: id}),
				"RevokeSession": d.auth.RevokeSession(ctx, id, "sid"), "RemovePasskey": d.auth.RemovePasskey(ctx, d.userOf(v), id),
			} {
				if !errors.Is(err, gatebook.ErrNotFound) {
					t.Errorf("%s of %q = %v, want an error that matches ErrNotFound", name, id, err)
				}
			}
			sessions, err1 := d.auth.Sessions(ctx, id)
			accounts, err2 := d.auth.Accounts(ctx, id)
			passkeys, err3 := d.auth.Passkeys(ctx, id)
			if len(sessions)+len(accounts)+len(passkeys) > 0 || errors.Join(err1, err2, err3) != nil {
				t.Errorf("%q has %v, %v, %v, %v, %v, %v", id, sessions, accounts, passkeys, err1, err2, err3)
			}
			if _, err := d.auth.Verify(ctx, id); !errors.Is(err, gatebook.ErrNoSession) {
				t.Errorf("Verify of %q = %v", id, err)
			}
			w := d.visitor()
			w.header.Set("Cookie", sessionCookie+"="+url.QueryEscape(id))
			if got := w.send(d.auth.Middleware(d.auth.Require(nothing)), w.request("GET", "/", nil)).Code; got != 401 {
				t.Errorf("the cookie %q: %d, want 401\n%s", id, got, d.log)
			}
			w.header.Del("Cookie")
			w.cookies[sessionCookie] = url.QueryEscape(id)
			if w.signIn(); d.userOf(w) != d.userOf(v) {
				t.Errorf("signing in with the cookie %q\n%s", id, d.log)
			}
			if got := v.post("/auth/account/unlink", url.Values{"provider": {"idp"}, "providerAccountId": {id}}).Code; got != 404 {
				t.Errorf("account/unlink of %q: %d, want 404\n%s", id, got, d.log)
			}
		}
		if strategy == gatebook.StrategyJWT {
			for _, sub := range []string{`"\u0000"`, `"a\u0000b"`, "\"\xff\""} {
				if _, err := d.auth.Verify(ctx, seal(t, sessionCookie, `{"sub":`+sub+`,"jti":"1"}`)); !errors.Is(err, gatebook.ErrNoSession) {
					t.Errorf("Verify of a token of %s = %v", sub, err)
				}
			}
		}
	})
}

// What the application writes is cleaned or refused like what a provider says.
func TestOwnWritesOfText(t *testing.T) {
	d, _ := onStrict(t, gatebook.StrategyDatabase, 1000)
	ctx := t.Context()
	u, err := d.auth.CreateUser(ctx, gatebook.User{Name: "A\x00", Email: "ada@example.com"})
	if err != nil || u.Name != "A\ufffd" {
		t.Fatalf("CreateUser = %+v, %v", u, err)
	}
	if u, err := d.auth.UpdateUser(ctx, gatebook.User{ID: u.ID, Image: "\xff"}, "image"); err != nil || u.Image != "\ufffd" {
		t.Errorf("UpdateUser = %+v, %v", u, err)
	}
	_, badID := d.auth.CreateUser(ctx, gatebook.User{ID: "\x00"})
	_, badAddress := d.auth.CreateUser(ctx, gatebook.User{Email: "\xff@example.com"})
	_, update := d.auth.UpdateUser(ctx, gatebook.User{ID: u.ID, Email: "a\x00@example.com"}, "email")
	for name, err := range map[string]error{"an id": badID, "an address": badAddress, "a new address": update,
		"an account": d.auth.LinkAccount(ctx, gatebook.Account{UserID: u.ID, Type: "oauth", Provider: "p", ProviderAccountID: "\x00"})} {
		if err == nil || strings.Contains(err.Error(), "strict:") {
			t.Errorf("%s: %v, want a refusal", name, err)
		}
	}
	d.checkTypes(record.TypeCreateUser, record.TypeUpdateUser)
}

// TestTokensThatDoNotFit: they are not stored, and the act tells which; handlers get
// them all the same.
func TestTokensThatDoNotFit(t *testing.T) {
	long := gatebook.Secret(strings.Repeat("t", 64<<10))
	for _, tt := range []struct {
		name string
		do   func(*desk)
		then []string
	}{
		{"first sign-in", func(d *desk) { d.visitor().signIn() },
			[]string{record.TypeCreateUser, record.TypeLinkAccount, record.TypeAccountTokensOmitted, record.TypeSignIn}},
		{"linking", func(d *desk) {
			v := d.visitor()
			v.link("ada@example.com")
			v.signIn()
		}, []string{record.TypeCreateUser, record.TypeSignIn, record.TypeLinkAccount, record.TypeAccountTokensOmitted, record.TypeSignIn}},
		{"LinkAccount", func(d *desk) {
			u, err := d.auth.CreateUser(context.Background(), gatebook.User{Email: "ada@example.com"})
			d.must(err)
			acc := d.idp.proof.Account
			acc.UserID = u.ID
			d.must(d.auth.LinkAccount(context.Background(), acc))
		}, []string{record.TypeCreateUser, record.TypeLinkAccount, record.TypeAccountTokensOmitted}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			strategies(t, func(t *testing.T, strategy string) {
				t.Helper()
				d, _ := onStrict(t, strategy, 100)
				acc := &d.idp.proof.Account
				acc.AccessToken, acc.IDToken, acc.RefreshToken, acc.Scope = long, "short", "with\x00NUL", strings.Repeat("s", 101)
				var kept *gatebook.Account
				d.store.fault(func(op string, act *gatebook.Act) error {
					if op != "Commit" {
						return nil
					}
					for _, w := range act.Writes {
						if link, ok := w.(gatebook.LinkAccount); ok {
							kept = &link.Account
						}
					}
					return nil
				}, nil)
				tt.do(d)
				d.checkTypes(tt.then...)
				if kept == nil || kept.AccessToken != "" || kept.RefreshToken != "" || kept.Scope != "" || kept.IDToken != "short" || kept.ProviderAccountID != "1" {
					t.Fatalf("kept is %+v", kept)
				}
				entries := d.entries()
				e := of(entries, record.TypeAccountTokensOmitted)[0]
				linked := of(entries, record.TypeLinkAccount)[0]
				if e.Header.Act != linked.Header.Act || e.Header.Position != linked.Header.Position+1 || e.Header.Subject != linked.Header.Subject {
					t.Errorf("header %+v beside %+v", e.Header, linked.Header)
				}
				p := payload[record.TokensOmitted](t, e, record.ClassIdentity)
				if diff := cmp.Diff([]string{"access_token", "refresh_token", "scope"}, p.Fields); diff != "" || p.User.Email != "ada@example.com" ||
					p.Account != (record.LinkedAccount{Provider: "idp", Type: "oidc", ID: "1"}) {
					t.Errorf("recorded %+v (-want +got):\n%s", p, diff)
				}
				for _, ev := range d.heard.all() {
					switch ev := ev.(type) {
					case *gatebook.TokensOmittedEvent:
						if ev.Account.AccessToken != long || ev.User.Email != "ada@example.com" {
							t.Errorf("the handler got %+v", ev)
						}
					case *gatebook.LinkAccountEvent:
						if ev.Account.AccessToken != long {
							t.Error("linkAccount's account lost its token")
						}
					}
				}
				d.leaks("ttttttttt")
			})
		})
	}
}

// A column that an account cannot do without refuses the sign-in.
func TestAccountThatDoesNotFit(t *testing.T) {
	d, s := onStrict(t, gatebook.StrategyJWT, 1000)
	s.more = []string{"providerAccountId"}
	v := d.visitor()
	v.signIn()
	if v.signedIn() || !strings.Contains(d.log.String(), "providerAccountId is longer than its column") {
		t.Errorf("signed in: %v\n%s", v.signedIn(), d.log)
	}
	d.checkTypes(record.TypeSignInFailed)
	if err := d.auth.LinkAccount(t.Context(), gatebook.Account{UserID: "1", Type: "oauth", Provider: "p", ProviderAccountID: "1"}); err == nil {
		t.Error("LinkAccount took it")
	}
}

// The same when only the commit shows it.
func TestCommitThatDoesNotFit(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		d, _ := onStrict(t, strategy, 1000)
		d.store.fault(func(op string, act *gatebook.Act) error {
			if op == "Commit" && len(act.Writes) > 1 {
				return fmt.Errorf("%w: column \"image\" holds 255 characters", gatebook.ErrUnfit)
			}
			return nil
		}, nil)
		v := d.visitor()
		to := v.signIn().Header().Get("Location")
		if v.signedIn() || !strings.Contains(to, "error=Configuration") || !strings.Contains(d.log.String(), "holds 255 characters") {
			t.Errorf("leads to %q\n%s", to, d.log)
		}
		d.checkTypes(record.TypeSignInFailed)
		if got := d.entries()[0].Header.Reason; got != record.ReasonProfileInvalid {
			t.Errorf("the reason is %s", got)
		}
	})
}

// TestMadeIDs: where the database makes the ids of users each user has one of those,
// and none is used up for whoever is known already.
func TestMadeIDs(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		d, s := onStrict(t, strategy, 1000)
		ctx := t.Context()
		var asked []string
		d.cfg.Callbacks.SignIn = func(_ context.Context, a *gatebook.SignInAttempt) error {
			asked = append(asked, a.User.ID)
			return nil
		}
		d.auth = d.open(d.cfg)
		v := d.visitor()
		v.signIn()
		if got := d.userOf(v); got != "1" || !slices.Equal(asked, []string{"1"}) {
			t.Errorf("the first user is %s, and the signIn callback was asked of %v", got, asked)
		}
		v.signIn()
		d.visitor().link("ada@example.com")
		if n := s.last.Load(); n != 1 {
			t.Errorf("%d ids were used up for one user", n)
		}
		two := d.visitor()
		two.link("grace@example.com")
		u, err := d.auth.CreateUser(ctx, gatebook.User{Email: "c@example.com"})
		if err != nil || d.userOf(two) != "2" || u.ID != "3" {
			t.Errorf("the second and third are %s and %+v, %v", d.userOf(two), u, err)
		}
		own, err := d.auth.CreateUser(ctx, gatebook.User{ID: "77", Email: "d@example.com"})
		if err != nil || own.ID != "77" {
			t.Errorf("CreateUser with an id = %+v, %v", own, err)
		}
		session := v.get("/auth/account").Body.String()
		if !strings.Contains(session, `"id":"1"`) {
			t.Errorf("an id is no string in %s", session)
		}
	})
}

// A conflict at the first sign-in is decided anew with the same id, and an id that
// cannot be made is a sign-in that failed.
func TestMadeIDsUnderFire(t *testing.T) {
	d, s := onStrict(t, gatebook.StrategyDatabase, 1000)
	n := 0
	d.store.fault(func(op string, act *gatebook.Act) error {
		if n++; op == "Commit" && len(act.Writes) > 1 && n < 8 {
			return gatebook.ErrConflict
		}
		return nil
	}, nil)
	v := d.visitor()
	v.signIn()
	if got := d.userOf(v); got != "1" || s.last.Load() != 1 {
		t.Errorf("the user is %s after a conflict, and %d ids were made", got, s.last.Load())
	}
	d = newDesk(t, func(d *desk, c *gatebook.Config) { c.Adapter = noIDs{d.store} })
	v = d.visitor()
	v.signIn()
	if v.signedIn() {
		t.Error("signed in without an id")
	}
	d.checkTypes(record.TypeSignInFailed)
	if _, err := d.auth.CreateUser(t.Context(), gatebook.User{}); err == nil || !strings.Contains(err.Error(), "sequence is gone") {
		t.Errorf("CreateUser = %v", err)
	}
}

type noIDs struct{ *store }

func (noIDs) NewUserID(context.Context, gatebook.User, *sql.Tx) (string, error) {
	return "", errors.New("the sequence is gone")
}

// TestMadeIDsAndPasskeys: whoever asks for options uses no id up, and the passkey
// that makes a user opens their session ever after.
func TestMadeIDsAndPasskeys(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		var s *strict
		st := newPasskeyStage(t, strategy, func(site *site, c *gatebook.Config) {
			s = &strict{store: &store{Store: site.store}, room: 1000}
			c.Adapter = s
		})
		made := s.last.Load()
		_, o := st.options("email=newcomer@example.com&action=register")
		_, again := st.options("email=newcomer@example.com&action=register")
		if o.Handle == again.Handle || len(o.Handle) != 64 {
			t.Errorf("the handles %q and %q", o.Handle, again.Handle)
		}
		before := s.last.Load()
		if before > made+1 { // one shows what ids look like
			t.Errorf("%d ids were used up by asking for options", before-made)
		}
		a := st.ceremony("email=newcomer@example.com&action=register", "key", said{})
		if strings.Contains(a.Header.Get("Location"), "error") {
			t.Fatalf("leads to %q", a.Header.Get("Location"))
		}
		list, err := s.Authenticators(t.Context(), strconv.FormatInt(before+1, 10))
		if err != nil || len(list) != 1 {
			t.Fatalf("the user has the passkeys %v, %v", list, err)
		}
		st.b = newBrowser(st.site)
		a = st.ceremony("action=authenticate", "key", said{Handle: o.Handle, Counter: 1})
		if strings.Contains(a.Header.Get("Location"), "error") {
			t.Errorf("signing in with it leads to %q", a.Header.Get("Location"))
		}
	})
}
