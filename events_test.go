package gatebook_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/record"
)

// text says all of an event's message in one line, so that what a handler gets
// can be compared exactly. Ids that are made anew each time are named.
type namer map[string]string

func (n namer) name(s string) string {
	if name, ok := n[s]; ok {
		return name
	}
	return s
}

func (n namer) user(u *gatebook.User) string {
	if u == nil {
		return "nil"
	}
	s := fmt.Sprintf("{%s %s <%s> %s", n.name(u.ID), u.Name, u.Email, u.Image)
	if !u.EmailVerified.IsZero() {
		s += " verified"
	}
	if len(u.Extra) > 0 {
		s += fmt.Sprint(" ", u.Extra)
	}
	return s + "}"
}

func (n namer) account(a *gatebook.Account) string {
	if a == nil {
		return "nil"
	}
	reply, _ := json.Marshal(a.Reply)
	return fmt.Sprintf("{%s %s %s of %q, %q %q %q %d %q %q %q %s}", a.Type, a.Provider, n.name(a.ProviderAccountID), n.name(a.UserID),
		string(a.AccessToken), string(a.RefreshToken), string(a.IDToken), a.ExpiresAt, a.TokenType, a.Scope, a.SessionState, reply)
}

func (n namer) claims(c *gatebook.Claims) string {
	if c == nil {
		return "nil"
	}
	b, _ := json.Marshal(c)
	s := string(b)
	for id, name := range n {
		s = strings.ReplaceAll(s, id, name)
	}
	return s
}

func (n namer) row(s *gatebook.StoredSession) string {
	if s == nil {
		return "nil"
	}
	return fmt.Sprintf("{%s of %s until %s, %s %s}", n.name(string(s.Token)), n.name(s.UserID), s.Expires.Format(time.DateOnly), n.name(s.ID), s.Provider)
}

func (n namer) text(ev gatebook.Event) string {
	switch e := ev.(type) {
	case *gatebook.SignInEvent:
		isNew := "nil"
		if e.IsNewUser != nil {
			isNew = fmt.Sprint(*e.IsNewUser)
		}
		return fmt.Sprintf("signIn user=%s account=%s profile=%s isNewUser=%s", n.user(e.User), n.account(e.Account), n.claims(e.Profile), isNew)
	case *gatebook.CreateUserEvent:
		if e.SignInInfo == nil {
			return fmt.Sprintf("createUser user=%s signInInfo=nil", n.user(e.User))
		}
		return fmt.Sprintf("createUser user=%s provider=%s account=%s profile=%s", n.user(e.User), e.SignInInfo.Provider, n.account(e.SignInInfo.Account), n.claims(e.SignInInfo.Profile))
	case *gatebook.UpdateUserEvent:
		return fmt.Sprintf("updateUser user=%s changed=%v", n.user(e.User), e.Changed)
	case *gatebook.LinkAccountEvent:
		return fmt.Sprintf("linkAccount user=%s account=%s profile=%s", n.user(e.User), n.account(e.Account), n.user(e.Profile))
	case *gatebook.SignOutEvent:
		return fmt.Sprintf("signOut token=%s session=%s", n.claims(e.Token), n.row(e.Session))
	case *gatebook.SessionEvent:
		return fmt.Sprintf("session token=%s session=%s result=%s", n.claims(e.Token), n.row(e.Session), n.claims(e.Result))
	}
	return ev.Meta().Type
}

// noon is when the desk's clock stands still for messages that hold times.
var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func still(strategy string) func(*desk, *gatebook.Config) {
	return func(_ *desk, c *gatebook.Config) {
		c.Session.Strategy = strategy
		c.Now = func() time.Time { return noon }
	}
}

// What each of the six is told, by way of signing in and strategy.
func TestMessages(t *testing.T) {
	const (
		profile     = `{"sub":"1","email":"Ada@Example.com","name":"Ada Lovelace","private":"kept"}`
		reply       = `{"access_token":"at-marker","token_type":"bearer","more":"reply-marker"}`
		tokens      = `"at-marker" "" "" 0 "bearer" "openid" "" ` + reply
		noTokens    = `"" "" "" 0 "" "" "" {}`
		ada         = `{USER Ada Lovelace <ada@example.com> https://img.example/a.png}`
		mapped      = `{ Ada Lovelace <ada@example.com> https://img.example/a.png}`
		account     = `{oidc idp 1 of "", ` + tokens + `}`
		mailAccount = `{email email ada@example.com of "USER", ` + noTokens + `}`
	)
	prove := func(d *desk) {
		d.idp.prove("1", "ada@example.com", true)
		d.idp.proof.Profile = claimsOf(d.t, profile)
	}
	oauth := func(v *visitor) { prove(v.d); v.signIn() }
	link := func(v *visitor) { v.link("ada@example.com") }
	user := func(d *desk) {
		if _, err := d.auth.CreateUser(context.Background(), gatebook.User{ID: "u-1", Name: "Ada Lovelace", Email: "ada@example.com"}); err != nil {
			d.t.Fatal(err)
		}
	}
	tests := []struct {
		name  string
		setUp func(*desk)
		act   func(*visitor)
		want  []string
	}{
		{"OAuth, new", nil, oauth, []string{
			"createUser user=" + ada + " provider=idp account=" + account + " profile=" + profile,
			"linkAccount user=" + ada + " account=" + account + " profile=" + mapped,
			"signIn user=" + ada + " account=" + account + " profile=" + profile + " isNewUser=true"}},
		{"OAuth, known", func(d *desk) { oauth(d.visitor()) }, oauth, []string{
			"signIn user=" + ada + " account=" + account + " profile=" + profile + " isNewUser=false"}},
		{"magic link, new", nil, link, []string{
			"createUser user={USER  <ada@example.com>  verified} provider=email account={email email ada@example.com of \"\", " + noTokens + "} profile=nil",
			"signIn user={USER  <ada@example.com>  verified} account=" + mailAccount + " profile=nil isNewUser=true"}},
		{"magic link, known", func(d *desk) { link(d.visitor()) }, link, []string{
			"updateUser user={USER  <ada@example.com>  verified} changed=[emailVerified]",
			"signIn user={USER  <ada@example.com>  verified} account=" + mailAccount + " profile=nil isNewUser=false"}},
		{"credentials", user, func(v *visitor) { v.password("u-1", "right") }, []string{
			"signIn user={USER Ada Lovelace <ada@example.com> } account={credentials credentials USER of \"\", " + noTokens + "} profile=nil isNewUser=nil"}},
	}
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				d := newDesk(t, still(strategy))
				if tt.setUp != nil {
					tt.setUp(d)
				}
				d.heard.reset()
				v := d.visitor()
				tt.act(v)
				events := d.heard.all()
				var got []string
				for _, ev := range events {
					got = append(got, namer{ev.Meta().Subject: "USER"}.text(ev))
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("messages (-want +got):\n%s\n%s", diff, d.log)
				}
				d.checkEnvelopes(events)
				d.heard.reset()

				// The session, and its end.
				sid := events[len(events)-1].Meta().Session
				token := v.cookies[sessionCookie]
				v.get("/auth/session")
				v.post("/auth/signout", nil)
				n := namer{events[0].Meta().Subject: "USER", sid: "SID", token: "TOKEN"}
				u := events[len(events)-1].(*gatebook.SignInEvent).User
				name, image := "null", "null"
				if u.Name != "" {
					name = `"Ada Lovelace"`
				}
				if u.Image != "" {
					image = `"https://img.example/a.png"`
				}
				shown := `{"user":{"name":` + name + `,"email":"ada@example.com","image":` + image + `},"expires":"2026-12-24T12:00:00.000Z"}`
				row := "{TOKEN of USER until 2026-12-24, SID " + u1Provider(events) + "}"
				want := []string{"session token=nil session=" + row + " result=" + shown, "signOut token=nil session=" + row}
				if strategy == gatebook.StrategyJWT {
					picture := `"picture":` + image + `,`
					if events[len(events)-1].Meta().Auth.Method == gatebook.TypeCredentials { // no row, so no nulls
						picture = ""
						shown = strings.Replace(shown, `,"image":null`, "", 1)
					}
					claims := `{"name":` + name + `,"email":"ada@example.com",` + picture +
						`"sub":"USER","sid":"SID","iat":1795521600,"exp":1798113600,"jti":"JTI"}`
					want = []string{"session token=" + claims + " session=nil result=" + shown, "signOut token=" + claims + " session=nil"}
				}
				got = nil
				for _, ev := range d.heard.all() {
					switch e := ev.(type) {
					case *gatebook.SessionEvent:
						if e.Token != nil {
							n[e.Token.String("jti")] = "JTI"
						}
					case *gatebook.SignOutEvent:
						if e.Token != nil {
							n[e.Token.String("jti")] = "JTI"
						}
					}
					got = append(got, n.text(ev))
					if m := ev.Meta(); m.Session != sid || m.Subject != u.ID || m.Actor != (gatebook.Actor{Type: record.ActorUser, ID: u.ID}) {
						t.Errorf("%s: session %q, subject %q, actor %v", m.Type, m.Session, m.Subject, m.Actor)
					}
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("messages (-want +got):\n%s\n%s", diff, d.log)
				}
			})
		}
	})
}

func u1Provider(events []gatebook.Event) string {
	return events[len(events)-1].(*gatebook.SignInEvent).Account.Provider
}

// checkEnvelopes checks the envelopes of one act of a visitor who signed in, and
// that the book has the same.
func (d *desk) checkEnvelopes(events []gatebook.Event) {
	d.t.Helper()
	if len(events) == 0 {
		d.t.Fatalf("nothing was told\n%s", d.log)
	}
	recorded := map[string]book.Entry{}
	for _, e := range d.entries() {
		recorded[e.Header.ID] = e
	}
	first := events[0].Meta()
	for i, ev := range events {
		m := ev.Meta()
		if m.Act != first.Act || m.Position != i || m.ID == "" || m.Version != 1 || !m.Time.Equal(first.Time) ||
			m.Source != record.SourceGatebook || m.Outcome != record.Success || m.Reason != "" || m.Initiator != "user" ||
			m.Actor != (gatebook.Actor{Type: record.ActorUser, ID: m.Subject}) || m.Subject == "" {
			d.t.Errorf("envelope %d: %+v", i, m)
		}
		if m.Request.IP.String() != "192.0.2.1" || m.Request.IPSource != "connection" || m.Request.Route == "" || m.Auth.Provider == "" || m.Auth.Method == "" {
			d.t.Errorf("envelope %d: request %+v, auth %+v", i, m.Request, m.Auth)
		}
		if (m.Session != "") != (m.Type == record.TypeSignIn) {
			d.t.Errorf("%s has the session %q", m.Type, m.Session)
		}
		e, ok := recorded[m.ID]
		if !ok {
			d.t.Errorf("%s is not recorded", m.Type)
			continue
		}
		h := e.Header
		if h.Type != m.Type || h.Act != m.Act || h.Position != m.Position || h.Reason != m.Reason || h.Outcome != m.Outcome ||
			!h.Time.Equal(m.Time) || h.Provider != m.Auth.Provider || h.Method != m.Auth.Method || h.ActorType != m.Actor.Type ||
			h.Subject.IsZero() || h.Actor != h.Subject {
			d.t.Errorf("%s is recorded as %s", m.Type, e.Raw)
		}
	}
}

// Without an adapter the user is the provider's, and nothing is created.
func TestMessagesWithoutAdapter(t *testing.T) {
	d := newDesk(t, func(d *desk, c *gatebook.Config) {
		still(gatebook.StrategyJWT)(d, c)
		c.Adapter, c.Book = nil, book.New(book.NewMemory())
		c.Providers = []gatebook.Provider{d.idp, c.Providers[2]}
	})
	v := d.visitor()
	v.signIn()
	v.post("/auth/signout", nil)
	v.password("u-1", "right")
	var got []string
	for _, ev := range d.heard.all() {
		if e, ok := ev.(*gatebook.SignInEvent); ok {
			e.Account.Reply = gatebook.Claims{}
			got = append(got, namer{e.Subject: "USER"}.text(ev))
			d.checkEnvelopes([]gatebook.Event{ev})
			continue
		}
		got = append(got, ev.Meta().Type)
	}
	want := []string{
		`signIn user={USER Ada Lovelace <ada@example.com> https://img.example/a.png} account={oidc idp 1 of "", "at-marker" "" "" 0 "bearer" "openid" "" {}} profile={"sub":"1","email":"ada@example.com","name":"Ada Lovelace","private":"kept"} isNewUser=nil`,
		"signOut",
		`signIn user={USER Ada Lovelace <ada@example.com> } account={credentials credentials USER of "", "" "" "" 0 "" "" "" {}} profile=nil isNewUser=nil`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("messages (-want +got):\n%s\n%s", diff, d.log)
	}
}

// A signed-in user who links a second provider, and an account that changed
// hands: what is told beside the six.
func TestLinkingMessages(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		second := &fakeProvider{id: "second"}
		d := newDesk(t, func(d *desk, c *gatebook.Config) {
			c.Session.Strategy = strategy
			c.Providers = append(c.Providers, second)
		})
		v := d.visitor()
		v.signIn()
		ada := d.heard.all()[0].Meta().Subject
		sid := d.heard.all()[2].Meta().Session
		d.heard.reset()
		second.prove("77", "countess@example.org", false)
		v.get(v.begin(second))
		events := d.heard.all()
		if got := d.heard.types(); !slices.Equal(got, []string{"linkAccount", "signIn"}) {
			t.Fatalf("heard %v", got)
		}
		linked, in := events[0].(*gatebook.LinkAccountEvent), events[1].(*gatebook.SignInEvent)
		if linked.User.ID != ada || linked.User.Email != "ada@example.com" || linked.Account.ProviderAccountID != "77" ||
			linked.Profile.Email != "countess@example.org" || in.User.ID != ada || *in.IsNewUser || in.Session != sid {
			t.Errorf("told %s and %s; session %q, want %q", namer{}.text(linked), namer{}.text(in), in.Session, sid)
		}
		d.checkEnvelopes(events)
	})
}

// The handlers of one request, in their one order, for joined sets.
func TestOrderOfHandlers(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		var got []string
		set := func(name string, fail bool) gatebook.Events {
			note := func(field string) error {
				got = append(got, name+"."+field)
				if fail {
					return errors.New("failed")
				}
				return nil
			}
			return gatebook.Events{
				SignIn:       func(context.Context, *gatebook.SignInEvent) error { return note("SignIn") },
				SignOut:      func(context.Context, *gatebook.SignOutEvent) error { return note("SignOut") },
				CreateUser:   func(context.Context, *gatebook.CreateUserEvent) error { return note("CreateUser") },
				UpdateUser:   func(context.Context, *gatebook.UpdateUserEvent) error { return note("UpdateUser") },
				LinkAccount:  func(context.Context, *gatebook.LinkAccountEvent) error { return note("LinkAccount") },
				Session:      func(context.Context, *gatebook.SessionEvent) error { return note("Session") },
				SignInFailed: func(context.Context, *gatebook.SignInFailedEvent) error { return note("SignInFailed") },
				HandlerFailed: func(_ context.Context, e *gatebook.HandlerFailedEvent) error {
					return note("HandlerFailed for " + e.Handler)
				},
				Any: func(_ context.Context, ev gatebook.Event) error { return note("Any " + ev.Meta().Type) },
			}
		}
		d := newDesk(t, func(_ *desk, c *gatebook.Config) {
			c.Session.Strategy = strategy
			a, b := set("a", false), set("b", true)
			joined := gatebook.JoinEvents(gatebook.JoinEvents(a), gatebook.Events{}, b)
			joined.SignIn = set("own", false).SignIn // its own fields come first
			c.Events = joined
			c.Callbacks.JWT = func(_ context.Context, p *gatebook.JWTParams) (*gatebook.Claims, error) {
				if p.User != nil {
					got = append(got, "jwt callback")
				}
				return &p.Token, nil
			}
		})
		failed := func(field string) []string {
			return []string{"a.HandlerFailed for " + field, "b.HandlerFailed for " + field}
		}
		both := func(own, typ string) []string {
			return slices.Concat([]string{"a." + own, "a.Any " + typ, "b." + own}, failed(own), []string{"b.Any " + typ}, failed("Any"))
		}
		signIn := append([]string{"own.SignIn"}, both("SignIn", "signIn")...)
		if strategy == gatebook.StrategyJWT {
			signIn = append([]string{"jwt callback"}, signIn...)
		}
		v := d.visitor()
		steps := []struct {
			name string
			act  func()
			want []string
		}{
			{"new", func() { v.signIn() }, slices.Concat(both("CreateUser", "createUser"), both("LinkAccount", "linkAccount"), signIn)},
			{"known address", func() { v.link("ada@example.com") }, slices.Concat(both("UpdateUser", "updateUser"), signIn)},
			{"session", func() { v.get("/auth/session") }, both("Session", "session")},
			{"sign out", func() { v.post("/auth/signout", nil) }, both("SignOut", "signOut")},
			{"failure", func() { v.password("ada", "wrong") }, both("SignInFailed", "signIn.failed")},
		}
		for _, s := range steps {
			got = nil
			s.act()
			if diff := cmp.Diff(s.want, got); diff != "" {
				t.Errorf("%s: handlers (-want +got):\n%s", s.name, diff)
			}
		}
	})
}

// What a handler does to what it was given changes nothing for anybody.
func TestCopies(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		spoilUser := func(u *gatebook.User) {
			if u == nil {
				return
			}
			u.ID, u.Name, u.Email, u.Image = "spoilt", "spoilt", "spoilt", "spoilt"
			if m, ok := u.Extra["map"].(map[string]any); ok {
				m["spoilt"], m["in"].(map[string]any)["spoilt"] = true, true
				u.Extra["bytes"].([]byte)[0] = 'X'
				u.Extra["list"].([]any)[0].(map[string]any)["spoilt"] = true
				u.Extra["strings"].([]string)[0] = "spoilt"
				u.Extra["spoilt"] = true
			}
		}
		spoilClaims := func(c *gatebook.Claims) {
			if c == nil {
				return
			}
			for _, name := range slices.Collect(c.Names()) {
				for i := range c.Raw(name) {
					c.Raw(name)[i] = '1' // its bytes too, which give a number
				}
				c.Set(name, "spoilt")
			}
			c.Set("spoilt", true)
		}
		spoilAccount := func(a *gatebook.Account) {
			if a != nil {
				a.Provider, a.ProviderAccountID, a.UserID, a.AccessToken = "spoilt", "spoilt", "spoilt", "spoilt"
				spoilClaims(&a.Reply)
			}
		}
		spoilRow := func(s *gatebook.StoredSession) {
			if s != nil {
				s.Token, s.UserID, s.ID, s.Handle, s.Expires = "spoilt", "spoilt", "spoilt", "spoilt", time.Time{}
			}
		}
		spoil := func(_ context.Context, ev gatebook.Event) error {
			m := ev.Meta()
			for i := range m.Auth.AMR {
				m.Auth.AMR[i] = "spoilt"
			}
			*m = gatebook.Envelope{ID: "spoilt", Type: m.Type}
			switch e := ev.(type) {
			case *gatebook.SignInEvent:
				spoilUser(e.User)
				spoilAccount(e.Account)
				spoilClaims(e.Profile)
				if e.IsNewUser != nil {
					*e.IsNewUser = false
				}
			case *gatebook.SignOutEvent:
				spoilClaims(e.Token)
				spoilRow(e.Session)
			case *gatebook.CreateUserEvent:
				spoilUser(e.User)
				if e.SignInInfo != nil {
					spoilAccount(e.SignInInfo.Account)
					spoilClaims(e.SignInInfo.Profile)
					e.SignInInfo.Provider = "spoilt"
				}
			case *gatebook.UpdateUserEvent:
				spoilUser(e.User)
				for i := range e.Changed {
					e.Changed[i] = "spoilt"
				}
			case *gatebook.LinkAccountEvent:
				spoilUser(e.User)
				spoilAccount(e.Account)
				spoilUser(e.Profile)
			case *gatebook.SessionEvent:
				spoilClaims(e.Token)
				spoilRow(e.Session)
				spoilClaims(e.Result)
			case *gatebook.SignInFailedEvent:
				spoilUser(e.User)
				if e.Account != nil {
					e.Account.Provider = "spoilt"
				}
			case *gatebook.DeleteUserEvent:
				spoilUser(e.User)
			case *gatebook.UnlinkAccountEvent:
				spoilUser(e.User)
				spoilAccount(e.Account)
			case *gatebook.SessionRevokedEvent:
				spoilUser(e.User)
			}
			return nil
		}
		own := gatebook.Events{
			SignIn:       func(ctx context.Context, e *gatebook.SignInEvent) error { return spoil(ctx, e) },
			SignOut:      func(ctx context.Context, e *gatebook.SignOutEvent) error { return spoil(ctx, e) },
			CreateUser:   func(ctx context.Context, e *gatebook.CreateUserEvent) error { return spoil(ctx, e) },
			UpdateUser:   func(ctx context.Context, e *gatebook.UpdateUserEvent) error { return spoil(ctx, e) },
			LinkAccount:  func(ctx context.Context, e *gatebook.LinkAccountEvent) error { return spoil(ctx, e) },
			Session:      func(ctx context.Context, e *gatebook.SessionEvent) error { return spoil(ctx, e) },
			SignInFailed: func(ctx context.Context, e *gatebook.SignInFailedEvent) error { return spoil(ctx, e) },
			Any:          spoil,
		}
		var told []string
		d := newDesk(t, func(d *desk, c *gatebook.Config) {
			c.Session.Strategy = strategy
			c.Events = gatebook.JoinEvents(own, gatebook.Events{Any: func(_ context.Context, ev gatebook.Event) error {
				b, err := json.Marshal(ev)
				told = append(told, string(b))
				return err
			}})
			c.Callbacks.JWT = func(_ context.Context, p *gatebook.JWTParams) (*gatebook.Claims, error) {
				if p.User != nil && (p.User.ID == "spoilt" || p.Account.Provider == "spoilt" || p.Profile != nil && p.Profile.Has("spoilt")) {
					t.Error("the jwt callback saw what a handler did")
				}
				return &p.Token, nil
			}
		})
		ctx := context.Background()
		extra := map[string]any{"map": map[string]any{"in": map[string]any{}}, "bytes": []byte("abc"), "list": []any{map[string]any{}}, "strings": []string{"s"}}
		u, err := d.auth.CreateUser(ctx, gatebook.User{ID: "u-1", Name: "Grace", Email: "grace@example.com", Extra: extra})
		if err != nil {
			t.Fatal(err)
		}
		fields := []string{"name", "map"}
		if _, err := d.auth.UpdateUser(ctx, gatebook.User{ID: "u-1", Name: "Grace H", Extra: extra}, fields...); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(fields, []string{"name", "map"}) {
			t.Errorf("the caller's fields are now %v", fields)
		}
		v := d.visitor()
		v.signIn()
		if got := v.get("/auth/session").Body.String(); !strings.Contains(got, `"email":"ada@example.com"`) || strings.Contains(got, "spoilt") {
			t.Errorf("session = %s", got)
		}
		v.get("/auth/session")
		v.link("ada@example.com")
		v.post("/auth/signout", nil)
		v.password("ada", "wrong")
		if err := d.auth.LinkAccount(ctx, gatebook.Account{UserID: "u-1", Type: "oidc", Provider: "idp", ProviderAccountID: "9", Reply: claimsOf(t, `{"a":1}`)}); err != nil {
			t.Fatal(err)
		}
		if err := d.auth.UnlinkAccount(ctx, "u-1", gatebook.AccountKey{Provider: "idp", ProviderAccountID: "9"}); err != nil {
			t.Fatal(err)
		}
		if strategy == gatebook.StrategyDatabase {
			d.visitor().password("u-1", "right")
			if _, err := d.auth.RevokeSessions(ctx, "u-1"); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.auth.DeleteUser(ctx, "u-1"); err != nil {
			t.Fatal(err)
		}
		if len(told) < 14 {
			t.Errorf("only %d events were told", len(told))
		}
		if s := strings.Join(told, "\n"); strings.Contains(s, "spoilt") || strings.Contains(s, "11111111") || !strings.Contains(s, `"IsNewUser":true`) {
			t.Errorf("a handler saw what another did to its copy:\n%s", s)
		}
		for where, m := range map[string]map[string]any{"result": u.Extra, "argument": extra} {
			if b, _ := json.Marshal(m); strings.Contains(string(b), "spoilt") || m["bytes"].([]byte)[0] != 'a' {
				t.Errorf("the caller's %s is %s", where, b)
			}
		}
		d.leaks("spoilt")
		if strings.Contains(d.log.String(), "handler failed") {
			t.Errorf("log:\n%s", d.log)
		}
	})
}

// No value of a token reply, profile or claim, nor what an application's code
// returned, is in the log or the book.
func TestNothingLeaks(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		fail := ""
		d := newDesk(t, func(d *desk, c *gatebook.Config) {
			c.Session.Strategy = strategy
			boom := func(step string) error {
				if fail == step {
					return errors.New("MARKER-error-of-" + step)
				}
				if fail == step+" panic" {
					panic("MARKER-panic-of-" + step)
				}
				return nil
			}
			c.Callbacks.JWT = func(_ context.Context, p *gatebook.JWTParams) (*gatebook.Claims, error) {
				p.Token.Set("app", "MARKER-claim")
				return &p.Token, boom("jwt")
			}
			c.Callbacks.Session = func(_ context.Context, p *gatebook.SessionParams) (*gatebook.Claims, error) {
				p.Session.Set("app", "MARKER-output")
				return &p.Session, boom("session")
			}
			c.Callbacks.SignIn = func(context.Context, *gatebook.SignInAttempt) error { return boom("signIn") }
			c.Callbacks.Redirect = func(_ context.Context, to, base string) (string, error) { return base, boom("redirect") }
			c.Events.SignIn = func(context.Context, *gatebook.SignInEvent) error { return boom("handler") }
			c.Events.Session = func(context.Context, *gatebook.SessionEvent) error { return boom("handler") }
			c.InTx.SignIn = func(context.Context, *sql.Tx, *gatebook.SignInEvent) error { return boom("InTx") }
			c.InTx.SignOut = func(context.Context, *sql.Tx, *gatebook.SignOutEvent) error { return boom("InTx") }
		})
		for _, step := range []string{"", "jwt", "session", "signIn", "redirect", "handler", "InTx", "provider"} {
			for _, how := range []string{"", " panic"} {
				fail = ""
				d.idp.prove("1", "ada@example.com", true)
				p := d.idp.proof
				p.Profile = claimsOf(t, `{"sub":"1","MARKER-name":"MARKER-a","deep":{"a":["MARKER-b",{"c":"MARKER-d"}]},"picture":"MARKER-e","n":"MARKER-f"}`)
				p.Account.Reply = claimsOf(t, `{"access_token":"MARKER-g","refresh_token":"MARKER-h","id_token":"MARKER-i","x":{"y":"MARKER-j"}}`)
				p.Account.AccessToken, p.Account.RefreshToken, p.Account.IDToken = "MARKER-g", "MARKER-h", "MARKER-i"
				p.Account.SessionState, p.Account.Scope, p.User.Image = "MARKER-k", "MARKER-l", "https://img.example/MARKER-m"
				v := d.visitor()
				back := v.begin(d.idp)
				if step == "provider" {
					d.idp.err = fmt.Errorf("MARKER-error-of-provider%s", how)
				}
				if step != "session" && step != "InTx" {
					fail = step + how
				}
				v.get(back + "&callbackUrl=" + url.QueryEscape("/?MARKER-query"))
				fail = step + how
				v.get("/auth/session?MARKER-query")
				v.send(d.auth.Middleware(d.auth.Require(nothing)), v.request("GET", "/MARKER-path?MARKER-query", nil))
				if step == "redirect" {
					fail = "" // or there is no CSRF token
				}
				v.post("/auth/signout", nil)
				v.get(v.begin(d.idp))
				v.password("MARKER-name", "MARKER-password")
				v.cookies[sessionCookie] = "MARKER-cookie"
				v.get("/auth/session")
				v.send(d.auth.Middleware(nothing), v.request("GET", "/", nil))
			}
		}
		mustClose(t, d.auth)
		d.leaks("MARKER")
		entries := d.entries()
		for _, typ := range []string{record.TypeSignIn, record.TypeSignInFailed, record.TypeHandlerFailed, record.TypeSession, record.TypeSessionInvalid, record.TypeSignOut} {
			if len(of(entries, typ)) == 0 {
				t.Errorf("nothing of type %s was recorded, so nothing is proved", typ)
			}
		}
	})
}

func TestInTx(t *testing.T) {
	boom := errors.New("boom")
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		var order []string
		var fail string
		d := newDesk(t, func(d *desk, c *gatebook.Config) {
			c.Session.Strategy = strategy
			note := func(name string) error {
				order = append(order, name)
				if fail == name {
					return boom
				}
				if fail == name+" panic" {
					panic(boom)
				}
				return nil
			}
			c.InTx = gatebook.InTx{
				CreateUser: func(_ context.Context, _ *sql.Tx, e *gatebook.CreateUserEvent) error {
					e.User.Email = "spoilt"
					return note("in CreateUser")
				},
				UpdateUser:  func(context.Context, *sql.Tx, *gatebook.UpdateUserEvent) error { return note("in UpdateUser") },
				LinkAccount: func(context.Context, *sql.Tx, *gatebook.LinkAccountEvent) error { return note("in LinkAccount") },
				SignIn:      func(context.Context, *sql.Tx, *gatebook.SignInEvent) error { return note("in SignIn") },
				SignOut:     func(context.Context, *sql.Tx, *gatebook.SignOutEvent) error { return note("in SignOut") },
				DeleteUser:  func(context.Context, *sql.Tx, *gatebook.DeleteUserEvent) error { return note("in DeleteUser") },
			}
			any := c.Events.Any
			c.Events.Any = func(ctx context.Context, ev gatebook.Event) error {
				order = append(order, "after "+ev.Meta().Type)
				return any(ctx, ev)
			}
		})
		v := d.visitor()
		v.signIn()
		want := []string{"in CreateUser", "in LinkAccount", "after createUser", "after linkAccount", "in SignIn", "after signIn"}
		if strategy == gatebook.StrategyDatabase {
			want = []string{"in CreateUser", "in LinkAccount", "in SignIn", "after createUser", "after linkAccount", "after signIn"}
		}
		if diff := cmp.Diff(want, order); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}
		d.leaks("spoilt")
		if u := d.heard.all()[0].(*gatebook.CreateUserEvent).User; u.Email != "ada@example.com" {
			t.Errorf("what the InTx handler did to its copy: %+v", u)
		}

		order = nil
		ada := d.heard.all()[0].Meta().Subject
		v.link("ada@example.com")
		v.post("/auth/signout", nil)
		if err := d.auth.DeleteUser(context.Background(), ada); err != nil {
			t.Fatal(err)
		}
		want = []string{"in UpdateUser", "after updateUser", "in SignIn", "after signIn"}
		if strategy == gatebook.StrategyDatabase {
			want = []string{"in UpdateUser", "in SignIn", "after updateUser", "after signIn"}
		}
		want = append(want, "in SignOut", "after signOut", "in DeleteUser", "after deleteUser")
		if diff := cmp.Diff(want, order); diff != "" {
			t.Errorf("order (-want +got):\n%s", diff)
		}

		// An error undoes the act; the visitor gets an error page.
		d.idp.prove("2", "grace@example.com", true)
		v.signIn()
		for _, how := range []string{"", " panic"} {
			fail = "in SignIn" + how
			before := len(of(d.entries(), record.TypeSignIn))
			d.heard.reset()
			u := d.visitor()
			w := u.signIn()
			if u.signedIn() || !strings.Contains(w.Header().Get("Location"), "error=Configuration") {
				t.Errorf("%s: the visitor got %d to %q, signed in: %v", fail, w.Code, w.Header().Get("Location"), u.signedIn())
			}
			if got := d.heard.types(); !slices.Equal(got, []string{"signIn.failed"}) {
				t.Errorf("%s: heard %v", fail, got)
			}
			if n := len(of(d.entries(), record.TypeSignIn)); n != before {
				t.Errorf("%s: signIn is recorded", fail)
			}
			fail = "in SignOut" + how
			outs := len(of(d.entries(), record.TypeSignOut))
			v.post("/auth/signout", nil)
			if v.signedIn() {
				t.Errorf("%s: the cookies are still there", fail)
			}
			if n := len(of(d.entries(), record.TypeSignOut)); n != outs {
				t.Errorf("%s: signOut is recorded", fail)
			}
			fail = ""
			v.signIn()
		}
		fail = "in CreateUser"
		if _, err := d.auth.CreateUser(context.Background(), gatebook.User{ID: "u-2"}); !errors.Is(err, boom) {
			t.Errorf("CreateUser = %v, want the handler's error", err)
		}
		if _, err := d.auth.UpdateUser(context.Background(), gatebook.User{ID: "u-2"}, "name"); !errors.Is(err, gatebook.ErrNotFound) {
			t.Errorf("UpdateUser = %v, want that the user was not made", err)
		}
	})
}

// An act begun inside InTx fails, before anything is read.
func TestActInsideInTx(t *testing.T) {
	var got []string
	d := newDesk(t, func(d *desk, c *gatebook.Config) {
		c.Session.Strategy = gatebook.StrategyJWT
		c.InTx.CreateUser = func(ctx context.Context, _ *sql.Tx, e *gatebook.CreateUserEvent) error {
			d.store.fault(func(op string, _ *gatebook.Act) error { got = append(got, op); return nil }, nil)
			defer d.store.fault(nil, nil)
			_, err := d.auth.CreateUser(ctx, gatebook.User{ID: "inner"})
			_, err2 := d.auth.UpdateUser(ctx, gatebook.User{ID: "outer", Name: "x"}, "name")
			err3 := d.auth.DeleteUser(ctx, "outer")
			err4 := d.auth.LinkAccount(ctx, gatebook.Account{UserID: "outer", Provider: "p", ProviderAccountID: "1", Type: "oidc"})
			err5 := d.auth.UnlinkAccount(ctx, "outer", gatebook.AccountKey{Provider: "p", ProviderAccountID: "1"})
			if len(got) != 0 {
				t.Errorf("the store was asked for %v", got)
			}
			// Nor through the handler, by whoever passes the context on.
			v := d.visitor()
			v.ctx = ctx
			if v.password("ada", "right"); v.signedIn() {
				t.Error("a sign-in inside InTx succeeded")
			}
			for i, err := range []error{err, err2, err3, err4, err5} {
				if err == nil || !strings.Contains(err.Error(), "inside an InTx handler") {
					t.Errorf("write %d inside InTx = %v, want an error that says so", i, err)
				}
			}
			return nil
		}
	})
	if _, err := d.auth.CreateUser(context.Background(), gatebook.User{ID: "outer"}); err != nil {
		t.Fatal(err)
	}
	if got := types(d.entries()); !slices.Equal(got, []string{"createUser"}) {
		t.Errorf("recorded %v", got)
	}
}
