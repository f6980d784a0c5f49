package gatebook_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/record"
)

// accountAnswer is what GET account says.
type accountAnswer struct {
	User struct {
		ID                 string
		Name, Email, Image *string
	}
	Ways []struct {
		Type, Provider, Name, ProviderAccountID string
		Usable, Removable                       bool
	}
	Sessions []struct {
		SID, Begun, Expires, Provider, UserAgent string
		Current                                  bool
	}
	Revocable bool
}

// account asks for the visitor's own account.
func (v *visitor) account() accountAnswer {
	v.d.t.Helper()
	w := v.get("/auth/account")
	if w.Code != http.StatusOK {
		v.d.t.Fatalf("GET account = %d %s", w.Code, w.Body)
	}
	return decode[accountAnswer](v.d.t, w)
}

func decode[T any](t testing.TB, w *httptest.ResponseRecorder) T {
	t.Helper()
	var a T
	dec := json.NewDecoder(w.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&a); err != nil {
		t.Fatalf("answer %q: %v", w.Body, err)
	}
	if got := w.Header().Get("Content-Type") + ", " + w.Header().Get("Cache-Control"); got != "application/json, private, no-cache, no-store" {
		t.Errorf("headers %q", got)
	}
	return a
}

type accountRefusal struct{ Code, Error string }

// refused wants an answer to be a refusal.
func (d *desk) refused(name string, w *httptest.ResponseRecorder, status int, code string) {
	d.t.Helper()
	if w.Code != status {
		d.t.Errorf("%s: %d %s, want %d", name, w.Code, w.Body, status)
	}
	if got := decode[accountRefusal](d.t, w); got.Code != code || got.Error == "" {
		d.t.Errorf("%s: %+v, want the code %s", name, got, code)
	}
}

func TestAccountRoute(t *testing.T) {
	both(t, func(d *desk) {
		t := d.t
		there := d.in("There/1.0")
		here := d.in(`Here/2.0 <b>"</b>`)
		a := here.account()
		if a.User.ID != d.userOf(here) || a.User.Email == nil || *a.User.Email != "ada@example.com" || !a.Revocable {
			t.Errorf("account %+v", a)
		}
		if len(a.Ways) != 2 || a.Ways[0].Provider != "idp" || a.Ways[0].Name != "IDP" || a.Ways[0].ProviderAccountID != "1" || !a.Ways[0].Usable || !a.Ways[0].Removable ||
			a.Ways[1].Type != "email" || a.Ways[1].ProviderAccountID != "ada@example.com" || !a.Ways[1].Usable || a.Ways[1].Removable {
			t.Errorf("ways %+v", a.Ways)
		}
		if len(a.Sessions) != 2 {
			t.Fatalf("sessions %+v", a.Sessions)
		}
		for _, s := range a.Sessions {
			want := there
			if s.Current {
				want = here
			}
			if s.SID != d.sidOf(want) || s.UserAgent != want.header.Get("User-Agent") || s.Provider != "idp" || s.Begun == "" || !strings.HasSuffix(s.Expires, "Z") {
				t.Errorf("session %+v", s)
			}
		}
		// A HEAD is a GET without an answer, and OPTIONS says what there is.
		if w := here.send(d.auth, here.request("HEAD", "/auth/account/", nil)); w.Code != 200 {
			t.Errorf("HEAD = %d", w.Code)
		}
		if s := here.get("/auth/session").Body.String(); !strings.Contains(s, "ada@example.com") {
			t.Errorf("session = %s", s)
		}
		d.leaks("at-marker")
	})
}

func TestAccountUnlink(t *testing.T) {
	both(t, func(d *desk) {
		t := d.t
		v := d.in("Here")
		user := d.userOf(v)
		d.idp.prove("2", "grace@example.com", true)
		grace := d.in("Grace's")
		d.heard.reset()
		before := len(d.entries())
		post := func(form url.Values) *httptest.ResponseRecorder { return v.post("/auth/account/unlink", form) }
		d.refused("another's account", post(url.Values{"provider": {"idp"}, "providerAccountId": {"2"}}), 404, "notFound")
		d.refused("no account", post(url.Values{"provider": {"idp"}, "providerAccountId": {"3"}}), 404, "notFound")
		d.refused("no id", post(url.Values{"provider": {"idp"}}), 400, "badRequest")
		d.refused("no provider", post(url.Values{"providerAccountId": {"1"}}), 400, "badRequest")
		w := post(url.Values{"provider": {"idp"}, "providerAccountId": {"1"}})
		if w.Code != 200 || w.Body.String() != `{"unlinked":1}` {
			t.Fatalf("unlink = %d %s\n%s", w.Code, w.Body, d.log)
		}
		if got := d.accounts(user); len(got) != 0 {
			t.Errorf("accounts %v", got)
		}
		d.refused("again", post(url.Values{"provider": {"idp"}, "providerAccountId": {"1"}}), 404, "notFound")
		entries := of(d.entries()[before:], record.TypeUnlinkAccount)
		if len(entries) != 1 {
			t.Fatalf("recorded %v", types(d.entries()[before:]))
		}
		h := entries[0].Header
		req := payload[record.Request](t, entries[0], record.ClassRequest)
		if h.Source != record.SourceGatebook || h.ActorType != record.ActorUser || h.Actor != h.Subject || h.Initiator != "user" || req.Route != "account/unlink" || req.UserAgent != "Here" {
			t.Errorf("recorded %s, %+v", entries[0].Raw, req)
		}
		if got := d.accounts(d.userOf(grace)); len(got) != 1 {
			t.Errorf("another's accounts %v", got)
		}
	})
	t.Run("last", func(t *testing.T) {
		d := newDesk(t, linkOnly)
		v := d.in("Here")
		if a := v.account(); len(a.Ways) != 1 || a.Ways[0].Removable || !a.Ways[0].Usable {
			t.Errorf("ways %+v", a.Ways)
		}
		d.refused("the last way", v.post("/auth/account/unlink", url.Values{"provider": {"idp"}, "providerAccountId": {"1"}}), 409, "lastSignIn")
	})
}

func TestAccountRevoke(t *testing.T) {
	both(t, func(d *desk) {
		t := d.t
		d.idp.prove("2", "grace@example.com", true)
		grace := d.in("Grace's")
		d.idp.prove("1", "ada@example.com", true)
		here, there, third, fourth := d.in("Here"), d.in("There"), d.in("Third"), d.in("Fourth")
		post := func(form url.Values) *httptest.ResponseRecorder {
			return here.post("/auth/account/sessions/revoke", form)
		}
		before := len(d.entries())
		for name, form := range map[string]url.Values{
			"neither": {}, "both": {"sid": {"x"}, "scope": {"all"}}, "unknown scope": {"scope": {"one"}},
		} {
			d.refused(name, post(form), 400, "badRequest")
		}
		for name, sid := range map[string]string{
			"another's": d.sidOf(grace), "unknown": "AAAAAAAAAAAAAAAAAAAAAA", "strange": "\x00\xff", "a token": there.cookies[sessionCookie],
			"long": strings.Repeat("x", 100_000), "handle": d.handle(there),
		} {
			if sid != "" {
				d.refused(name, post(url.Values{"sid": {sid}}), 404, "notFound")
			}
		}
		for _, v := range []*visitor{grace, here, there} {
			if !d.works(v.cookies[sessionCookie]) {
				t.Fatal("a session ended that nobody could end")
			}
		}
		answer := func(w *httptest.ResponseRecorder, want string) {
			t.Helper()
			if w.Code != 200 || w.Body.String() != want {
				t.Errorf("revoke = %d %s, want %s", w.Code, w.Body, want)
			}
		}
		answer(post(url.Values{"sid": {d.sidOf(there)}}), `{"revoked":1}`)
		if d.works(there.cookies[sessionCookie]) || !d.works(third.cookies[sessionCookie]) || !here.signedIn() {
			t.Error("another session ended than was to end")
		}
		answer(post(url.Values{"scope": {"others"}}), `{"revoked":2}`)
		if d.works(third.cookies[sessionCookie]) || d.works(fourth.cookies[sessionCookie]) || !d.works(here.cookies[sessionCookie]) {
			t.Error("other sessions ended than were to end")
		}
		token := here.cookies[sessionCookie]
		answer(post(url.Values{"scope": {"all"}}), `{"revoked":1}`)
		if here.signedIn() || d.works(token) || !d.works(grace.cookies[sessionCookie]) {
			t.Errorf("all sessions ended: cookies %v", here.cookies)
		}
		d.refused("once it has ended", here.get("/auth/account"), 401, "signedOut")
		var scopes []string
		for _, e := range of(d.entries()[before:], record.TypeSessionRevoked) {
			p := payload[record.SessionEnd](t, e, record.ClassIdentity)
			scopes = append(scopes, p.Scope)
			if p.Why != "user" || p.Strategy != d.cfg.Session.Strategy || e.Header.Source != record.SourceGatebook || e.Header.Actor != e.Header.Subject {
				t.Errorf("recorded %s %+v", e.Raw, p)
			}
		}
		if diff := cmp.Diff([]string{"one", "others", "all"}, scopes); diff != "" {
			t.Error(diff)
		}
		// One's own session can be ended by its id too.
		here = d.in("Here")
		token = here.cookies[sessionCookie]
		answer(post(url.Values{"sid": {d.sidOf(here)}}), `{"revoked":1}`)
		if here.signedIn() || d.works(token) {
			t.Error("the session goes on")
		}
	})
}

// handle returns the adapter's name of a database session, or "".
func (d *desk) handle(v *visitor) string {
	if s := d.sessionOf(v); s.Stored != nil {
		return s.Stored.Handle
	}
	return ""
}

// Nobody but the user's own page changes anything, and nobody learns anything
// who is not signed in.
func TestAccountAttacks(t *testing.T) {
	both(t, func(d *desk) {
		t := d.t
		v := d.in("Here")
		sid := d.sidOf(v)
		token := v.cookies[sessionCookie]
		csrf := decode[struct{ CSRFToken string }](t, v.get("/auth/csrf")).CSRFToken
		revoke := "/auth/account/sessions/revoke"
		before := len(d.entries())
		for name, change := range map[string]func(*visitor, url.Values, *http.Request){
			"no token":        func(_ *visitor, f url.Values, _ *http.Request) { f.Del("csrfToken") },
			"wrong token":     func(_ *visitor, f url.Values, _ *http.Request) { f.Set("csrfToken", strings.Repeat("0", 64)) },
			"no cookie":       func(v *visitor, _ url.Values, _ *http.Request) { delete(v.cookies, "authjs.csrf-token") },
			"another's token": func(_ *visitor, f url.Values, _ *http.Request) { f.Set("csrfToken", d.csrf()) },
			"cross-site": func(v *visitor, _ url.Values, _ *http.Request) {
				v.header.Set("Origin", "https://evil.example")
				v.header.Set("Sec-Fetch-Site", "cross-site")
			},
		} {
			mine := d.visitor()
			for n, value := range v.cookies {
				mine.cookies[n] = value
			}
			form := url.Values{"scope": {"all"}, "csrfToken": {csrf}}
			change(mine, form, nil)
			d.refused(name, mine.send(d.auth, mine.request("POST", revoke, form)), 403, "csrf")
			if target := revoke + "?csrfToken=" + csrf + "&scope=all"; name == "no token" {
				d.refused("token in the query", mine.send(d.auth, mine.request("POST", target, url.Values{})), 403, "csrf")
			}
		}
		// A form of another site can send text/plain, and a JSON body that way.
		r := v.request("POST", revoke, nil)
		r.Body = http.NoBody
		r = httptest.NewRequest("POST", deskOrigin+revoke, strings.NewReader(`{"scope":"all","csrfToken":"`+csrf+`"}`))
		r.Header.Set("Content-Type", "text/plain")
		for n, value := range v.cookies {
			r.AddCookie(&http.Cookie{Name: n, Value: value})
		}
		d.refused("text/plain", v.send(d.auth, r), 403, "csrf")
		if !d.works(token) {
			t.Fatal("the session ended")
		}
		stranger := d.visitor()
		d.refused("stranger", stranger.get("/auth/account"), 401, "signedOut")
		d.refused("stranger's POST", stranger.post(revoke, url.Values{"sid": {sid}}), 401, "signedOut")
		stranger.cookies[sessionCookie] = "nonsense"
		d.refused("bad cookie", stranger.get("/auth/account"), 401, "signedOut")
		if stranger.signedIn() {
			t.Error("the bad cookie stays")
		}
		for _, e := range d.entries()[before:] {
			switch e.Header.Type {
			case record.TypeCSRFRejected, record.TypeSessionInvalid, record.TypeSession:
			default:
				t.Errorf("recorded %s", e.Raw)
			}
		}
	})
}

func (d *desk) csrf() string {
	return decode[struct{ CSRFToken string }](d.t, d.visitor().get("/auth/csrf")).CSRFToken
}

func TestAccountMethods(t *testing.T) {
	d := newDesk(t, nil)
	v := d.in("Here")
	for _, tt := range []struct{ method, path, allow string }{
		{"POST", "/auth/account", "GET, HEAD, OPTIONS"},
		{"GET", "/auth/account/unlink", "OPTIONS, POST"},
		{"HEAD", "/auth/account/sessions/revoke", "OPTIONS, POST"},
		{"GET", "/auth/account//sessions///revoke/", "OPTIONS, POST"},
	} {
		w := v.send(d.auth, v.request(tt.method, tt.path, nil))
		if got := w.Header().Get("Allow"); w.Code != 405 || got != tt.allow {
			t.Errorf("%s %s = %d, Allow %q", tt.method, tt.path, w.Code, got)
		}
	}
	for _, path := range []string{"/auth/account/x", "/auth/account/sessions", "/auth/account/sessions/revoke/x", "/auth/accounts", "/auth/x/account", "/auth/Account"} {
		if w := v.get(path); w.Code != 400 {
			t.Errorf("GET %s = %d, want 400", path, w.Code)
		}
	}
	w := v.send(d.auth, v.request("POST", "/auth/account/unlink", url.Values{"provider": {strings.Repeat("x", 1<<20)}}))
	if w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("a huge body = %d", w.Code)
	}
	w = v.send(d.auth, v.request("POST", "/auth/account/unlink", manyFields(501)))
	if w.Code != http.StatusBadRequest {
		t.Errorf("many fields = %d", w.Code)
	}
	r := v.request("POST", "/auth/account/unlink", nil)
	r = httptest.NewRequest("POST", r.URL.String(), strings.NewReader(`{"provider":`))
	r.Header.Set("Content-Type", "application/json")
	if w := v.send(d.auth, r); w.Code != http.StatusBadRequest {
		t.Errorf("half a body = %d", w.Code)
	}
}

func manyFields(n int) url.Values {
	form := url.Values{}
	for i := range n {
		form.Set(strings.Repeat("x", i+1), "1")
	}
	return form
}

// JSON works like a form.
func TestAccountJSON(t *testing.T) {
	both(t, func(d *desk) {
		t := d.t
		v, other := d.in("Here"), d.in("There")
		csrf := decode[struct{ CSRFToken string }](t, v.get("/auth/csrf")).CSRFToken
		r := httptest.NewRequest("POST", deskOrigin+"/auth/account/sessions/revoke", strings.NewReader(`{"csrfToken":"`+csrf+`","sid":"`+d.sidOf(other)+`"}`))
		r.Header.Set("Content-Type", "application/json")
		for n, value := range v.cookies {
			r.AddCookie(&http.Cookie{Name: n, Value: value})
		}
		if w := v.send(d.auth, r); w.Code != 200 || d.works(other.cookies[sessionCookie]) {
			t.Errorf("revoke = %d %s", w.Code, w.Body)
		}
	})
}

func TestAccountWithoutList(t *testing.T) {
	t.Run("off", func(t *testing.T) {
		d := newDesk(t, with2(gatebook.StrategyJWT))
		v := d.in("Here")
		d.in("There")
		a := v.account()
		if a.Revocable || len(a.Sessions) != 1 || !a.Sessions[0].Current || a.Sessions[0].SID != d.sidOf(v) {
			t.Errorf("account %+v", a)
		}
		d.refused("revoke", v.post("/auth/account/sessions/revoke", url.Values{"scope": {"others"}}), 409, "notRevocable")
		d.refused("revoke one", v.post("/auth/account/sessions/revoke", url.Values{"sid": {d.sidOf(v)}}), 409, "notRevocable")
		if !v.signedIn() {
			t.Error("signed out")
		}
	})
	t.Run("no adapter", func(t *testing.T) {
		d := newDesk(t, func(d *desk, c *gatebook.Config) {
			c.Adapter, c.Book, c.Providers = nil, book.New(book.NewMemory()), []gatebook.Provider{d.idp}
		})
		v := d.in("Here")
		a := v.account()
		if a.User.Email == nil || len(a.Ways) != 0 || len(a.Sessions) != 1 || a.Revocable {
			t.Errorf("account %+v", a)
		}
		d.refused("unlink", v.post("/auth/account/unlink", url.Values{"provider": {"idp"}, "providerAccountId": {"1"}}), 404, "notFound")
		d.refused("revoke", v.post("/auth/account/sessions/revoke", url.Values{"scope": {"all"}}), 404, "notFound")
	})
}

// A user whom only the application knows has sessions all the same.
func TestAccountOfStranger(t *testing.T) {
	d := newDesk(t, listing(gatebook.StrategyJWT))
	here, there := d.visitor(), d.visitor()
	here.password("own-id", "right")
	there.password("own-id", "right")
	a := here.account()
	if a.User.ID != "own-id" || len(a.Ways) != 0 && a.Ways[0].Type != "email" || len(a.Sessions) != 2 {
		t.Errorf("account %+v", a)
	}
	if w := here.post("/auth/account/sessions/revoke", url.Values{"scope": {"others"}}); w.Code != 200 || w.Body.String() != `{"revoked":1}` || d.works(there.cookies[sessionCookie]) {
		t.Errorf("revoke = %d %s\n%s", w.Code, w.Body, d.log)
	}
	if _, err := d.auth.RevokeSessions(context.Background(), "nobody"); !errors.Is(err, gatebook.ErrNotFound) {
		t.Errorf("RevokeSessions of nobody = %v", err)
	}
}

func TestAccountStoreDown(t *testing.T) {
	for _, op := range []string{"Accounts", "Sessions", "Commit", "Find"} {
		t.Run(op, func(t *testing.T) {
			d := newDesk(t, listing(gatebook.StrategyJWT))
			v := d.in("Here")
			csrf := decode[struct{ CSRFToken string }](t, v.get("/auth/csrf")).CSRFToken
			d.store.fault(func(o string, _ *gatebook.Act) error {
				if o == op {
					return errors.New("down: secret-marker")
				}
				return nil
			}, nil)
			if op != "Commit" {
				d.refused("account", v.get("/auth/account"), 503, "unavailable")
			}
			if op != "Accounts" {
				w := v.send(d.auth, v.request("POST", "/auth/account/sessions/revoke", url.Values{"csrfToken": {csrf}, "scope": {"all"}}))
				d.refused("revoke", w, 503, "unavailable")
			}
			if !v.signedIn() {
				t.Error("signed out by an error")
			}
		})
	}
}

// Two who sign the other out at once are each answered, and at most one of them
// stays.
func TestRevokeEachOther(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		for range 20 {
			d := newDesk(t, listing(strategy))
			both := []*visitor{d.in("One"), d.in("Two")}
			var wg sync.WaitGroup
			codes := make([]int, 2)
			for i, v := range both {
				csrf := decode[struct{ CSRFToken string }](t, v.get("/auth/csrf")).CSRFToken
				r := v.request("POST", "/auth/account/sessions/revoke", url.Values{"csrfToken": {csrf}, "scope": {"others"}})
				wg.Go(func() {
					w := httptest.NewRecorder()
					d.auth.ServeHTTP(w, r)
					codes[i] = w.Code
				})
			}
			wg.Wait()
			if !slices.Contains(codes, 200) || slices.Contains(codes, 503) {
				t.Fatalf("answers %v\n%s", codes, d.log)
			}
			if d.works(both[0].cookies[sessionCookie]) && d.works(both[1].cookies[sessionCookie]) {
				t.Fatal("both go on")
			}
		}
	})
}

// A program with a Bearer header has no cookies and needs no CSRF token; a cookie
// beside the header counts, and then it does.
func TestAccountBearer(t *testing.T) {
	both(t, func(d *desk) {
		t := d.t
		here, there := d.in("Here"), d.in("There")
		app := d.visitor()
		app.header.Set("Authorization", "Bearer "+here.cookies[sessionCookie])
		a := app.account()
		if len(a.Sessions) != 2 || a.Sessions[0].Current == a.Sessions[1].Current || app.signedIn() {
			t.Errorf("account %+v, cookies %v", a, app.cookies)
		}
		revoke := "/auth/account/sessions/revoke"
		app.cookies[sessionCookie] = there.cookies[sessionCookie]
		d.refused("with a cookie", app.send(d.auth, app.request("POST", revoke, url.Values{"scope": {"all"}})), 403, "csrf")
		delete(app.cookies, sessionCookie)
		w := app.send(d.auth, app.request("POST", revoke, url.Values{"scope": {"others"}}))
		if w.Code != 200 || w.Body.String() != `{"revoked":1}` || d.works(there.cookies[sessionCookie]) || !d.works(here.cookies[sessionCookie]) {
			t.Errorf("revoke = %d %s", w.Code, w.Body)
		}
		app.header.Set("Authorization", "Bearer nonsense")
		d.refused("a broken token", app.send(d.auth, app.request("POST", revoke, url.Values{"scope": {"others"}})), 401, "signedOut")
	})
}

// The session of a native client is listed and ended like any other, and none
// begins from a browser's session that has ended.
func TestAccountNative(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		d := newDesk(t, func(d *desk, c *gatebook.Config) {
			listing(strategy)(d, c)
			c.NativeRedirects = []string{appURI}
		})
		v := d.in("Browser")
		_, body := d.redeem(v.allow(ask()).Query().Get("code"))
		token, _ := body["access_token"].(string)
		if l := v.account().Sessions; len(l) != 2 || l[0].Begun == "" || l[1].Begun == "" || l[0].Current == l[1].Current || !d.works(token) {
			t.Fatalf("sessions %+v", l)
		}
		code := v.allow(ask()).Query().Get("code")
		if w := v.post("/auth/account/sessions/revoke", url.Values{"scope": {"all"}}); w.Body.String() != `{"revoked":2}` || d.works(token) {
			t.Errorf("revoke = %d %s", w.Code, w.Body)
		}
		if w, body := d.redeem(code); w.Code != 400 || body["access_token"] != nil {
			t.Errorf("a code of the ended session: %d %v", w.Code, body)
		}
		failed := of(d.entries(), record.TypeSignInFailed)
		if len(failed) != 1 || failed[0].Header.Reason != record.ReasonSessionRevoked {
			t.Errorf("recorded %v", types(d.entries()))
		}
	})
}

// One's own session ends with the others also when no list tells of it.
func TestAccountUnlisted(t *testing.T) {
	d := newDesk(t, listing(gatebook.StrategyJWT))
	v := d.in("Here")
	token := seal(t, sessionCookie, `{"sub":"`+d.userOf(v)+`","jti":"1"}`)
	app := d.visitor()
	app.header.Set("Authorization", "Bearer "+token)
	if l := app.account().Sessions; len(l) != 2 || !l[0].Current || l[1].Current {
		t.Errorf("sessions %+v", l)
	}
	revoke := "/auth/account/sessions/revoke"
	if w := app.send(d.auth, app.request("POST", revoke, url.Values{"scope": {"all"}})); w.Body.String() != `{"revoked":2}` || d.works(token) || d.works(v.cookies[sessionCookie]) {
		t.Errorf("revoke = %d %s", w.Code, w.Body)
	}
	if n, err := d.store.Sweep(context.Background(), time.Now().Add(300*24*time.Hour)); err != nil || d.works(token) {
		t.Errorf("a token that does not expire works again: %d, %v", n, err)
	}
	token = seal(t, sessionCookie, `{"sub":"u-1","jti":"2"}`)
	app.header.Set("Authorization", "Bearer "+token)
	if w := app.send(d.auth, app.request("POST", revoke, url.Values{"sid": {app.account().Sessions[0].SID}})); w.Body.String() != `{"revoked":1}` || d.works(token) {
		t.Errorf("revoke = %d %s", w.Code, w.Body)
	}
}

// When the renewal of a token would have needed other cookies than those that
// came, none is left of either.
func TestAccountForgetsChunks(t *testing.T) {
	size := 10
	d := newDesk(t, func(d *desk, c *gatebook.Config) {
		listing(gatebook.StrategyJWT)(d, c)
		c.Callbacks.JWT = func(_ context.Context, p *gatebook.JWTParams) (*gatebook.Claims, error) {
			return &p.Token, p.Token.Set("more", strings.Repeat("x", size))
		}
	})
	for _, then := range []int{9000, 10} {
		v := d.in("Here")
		csrf := decode[struct{ CSRFToken string }](t, v.get("/auth/csrf")).CSRFToken
		size = then
		w := v.send(d.auth, v.request("POST", "/auth/account/sessions/revoke", url.Values{"csrfToken": {csrf}, "scope": {"all"}}))
		if w.Code != 200 || v.signedIn() {
			t.Errorf("revoke = %d %s, cookies %d", w.Code, w.Body, len(v.cookies))
		}
	}
}

// Whoever brings a token that was revoked is nobody who could add a passkey.
func TestRevokedAddsNoPasskey(t *testing.T) {
	d := newDesk(t, func(d *desk, c *gatebook.Config) {
		listing(gatebook.StrategyJWT)(d, c)
		c.Providers = append(c.Providers, fakePasskeys{"passkey"})
	})
	v := d.in("Here")
	ask := func() int { return v.get("/auth/webauthn-options/passkey?action=register").Code }
	if got := ask(); got != 200 {
		t.Fatalf("options = %d\n%s", got, d.log)
	}
	if _, err := d.auth.RevokeSessions(context.Background(), d.userOf(v)); err != nil {
		t.Fatal(err)
	}
	if got := ask(); got != 400 {
		t.Errorf("options of a revoked session = %d, want 400", got)
	}
}
