package gatebook_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/internal/jwe"
	"github.com/gatebook/gatebook/record"
)

// Tokens of Auth.js with the secret "secret" and the salt
// "authjs.session-token": A256CBC-HS512 with kid, and A256GCM without.
const (
	vectorCBC = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2Q0JDLUhTNTEyIiwia2lkIjoiN3g5RFVNVmFFVTZnaWFiMGwwT1dEdDRlNFNzUkhfY2J3TW9mMkV6RXl5Nm9uSzVvOHhTUFBCNzk5UlZvcW0ydjZ6Njc0a1FDdjlqb20yVDhTLWExZFEifQ..wYFQxYguy2E_t7Ma4vfYyQ.acyToGc4xUof3a4K_b6FtErqoq5cupwRMwXGvebWhfQrYxCNUgPt6sblnj_Tx9IwZcB5sxLHfh4ykxXQDcBCbO-PKA3mvBcAELX6EnAIZHvj7XrBF5OsU7roB3XudyOrirldKse6SQpPSypBLQsjiWaxKXnSleZQKRJqhhUyTRAaFf63iOIbVbOuuqtvkT3LOZCsxc64CXb1i6wPX72c8lAZksuTTpDYQvV4-UVnFqQ.uUiYEOVyxm4WZ7DDoDtCSxrEFfUI4gFSxYhjEM8I0go"
	vectorGCM = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..jTdox1Yj_eAbtceH.WJlnxvgfatg3F6Ys-yi6XXXLZWb5G1860lZICf4OBpecyYgrdzaxnRV8QB1M-idUQcF7U19lpnkyynyMFO-t4IWGgc8B9ZllHIFv3zn3Db_6JV7gGn0vbLpuhSPLPZWHI5HxE1_ZkA.IR7DqyY-cnbOqYDIOpcp-A"
)

func TestTokensOfAuthJS(t *testing.T) {
	tests := []struct{ name, token, data, claims string }{
		{"CBC", vectorCBC, `{"user":{"name":"Ada","email":"ada@example.com","image":"https://img.test/a.png"},"expires":"2026-12-24T12:00:00.000Z"}`,
			`{"name":"Ada","email":"ada@example.com","picture":"https://img.test/a.png","sub":"42","iat":1700000000,"exp":4102444800,"jti":"00000000-0000-4000-8000-000000000000","sid":"SID"}`},
		{"GCM", vectorGCM, `{"user":{"name":"Ada"},"expires":"2026-12-24T12:00:00.000Z"}`,
			`{"sub":"1","name":"Ada","iat":1700000000,"exp":4102444800,"jti":"00000000-0000-4000-8000-000000000000","sid":"SID"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t, func(d *desk, c *gatebook.Config) {
				still(gatebook.StrategyJWT)(d, c)
				c.Secrets = []gatebook.Secret{"secret"}
			})
			s, err := d.auth.Verify(context.Background(), tt.token)
			if err != nil {
				t.Fatal(err)
			}
			if s.User.Name != "Ada" || s.User.ID == "" || s.Strategy != gatebook.StrategyJWT || s.ID == "" ||
				!s.Expires.Equal(time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)) {
				t.Errorf("Verify = %+v", s)
			}
			v := d.visitor()
			v.cookies[sessionCookie] = tt.token
			if got := v.get("/auth/session").Body.String(); got != tt.data {
				t.Errorf("session = %s\nwant %s", got, tt.data)
			}
			// It came without a sid, and keeps the one it was given.
			if got := (namer{s.ID: "SID"}).claims(s.Token); got != tt.claims {
				t.Errorf("claims = %s\nwant %s", got, tt.claims)
			}
			renewed, err := d.auth.Verify(context.Background(), v.cookies[sessionCookie])
			if err != nil || renewed.ID != s.ID || v.cookies[sessionCookie] == tt.token || renewed.User.ID != s.User.ID {
				t.Errorf("after a renewal: %+v, %v, want the sid %s", renewed, err, s.ID)
			}
		})
	}
}

// seal makes a session token that another program could have made.
func seal(t testing.TB, salt, payload string) string {
	t.Helper()
	c, err := jwe.New([]string{secret}, salt)
	if err != nil {
		t.Fatal(err)
	}
	return string(c.Seal(nil, []byte(payload)))
}

func TestVerify(t *testing.T) {
	now := noon.Unix()
	tests := []struct {
		name, salt, payload string
		want                string // the user, or empty for ErrNoSession
	}{
		{"good", sessionCookie, fmt.Sprintf(`{"sub":"1","exp":%d}`, now+1), "1"},
		{"secure salt", "__Secure-" + sessionCookie, fmt.Sprintf(`{"sub":"1","exp":%d}`, now+1), "1"},
		{"salt of another cookie", "authjs.state", fmt.Sprintf(`{"sub":"1","exp":%d}`, now+1), ""},
		{"no exp", sessionCookie, `{"sub":"1"}`, "1"},
		{"expired within the tolerance", sessionCookie, fmt.Sprintf(`{"sub":"1","exp":%d}`, now-14), "1"},
		{"expired", sessionCookie, fmt.Sprintf(`{"sub":"1","exp":%d}`, now-15), ""},
		{"fraction", sessionCookie, fmt.Sprintf(`{"sub":"1","exp":%d.5}`, now+60), "1"},
		{"exp is text", sessionCookie, fmt.Sprintf(`{"sub":"1","exp":"%d"}`, now+60), ""},
		{"exp is null", sessionCookie, `{"sub":"1","exp":null}`, ""},
		{"exp is beyond all numbers", sessionCookie, `{"sub":"1","exp":1e999}`, ""},
		{"exp is huge", sessionCookie, `{"sub":"1","exp":1e30}`, "1"},
		{"nbf soon", sessionCookie, fmt.Sprintf(`{"sub":"1","nbf":%d}`, now+15), "1"},
		{"nbf later", sessionCookie, fmt.Sprintf(`{"sub":"1","nbf":%d}`, now+16), ""},
		{"nbf is huge", sessionCookie, `{"sub":"1","nbf":1e30}`, ""},
		{"iat is text", sessionCookie, `{"sub":"1","iat":"now"}`, ""},
		{"array", sessionCookie, `[1]`, ""},
		{"no JSON", sessionCookie, `sub=1`, ""},
		{"empty", sessionCookie, ``, ""},
	}
	d := newDesk(t, still(gatebook.StrategyJWT))
	for _, tt := range tests {
		s, err := d.auth.Verify(context.Background(), seal(t, tt.salt, tt.payload))
		if tt.want == "" && !errors.Is(err, gatebook.ErrNoSession) || tt.want != "" && (err != nil || s.User.ID != tt.want) {
			t.Errorf("%s: Verify = %+v, %v", tt.name, s, err)
		}
	}
	for _, token := range []string{"", ".", "....", "%", "%zz", strings.Repeat("a", 1<<20), vectorCBC} {
		if _, err := d.auth.Verify(context.Background(), token); !errors.Is(err, gatebook.ErrNoSession) {
			t.Errorf("Verify(%.20q) = %v, want ErrNoSession", token, err)
		}
	}
	if got := d.entries(); len(got) != 0 {
		t.Errorf("Verify recorded %v", types(got))
	}
}

// The middleware reads the session once, renews it, and tells of it before the
// application begins to answer.
func TestMiddleware(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			var order []string
			d := newDesk(t, func(d *desk, c *gatebook.Config) {
				c.Session.Strategy = strategy
				c.Session.UpdateAge = -1
				c.Events.Session = func(context.Context, *gatebook.SessionEvent) error {
					pause(2 * time.Second)
					order = append(order, "handler")
					return nil
				}
			})
			v := d.visitor()
			v.signIn()
			reads := 0
			d.store.fault(func(op string, _ *gatebook.Act) error {
				if op == "Session" || op == "Find" {
					reads++
				}
				return nil
			}, nil)
			app := d.auth.Middleware(d.auth.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				order = append(order, "application")
				first, err := d.auth.Session(r)
				second, _ := d.auth.Session(r.Clone(r.Context()))
				if err != nil || first != second || first.User.Email != "ada@example.com" || first.ID == "" || first.Data.Len() == 0 {
					t.Errorf("Session = %+v, %v", first, err)
				}
				w.Write([]byte("streamed"))
				w.(http.Flusher).Flush()
				order = append(order, "streamed")
			})))
			d.heard.reset()
			old := v.cookies[sessionCookie]
			pause(time.Hour)
			w := v.send(app, v.request("GET", "/stream", nil))
			if diff := cmp.Diff([]string{"handler", "application", "streamed"}, order); diff != "" {
				t.Errorf("order (-want +got):\n%s", diff)
			}
			if got := d.heard.types(); !slices.Equal(got, []string{"session"}) {
				t.Errorf("heard %v, want session once", got)
			}
			if want := map[string]int{gatebook.StrategyDatabase: 1}[strategy]; reads != want {
				t.Errorf("the store was read %d times, want %d", reads, want)
			}
			set := w.Result().Cookies()
			if len(set) != 1 || set[0].Name != sessionCookie || !set[0].HttpOnly || set[0].Path != "/" || set[0].SameSite != http.SameSiteLaxMode ||
				time.Until(set[0].Expires).Round(time.Minute) != 30*24*time.Hour || w.Header().Get("Cache-Control") != "private" {
				t.Errorf("cookies %v, Cache-Control %q", set, w.Header().Get("Cache-Control"))
			}
			if changed := v.cookies[sessionCookie] != old; changed != (strategy == gatebook.StrategyJWT) {
				t.Errorf("the token changed: %v", changed)
			}
			s, err := d.auth.Verify(context.Background(), v.cookies[sessionCookie])
			if err != nil || time.Until(s.Expires).Round(time.Minute) != 30*24*time.Hour {
				t.Errorf("the session was not renewed: %+v, %v", s, err)
			}
		})
	})
}

// Outside the middleware nothing is renewed and nothing told.
func TestSessionOutsideTheMiddleware(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		d := newDesk(t, func(_ *desk, c *gatebook.Config) {
			c.Session.Strategy = strategy
			c.Session.UpdateAge = -1
			c.Callbacks.Session = func(context.Context, *gatebook.SessionParams) (*gatebook.Claims, error) {
				t.Error("a callback was called")
				return nil, nil
			}
		})
		v := d.visitor()
		v.signIn()
		d.heard.reset()
		n := d.store.count()
		token := v.cookies[sessionCookie]
		d.store.fault(func(op string, _ *gatebook.Act) error {
			if op == "ExtendSession" {
				t.Error("the session was renewed")
			}
			return nil
		}, nil)
		check := func(what string, r *http.Request) {
			t.Helper()
			s, err := d.auth.Session(r)
			if err != nil || s.User.Email != "ada@example.com" || s.ID == "" || s.Strategy != strategy {
				t.Errorf("%s: Session = %+v, %v", what, s, err)
			}
		}
		check("cookie", v.request("GET", "/", nil))
		bearer := httptest.NewRequest("GET", deskOrigin+"/", nil)
		for _, h := range []string{"Bearer " + token, "bearer  " + token + " "} {
			bearer.Header.Set("Authorization", h)
			check(h[:8], bearer)
		}
		w := v.send(d.auth.Require(nothing), v.request("GET", "/", nil))
		if w.Code != 200 || len(w.Result().Cookies()) != 0 {
			t.Errorf("Require answered %d and set %v", w.Code, w.Result().Cookies())
		}
		for _, h := range []string{"", "Bearer", "Bearer ", "Basic " + token, token} {
			bearer.Header.Set("Authorization", h)
			if _, err := d.auth.Session(bearer); !errors.Is(err, gatebook.ErrNoSession) {
				t.Errorf("Authorization %.8q: %v, want ErrNoSession", h, err)
			}
		}
		mustClose(t, d.auth)
		if got := d.heard.types(); len(got) != 0 || d.store.count() != n {
			t.Errorf("heard %v, %d commits", got, d.store.count()-n)
		}
	})
}

// A Bearer token is read like a cookie, and no cookie is set for it. With both,
// the cookie counts, inside the middleware and outside.
func TestBearer(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		d := newDesk(t, with2(strategy))
		ada, grace := d.visitor(), d.visitor()
		ada.signIn()
		d.idp.prove("2", "grace@example.com", true)
		grace.signIn()
		client := d.visitor()
		client.header.Set("Authorization", "Bearer "+ada.cookies[sessionCookie])
		who := func(v *visitor, h func(http.Handler) http.Handler) string {
			email := ""
			v.send(h(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if s, err := d.auth.Session(r); err == nil {
					email = s.User.Email
				}
			})), v.request("GET", "/", nil))
			return email
		}
		bare := func(h http.Handler) http.Handler { return h }
		d.heard.reset()
		if got := who(client, d.auth.Middleware); got != "ada@example.com" || len(client.cookies) != 0 {
			t.Errorf("Bearer through the middleware: %q, cookies %v", got, client.cookies)
		}
		if got := d.heard.types(); !slices.Equal(got, []string{"session"}) {
			t.Errorf("heard %v, want session", got)
		}
		if got := client.get("/auth/session").Body.String(); !strings.Contains(got, "ada@example.com") || client.signedIn() {
			t.Errorf("Bearer at the session route: %s, cookies %v", got, client.cookies)
		}
		grace.header = client.header
		if in, out := who(grace, d.auth.Middleware), who(grace, bare); in != "grace@example.com" || out != in {
			t.Errorf("cookie and Bearer: %q inside, %q outside, want the cookie's", in, out)
		}
		if strategy == gatebook.StrategyJWT {
			client.header.Set("Authorization", "Bearer "+seal(t, "__Secure-"+sessionCookie, `{"sub":"1","email":"secure@example.com"}`))
			if in, out := who(client, d.auth.Middleware), who(client, bare); in != "secure@example.com" || out != in {
				t.Errorf("a token of the https site: %q inside, %q outside", in, out)
			}
			client.header.Del("Authorization")
			client.cookies[sessionCookie] = seal(t, "__Secure-"+sessionCookie, `{"sub":"1","email":"secure@example.com"}`)
			if in := who(client, d.auth.Middleware); in != "" {
				t.Errorf("the https site's token in the http site's cookie opens the session of %q", in)
			}
		}
		client.header.Set("Authorization", "Bearer nonsense")
		delete(client.cookies, sessionCookie)
		if in, out := who(client, d.auth.Middleware), who(client, bare); in != "" || out != "" || client.signedIn() {
			t.Errorf("a broken Bearer token: %q, %q, cookies %v", in, out, client.cookies)
		}
	})
}

func with2(strategy string) func(*desk, *gatebook.Config) {
	return func(_ *desk, c *gatebook.Config) { c.Session.Strategy = strategy }
}

// A long token is spread over chunks, and what is left of them goes when it
// shrinks or ends.
func TestChunks(t *testing.T) {
	size := 6000
	d := newDesk(t, func(_ *desk, c *gatebook.Config) {
		c.Session.Strategy = gatebook.StrategyJWT
		c.Callbacks.JWT = func(_ context.Context, p *gatebook.JWTParams) (*gatebook.Claims, error) {
			p.Token.Set("big", strings.Repeat("x", size))
			return &p.Token, nil
		}
	})
	names := func(v *visitor) []string {
		var out []string
		for n := range v.cookies {
			if strings.HasPrefix(n, sessionCookie) {
				out = append(out, strings.TrimPrefix(n, sessionCookie))
			}
		}
		slices.Sort(out)
		return out
	}
	v := d.visitor()
	v.signIn()
	v.cookies[sessionCookie+"-other"] = "not ours" // only shares the prefix
	for _, step := range []struct {
		size int
		want []string
	}{{6000, []string{"-other", ".0", ".1", ".2"}}, {9000, []string{"-other", ".0", ".1", ".2", ".3"}}, {3000, []string{"-other", ".0", ".1"}},
		{10, []string{"", "-other"}}, {6000, []string{"-other", ".0", ".1", ".2"}}} {
		size = step.size
		if got := v.get("/auth/session").Body.String(); !strings.Contains(got, "ada@example.com") {
			t.Fatalf("size %d: session = %s", size, got)
		}
		if got := names(v); !slices.Equal(got, step.want) {
			t.Errorf("size %d: cookies %q, want %q", size, got, step.want)
		}
		for n, value := range v.cookies {
			if len(value) > 3936 {
				t.Errorf("size %d: cookie %s has %d bytes", size, n, len(value))
			}
		}
	}
	v.cookies[sessionCookie+".7"] = "left over"
	v.post("/auth/signout", nil)
	if got := names(v); !slices.Equal(got, []string{"-other"}) {
		t.Errorf("after sign-out the cookies %q are left", got)
	}
}

func TestSecretRotation(t *testing.T) {
	const oldSecret, newSecret = "an old secret of at least 32 characters", "a new secret of at least 32 characters.."
	d := newDesk(t, func(_ *desk, c *gatebook.Config) {
		c.Session.Strategy = gatebook.StrategyJWT
		c.Secrets = []gatebook.Secret{oldSecret}
	})
	v := d.visitor()
	v.signIn()
	first, err := d.auth.Verify(context.Background(), v.cookies[sessionCookie])
	if err != nil {
		t.Fatal(err)
	}
	d.cfg.Secrets = []gatebook.Secret{newSecret, oldSecret}
	d.auth = d.open(d.cfg)
	if got := v.get("/auth/session").Body.String(); !strings.Contains(got, "ada@example.com") {
		t.Errorf("with the new secret in front: %s", got)
	}
	d.cfg.Secrets = []gatebook.Secret{newSecret}
	d.auth = d.open(d.cfg)
	second, err := d.auth.Verify(context.Background(), v.cookies[sessionCookie])
	if err != nil || second.ID != first.ID {
		t.Errorf("without the old secret: %v, sid %v, want %s", err, second, first.ID)
	}
	stale := d.visitor()
	stale.cookies[sessionCookie] = seal(t, sessionCookie, `{"sub":"1"}`)
	if got := stale.get("/auth/session").Body.String(); got != "null" || stale.signedIn() {
		t.Errorf("a token of a retired secret: %s, cookies %v", got, stale.cookies)
	}
}

// What a read does with the cookie, by what becomes of it.
func TestCookieMatrix(t *testing.T) {
	boom := errors.New("boom")
	tests := []struct {
		name                string
		jwt                 func(*gatebook.JWTParams) (*gatebook.Claims, error)
		session             func(*gatebook.SessionParams) (*gatebook.Claims, error)
		jwtKeeps, rowKeeps  bool
		jwtShown, rowShown  string // part of the body, "null" for none
		jwtEvent, rowEvent  bool
		logged              bool
		jwtTimes, showTimes int
	}{
		{name: "plain", jwtKeeps: true, rowKeeps: true, jwtShown: "ada@", rowShown: "ada@", jwtEvent: true, rowEvent: true},
		{name: "jwt null", jwt: func(*gatebook.JWTParams) (*gatebook.Claims, error) { return nil, nil },
			rowKeeps: true, jwtShown: "null", rowShown: "ada@", rowEvent: true},
		{name: "jwt throws", jwt: func(*gatebook.JWTParams) (*gatebook.Claims, error) { return nil, boom },
			rowKeeps: true, jwtShown: "null", rowShown: "ada@", rowEvent: true, logged: true},
		{name: "jwt panics", jwt: func(*gatebook.JWTParams) (*gatebook.Claims, error) { panic(boom) },
			rowKeeps: true, jwtShown: "null", rowShown: "ada@", rowEvent: true, logged: true},
		{name: "jwt changes", jwt: func(p *gatebook.JWTParams) (*gatebook.Claims, error) {
			p.Token.Set("name", "Changed")
			return &p.Token, nil
		}, jwtKeeps: true, rowKeeps: true, jwtShown: "Changed", rowShown: "Ada Lovelace", jwtEvent: true, rowEvent: true},
		{name: "session throws", session: func(*gatebook.SessionParams) (*gatebook.Claims, error) { return nil, boom },
			rowKeeps: true, jwtShown: "null", rowShown: "null", logged: true},
		{name: "session panics", session: func(*gatebook.SessionParams) (*gatebook.Claims, error) { panic(boom) },
			rowKeeps: true, jwtShown: "null", rowShown: "null", logged: true},
		{name: "session nil", session: func(*gatebook.SessionParams) (*gatebook.Claims, error) { return nil, nil },
			rowKeeps: true, jwtShown: "null", rowShown: "null", logged: true},
		{name: "session changes", session: func(p *gatebook.SessionParams) (*gatebook.Claims, error) {
			p.Session.Set("more", 1)
			return &p.Session, nil
		}, jwtKeeps: true, rowKeeps: true, jwtShown: `"more":1}`, rowShown: `"more":1}`, jwtEvent: true, rowEvent: true},
	}
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		for _, tt := range tests {
			for _, where := range []string{"route", "update", "middleware"} {
				t.Run(tt.name+" "+where, func(t *testing.T) {
					reading := false
					d := newDesk(t, func(_ *desk, c *gatebook.Config) {
						c.Session.Strategy = strategy
						c.Callbacks.JWT = func(_ context.Context, p *gatebook.JWTParams) (*gatebook.Claims, error) {
							if !reading {
								return &p.Token, nil
							}
							if update := where == "update"; p.User != nil || p.Account != nil || p.Profile != nil || p.IsNewUser != nil ||
								(p.Trigger == "update") != update || update && string(p.Update) != `{"a":1}` || !update && p.Update != nil {
								t.Errorf("jwt callback got %+v", p)
							}
							if tt.jwt == nil {
								return &p.Token, nil
							}
							return tt.jwt(p)
						}
						c.Callbacks.Session = func(_ context.Context, p *gatebook.SessionParams) (*gatebook.Claims, error) {
							if token := strategy == gatebook.StrategyJWT; token != (p.Token != nil) || token != (p.User == nil) || token != (p.Stored == nil) ||
								!token && (p.Trigger == "update") != (where == "update") {
								t.Errorf("session callback got %+v", p)
							}
							if tt.session == nil {
								return &p.Session, nil
							}
							return tt.session(p)
						}
					})
					v := d.visitor()
					v.signIn()
					var csrf struct{ CSRFToken string }
					if err := json.Unmarshal(v.get("/auth/csrf").Body.Bytes(), &csrf); err != nil {
						t.Fatal(err)
					}
					d.heard.reset()
					reading = true
					body := "null"
					switch where {
					case "route":
						w := v.get("/auth/session")
						body = w.Body.String()
						if w.Code != 200 || w.Header().Get("Content-Type") != "application/json" {
							t.Errorf("%d %v", w.Code, w.Header())
						}
					case "update":
						r := v.request("POST", "/auth/session", nil)
						r2 := httptest.NewRequest("POST", r.URL.String(), strings.NewReader(`{"csrfToken":"`+csrf.CSRFToken+`","data":{"a":1}}`))
						r2.Header = r.Header
						r2.Header.Set("Content-Type", "application/json")
						body = v.send(d.auth, r2).Body.String()
					case "middleware":
						v.send(d.auth.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
							s, err := d.auth.Session(r)
							if err != nil && !errors.Is(err, gatebook.ErrNoSession) {
								t.Errorf("Session = %v", err)
							}
							if err == nil {
								b, _ := json.Marshal(s.Data)
								body = string(b)
							}
						})), v.request("GET", "/", nil))
					}
					keeps, shown, event := tt.rowKeeps, tt.rowShown, tt.rowEvent
					if strategy == gatebook.StrategyJWT {
						keeps, shown, event = tt.jwtKeeps, tt.jwtShown, tt.jwtEvent
					}
					if v.signedIn() != keeps {
						t.Errorf("has the cookie: %v, want %v", v.signedIn(), keeps)
					}
					if shown == "null" && body != "null" || !strings.Contains(body, shown) {
						t.Errorf("body %s, want %s", body, shown)
					}
					if got := d.heard.types(); slices.Equal(got, []string{"session"}) != event || len(got) > 1 {
						t.Errorf("heard %v, want session: %v", got, event)
					}
					if log := d.log.String(); strings.Contains(log, "boom") || tt.logged && shown == "null" && strings.Count(log, "callback failed") != 1 {
						t.Errorf("log:\n%s", log)
					}
				})
			}
		}
	})
}

// The sid is made at sign-in and stays, whatever the callbacks return, over
// every renewal and a sign-in of the same person.
func TestSessionIDStays(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		d := newDesk(t, func(_ *desk, c *gatebook.Config) {
			c.Session.Strategy = strategy
			c.Callbacks.JWT = func(_ context.Context, p *gatebook.JWTParams) (*gatebook.Claims, error) {
				sub := p.Token.String("sub")
				c := gatebook.Claims{}
				c.Set("sub", sub)
				if p.Trigger == "" {
					c.Set("sid", "the application's own idea")
				}
				return &c, nil
			}
		})
		v := d.visitor()
		v.signIn()
		for range 3 {
			v.get("/auth/session")
		}
		v.signIn()
		v.get("/auth/session")
		other := d.visitor()
		other.signIn()
		other.get("/auth/session")
		sids := map[string]int{}
		for _, ev := range d.heard.all() {
			if id := ev.Meta().Session; id != "" {
				sids[id]++
				if len(id) != 22 {
					t.Errorf("sid %q of %s", id, ev.Meta().Type)
				}
			}
		}
		counts := []int{}
		for _, n := range sids {
			counts = append(counts, n)
		}
		slices.Sort(counts)
		if !slices.Equal(counts, []int{2, 6}) {
			t.Errorf("the sids were told of %v times, want two: one by 6 events, one by 2", sids)
		}
	})
}

func TestExpiredSessions(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		now := noon
		d := newDesk(t, func(_ *desk, c *gatebook.Config) {
			c.Session.Strategy = strategy
			c.Session.MaxAge = time.Hour
			c.Now = func() time.Time { return now }
		})
		v := d.visitor()
		v.signIn()
		in := d.heard.all()[2].Meta()
		token := v.cookies[sessionCookie]
		now = now.Add(time.Hour + 20*time.Second)
		if _, err := d.auth.Verify(context.Background(), token); !errors.Is(err, gatebook.ErrNoSession) {
			t.Errorf("Verify = %v, want ErrNoSession", err)
		}
		d.heard.reset()
		if got := v.get("/auth/session").Body.String(); got != "null" || v.signedIn() {
			t.Errorf("session = %s, cookies %v", got, v.cookies)
		}
		for range 3 { // a client that goes on with it
			v.cookies[sessionCookie] = token
			v.send(d.auth.Middleware(nothing), v.request("GET", "/", nil))
		}
		mustClose(t, d.auth)
		expired := of(d.entries(), record.TypeSessionExpired)
		if len(expired) != 1 {
			t.Fatalf("recorded %d times, want once: %v", len(expired), types(d.entries()))
		}
		ev, ok := d.heard.all()[0].(*gatebook.SessionExpiredEvent)
		if !ok || ev.Session != in.Session || ev.Subject != in.Subject || ev.User.Email != "ada@example.com" || ev.Outcome != record.Success ||
			ev.Actor.Type != record.ActorUnauthenticated || expired[0].Header.ID != ev.ID {
			t.Errorf("told %+v", d.heard.all()[0])
		}
		p := payload[record.SessionEnd](t, expired[0], record.ClassIdentity)
		if p.Session != in.Session || p.Strategy != strategy || p.User.ID != in.Subject {
			t.Errorf("recorded %+v", p)
		}
		// The entry is about the same person as their sign-in, for erasure.
		if signIn := of(d.entries(), record.TypeSignIn)[0]; expired[0].Header.Subject != signIn.Header.Subject {
			t.Error("the entry has another subject key than the sign-in")
		}
		if strategy == gatebook.StrategyDatabase {
			if rows, err := d.store.Sessions(context.Background(), in.Subject); err != nil || len(rows) != 0 {
				t.Errorf("%d rows are left, %v", len(rows), err)
			}
			// The row is gone, so the others were unknown.
			if got := of(d.entries(), record.TypeSessionInvalid); len(got) != 2 {
				t.Errorf("recorded session.invalid %d times, want once and a count", len(got))
			}
		}
	})
}

func TestUnknownTokens(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		for _, token := range []string{"unknown", "..", strings.Repeat("x", 5000), "'drop--table--sessions"} {
			d := newDesk(t, with2(strategy))
			v := d.visitor()
			v.cookies[sessionCookie] = token
			v.cookies[sessionCookie+".0"] = "rest"
			v.send(d.auth.Middleware(nothing), v.request("GET", "/", nil))
			if v.signedIn() {
				t.Errorf("%.10s: cookies %v are left", token, v.cookies)
			}
			if got := d.heard.types(); !slices.Equal(got, []string{"session.invalid"}) {
				t.Errorf("%.10s: heard %v", token, got)
			}
			e := d.entries()[0]
			if e.Header.Reason != record.ReasonSessionInvalid || e.Header.ActorType != record.ActorUnauthenticated {
				t.Errorf("recorded %s", e.Raw)
			}
			d.leaks("drop--table")
		}
	})
}

func TestUpdateAge(t *testing.T) {
	const month = 30 * 24 * time.Hour
	tests := []struct {
		updateAge, age time.Duration
		moved          bool
	}{
		{0, 23*time.Hour + 59*time.Minute, false}, // zero is a day
		{0, 24 * time.Hour, true},
		{time.Hour, time.Hour - time.Millisecond, false},
		{time.Hour, time.Hour, true},
		{-1, 0, true},
		{2 * month, 29 * 24 * time.Hour, false},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.updateAge, " ", tt.age), func(t *testing.T) {
			now := noon
			d := newDesk(t, func(_ *desk, c *gatebook.Config) {
				c.Session.UpdateAge = tt.updateAge
				c.Now = func() time.Time { return now }
			})
			v := d.visitor()
			v.signIn()
			now = now.Add(tt.age)
			w := v.get("/auth/session")
			// The body shows the old expiry, the cookie has the new one (Auth.js).
			if got, want := w.Body.String(), `"expires":"`+noon.Add(month).Format("2006-01-02T15:04:05.000Z")+`"`; !strings.Contains(got, want) {
				t.Errorf("session = %s, want %s", got, want)
			}
			i := slices.IndexFunc(w.Result().Cookies(), func(c *http.Cookie) bool { return c.Name == sessionCookie })
			if i < 0 || !w.Result().Cookies()[i].Expires.Equal(now.Add(month).Truncate(time.Second)) {
				t.Errorf("cookies %v, want one until %v", w.Result().Cookies(), now.Add(month))
			}
			want := noon.Add(month)
			if tt.moved {
				want = now.Add(month)
			}
			if s, err := d.auth.Verify(context.Background(), v.cookies[sessionCookie]); err != nil || !s.Expires.Equal(want) {
				t.Errorf("the row ends %v, %v, want %v", s, err, want)
			}
		})
	}
}

// The row ends while it is read.
func TestSessionThatEndsMeanwhile(t *testing.T) {
	d := newDesk(t, func(_ *desk, c *gatebook.Config) { c.Session.UpdateAge = -1 })
	v := d.visitor()
	v.signIn()
	user := d.heard.all()[0].Meta().Subject
	d.store.fault(func(op string, _ *gatebook.Act) error {
		if op == "ExtendSession" {
			d.store.fault(nil, nil)
			if _, err := d.auth.RevokeSessions(context.Background(), user); err != nil {
				t.Error(err)
			}
		}
		return nil
	}, nil)
	if got := v.get("/auth/session").Body.String(); got != "null" || v.signedIn() {
		t.Errorf("session = %s, cookies %v", got, v.cookies)
	}
}

func TestRequire(t *testing.T) {
	down := errors.New("the disk is full")
	tests := []struct {
		name     string
		method   string
		target   string
		accept   string
		cookie   bool
		down     bool
		page     string
		status   int
		location string
	}{
		{name: "signed in", method: "GET", target: "/", accept: "text/html", cookie: true, status: 200},
		{name: "page", method: "GET", target: "/a/b?c=d&e=%2F", accept: "text/html,*/*;q=0.8", status: 302,
			location: "/auth/signin?callbackUrl=%2Fa%2Fb%3Fc%3Dd%26e%3D%252F"},
		{name: "head", method: "HEAD", target: "/", accept: "text/html", status: 302, location: "/auth/signin?callbackUrl=%2F"},
		{name: "own page", method: "GET", target: "/x", accept: "text/html", page: "/login?theme=dark", status: 302,
			location: "/login?theme=dark&callbackUrl=%2Fx"},
		{name: "API", method: "GET", target: "/", accept: "application/json", status: 401},
		{name: "anything", method: "GET", target: "/", accept: "*/*", status: 401},
		{name: "form", method: "POST", target: "/", accept: "text/html", status: 401},
		{name: "store down", method: "GET", target: "/", accept: "text/html", cookie: true, down: true, status: 503},
		{name: "store down, nobody", method: "GET", target: "/", accept: "application/json", down: true, status: 401},
	}
	for _, tt := range tests {
		for _, inside := range []bool{true, false} {
			t.Run(fmt.Sprint(tt.name, " middleware ", inside), func(t *testing.T) {
				d := newDesk(t, func(_ *desk, c *gatebook.Config) { c.Pages.SignIn = tt.page })
				v := d.visitor()
				if tt.cookie {
					v.signIn()
				}
				had := v.cookies[sessionCookie]
				if tt.down {
					d.store.fault(func(string, *gatebook.Act) error { return down }, nil)
				}
				reached := false
				h := d.auth.Require(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
				if inside {
					h = d.auth.Middleware(h)
				}
				v.header.Set("Accept", tt.accept)
				w := v.send(h, v.request(tt.method, tt.target, nil))
				if w.Code != tt.status || w.Header().Get("Location") != tt.location || reached != (tt.status == 200) {
					t.Errorf("got %d to %q, reached %v; want %d to %q", w.Code, w.Header().Get("Location"), reached, tt.status, tt.location)
				}
				switch tt.status {
				case 401:
					if w.Header().Get("Content-Type") != "application/json" || !json.Valid(w.Body.Bytes()) || w.Header().Get("WWW-Authenticate") != "Bearer" {
						t.Errorf("%v %s", w.Header(), w.Body)
					}
				case 503:
					if !json.Valid(w.Body.Bytes()) || strings.Contains(w.Body.String(), "disk") || v.cookies[sessionCookie] != had {
						t.Errorf("body %s, cookie kept: %v", w.Body, v.cookies[sessionCookie] == had)
					}
					if n := strings.Count(d.log.String(), "the disk is full"); n != 1 {
						t.Errorf("the log says it %d times, want once:\n%s", n, d.log)
					}
				}
			})
		}
	}
}

// The way back is what the visitor asked for, also under http.StripPrefix.
func TestRequireUnderStripPrefix(t *testing.T) {
	d := newDesk(t, nil)
	v := d.visitor()
	v.header.Set("Accept", "text/html")
	r := v.request("GET", "/app/page?q=1", nil)
	r.RequestURI = "/app/page?q=1" // as a server sets it
	w := v.send(http.StripPrefix("/app", d.auth.Middleware(d.auth.Require(nothing))), r)
	if got := w.Header().Get("Location"); got != "/auth/signin?callbackUrl=%2Fapp%2Fpage%3Fq%3D1" {
		t.Errorf("leads to %q", got)
	}
}

// Without a URL, sessions are read on loopback hosts and those that a trusted
// proxy names only.
func TestUntrustedHost(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		d := newDesk(t, func(_ *desk, c *gatebook.Config) {
			c.Session.Strategy = strategy
			c.URL = ""
		})
		v := d.visitor()
		v.signIn()
		if !v.signedIn() {
			t.Fatalf("could not sign in on localhost\n%s", d.log)
		}
		d.heard.reset()
		token := v.cookies[sessionCookie]
		for _, auth := range []string{"cookie", "bearer"} {
			for _, inside := range []bool{true, false} {
				r := v.request("GET", "/", nil)
				if auth == "bearer" {
					r.Header.Del("Cookie")
					r.Header.Set("Authorization", "Bearer "+token)
				}
				r.Host = "evil.example"
				h := d.auth.Require(nothing)
				if inside {
					h = d.auth.Middleware(h)
				}
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if w.Code != 401 || len(w.Result().Cookies()) != 0 {
					t.Errorf("%s, middleware %v: %d, cookies %v", auth, inside, w.Code, w.Result().Cookies())
				}
			}
		}
		if got := d.heard.types(); !slices.Equal(got, []string{"host.untrusted"}) {
			t.Errorf("heard %v, want host.untrusted once", got)
		}
		if n := strings.Count(d.log.String(), "Config.URL"); n != 2 {
			t.Errorf("the log tells %d times what to set, want once for each request through the middleware:\n%s", n, d.log)
		}
		// Whoever sends no session is let through without a word.
		n := len(d.log.String())
		r := httptest.NewRequest("GET", "http://evil.example/", nil)
		w := httptest.NewRecorder()
		d.auth.Middleware(nothing).ServeHTTP(w, r)
		if w.Code != 200 || len(d.log.String()) != n {
			t.Errorf("a stranger got %d, log %s", w.Code, d.log.String()[n:])
		}
	})
}

// Mounted at the root, the handler has its routes and the middleware the rest.
func TestMiddlewareWithTheRootAsBase(t *testing.T) {
	d := newDesk(t, func(_ *desk, c *gatebook.Config) {
		c.BasePath = "/"
		c.Session.Strategy = gatebook.StrategyJWT
	})
	v := d.visitor()
	v.cookies[sessionCookie] = seal(t, sessionCookie, `{"sub":"1","email":"ada@example.com","sid":"a-sid"}`)
	seen := 0
	app := d.auth.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen++ }))
	for target, want := range map[string]int{"/": 1, "/page": 1, "/session": 0, "/signin/idp": 0, "/signin/idp/more": 1} {
		d.heard.reset()
		v.send(app, v.request("GET", target, nil))
		if got := len(d.heard.types()); got != want {
			t.Errorf("%s: the session was told of %d times, want %d", target, got, want)
		}
	}
	if seen != 5 {
		t.Errorf("%d requests came through, want 5", seen)
	}
}

// The claims that a session and its event hold are those that were read, not
// those of the renewed cookie.
func TestClaimsAreThoseRead(t *testing.T) {
	d := newDesk(t, still(gatebook.StrategyJWT))
	v := d.visitor()
	payload := `{"sub":"1","sid":"0123456789abcdefghijkl","iat":1,"exp":4102444800,"jti":"mine"}`
	v.cookies[sessionCookie] = seal(t, sessionCookie, payload)
	v.send(d.auth.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		s, err := d.auth.Session(r)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := json.Marshal(s.Token); string(got) != payload {
			t.Errorf("Session.Token = %s, want %s", got, payload)
		}
	})), v.request("GET", "/", nil))
	if got := (namer{}).claims(d.heard.all()[0].(*gatebook.SessionEvent).Token); got != payload {
		t.Errorf("the event's token = %s, want %s", got, payload)
	}
	s, err := d.auth.Verify(context.Background(), v.cookies[sessionCookie])
	if err != nil {
		t.Fatal(err)
	}
	if iat, _ := gatebook.Claim[int64](*s.Token, "iat"); iat != noon.Unix() || s.Token.String("jti") == "mine" {
		t.Errorf("the cookie was not renewed: %s", namer{}.claims(s.Token))
	}
}

// A visitor who hangs up while the store is asked is no failure of ours.
func TestHangUpWhileReading(t *testing.T) {
	d := newDesk(t, nil)
	v := d.visitor()
	v.signIn()
	var hangUp context.CancelFunc
	v.ctx, hangUp = context.WithCancel(context.Background())
	hangUp()
	v.send(d.auth.Middleware(d.auth.Require(nothing)), v.request("GET", "/", nil))
	if d.log.String() != "" || !v.signedIn() {
		t.Errorf("log %q, signed in %v", d.log, v.signedIn())
	}
}
