package nextjs_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook/authjs"
	"github.com/gatebook/gatebook/test/need"
	"github.com/gatebook/gatebook/test/nextjs"
)

const secret = "correct horse battery staple, 32 characters"

// visitor is a browser without scripts. It keeps the cookies of a secure site
// too when the test reaches that over http.
type visitor struct {
	t       *testing.T
	origin  string
	header  http.Header // sent with each request
	cookies map[string]string
}

func newVisitor(t *testing.T, origin string) *visitor {
	t.Helper()
	return &visitor{t: t, origin: origin, header: http.Header{}, cookies: map[string]string{}}
}

var client = &http.Client{Timeout: time.Minute,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// cookie returns the Cookie header.
func (v *visitor) cookie() string {
	var pairs []string
	for name, value := range v.cookies {
		pairs = append(pairs, name+"="+value)
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "; ")
}

// keep takes the cookies of an answer.
func (v *visitor) keep(res *http.Response) {
	for _, c := range res.Cookies() {
		if c.MaxAge < 0 || !c.Expires.IsZero() && c.Expires.Before(time.Now()) {
			delete(v.cookies, c.Name)
		} else {
			v.cookies[c.Name] = c.Value
		}
	}
}

// answer is a response with its body read.
type answer struct {
	*http.Response
	body string
}

func (v *visitor) do(method, path, contentType, body string) *answer {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), method, v.origin+path, strings.NewReader(body))
	if err != nil {
		v.t.Fatal(err)
	}
	for name, values := range v.header {
		r.Header[name] = values
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	r.Header.Set("Cookie", v.cookie())
	res, err := client.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	v.keep(res)
	return &answer{res, string(b)}
}

func (v *visitor) get(path string) *answer {
	v.t.Helper()
	return v.do("GET", path, "", "")
}

// csrf returns the CSRF token.
func (v *visitor) csrf() string {
	v.t.Helper()
	var body struct{ CSRFToken string }
	if err := json.Unmarshal([]byte(v.get("/api/auth/csrf").body), &body); err != nil || body.CSRFToken == "" {
		v.t.Fatalf("no CSRF token: %v", err)
	}
	return body.CSRFToken
}

// signIn signs in with a user name, as the form of the sign-in page does.
func (v *visitor) signIn(name string) {
	v.t.Helper()
	v.post("/api/auth/callback/credentials", url.Values{"csrfToken": {v.csrf()}, "username": {name}, "password": {"right"}})
	if got := v.session(); got == "null" {
		v.t.Fatalf("%s is not signed in", name)
	}
}

func (v *visitor) post(path string, form url.Values) *answer {
	v.t.Helper()
	return v.do("POST", path, "application/x-www-form-urlencoded", form.Encode())
}

// session returns what the session route says, without its expiry.
func (v *visitor) session() string {
	v.t.Helper()
	return noExpiry(v.t, v.get("/api/auth/session").body)
}

func noExpiry(t *testing.T, body string) string {
	t.Helper()
	var s map[string]any
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		t.Fatalf("no session: %s: %v", body, err)
	}
	if s == nil {
		return "null"
	}
	if _, err := time.Parse(time.RFC3339, s["expires"].(string)); err != nil {
		t.Errorf("expires: %v", err)
	}
	delete(s, "expires")
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// reader returns a Reader for the secret.
func reader(t *testing.T, secrets ...authjs.Secret) *authjs.Reader {
	t.Helper()
	rd, err := authjs.NewReader(authjs.Config{Secrets: secrets})
	if err != nil {
		t.Fatal(err)
	}
	return rd
}

// The libraries themselves make tokens, in every way in which they keep one.
func TestTokensOfTheLibraries(t *testing.T) {
	node := need.Node(t)
	need.Nextjs(t)
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), node, "tokens.mjs", secret)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tokens.mjs: %v\n%s", err, stderr.Bytes())
	}
	rd := reader(t, "a newer secret", secret)
	lines, n := bufio.NewScanner(bytes.NewReader(out)), 0
	lines.Buffer(nil, 1<<20)
	for ; lines.Scan(); n++ {
		var made struct {
			Name, Cookie, Token string
			Version             int
			Claims              json.RawMessage // as the library decodes them; null if it refuses
		}
		if err := json.Unmarshal(lines.Bytes(), &made); err != nil {
			t.Fatal(err)
		}
		for _, header := range []http.Header{
			{"Cookie": {made.Cookie}},
			{"Authorization": {"Bearer " + made.Token}},
			{"Authorization": {"Bearer " + url.PathEscape(made.Token)}},
		} {
			s, err := rd.Session(&http.Request{Header: header})
			if string(made.Claims) == "null" {
				if err == nil {
					t.Errorf("%s: the library refuses what the Reader takes for %+v", made.Name, s)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", made.Name, err)
				continue
			}
			var got, want any
			b, err := json.Marshal(s.Token)
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(b, &got); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(made.Claims, &want); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got); d != "" || s.Version != made.Version || s.User.ID != "42" {
				t.Errorf("%s: version %d, claims (-library +Reader):\n%s", made.Name, s.Version, d)
			}
		}
	}
	if err := lines.Err(); err != nil || n != 28 {
		t.Errorf("%d tokens, %v", n, err)
	}
}

// A service with nothing but the secret reads whom the application has signed in.
func TestReader(t *testing.T) {
	app := nextjs.Start(t, "AUTH_SECRET="+secret)
	rd := reader(t, secret)
	for _, scheme := range []string{"http", "https"} {
		for _, person := range []struct{ login, id, email, role string }{
			{"ada", "1", "ada@example.com", "admin"},
			{"grace", "3", "grace@example.com", "admiral"}, // in chunks
		} {
			t.Run(scheme+" "+person.login, func(t *testing.T) {
				v := newVisitor(t, app)
				v.header.Set("X-Forwarded-Proto", scheme)
				v.signIn(person.login)
				header := http.Header{"Cookie": {v.cookie()}}
				s, err := rd.Session(&http.Request{Header: header})
				if err != nil {
					t.Fatal(err)
				}
				role, _ := authjs.Claim[string](s.Token, "role")
				if s.User.ID != person.id || s.User.Email != person.email || role != person.role || s.Version != 5 || time.Until(s.Expires) < 29*24*time.Hour {
					t.Errorf("Session = %+v, role %q", s, role)
				}
				if secure := strings.Contains(header.Get("Cookie"), "__Secure-authjs.session-token"); secure != (scheme == "https") {
					t.Errorf("cookies of %s: %.200s", scheme, header.Get("Cookie"))
				}
				if chunked := strings.Contains(header.Get("Cookie"), "session-token.1="); chunked != (person.login == "grace") {
					t.Errorf("cookies of %s: %.200s", person.login, header.Get("Cookie"))
				}
			})
		}
	}
}
