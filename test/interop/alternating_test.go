package interop

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook/adapter/memory"
)

// alternating is one site that both servers serve in turn, request by request,
// with the same secret and the same store: a cut-over that never ends.
type alternating struct {
	sides [2]side
	next  int // who serves the next request
}

// turn lets the other server serve from now on.
func (a *alternating) turn() { a.next = 1 - a.next }

func (a *alternating) address() string       { return a.sides[a.next].address() }
func (a *alternating) label(r *http.Request) { a.sides[a.next].label(r) }

func (a *alternating) behave(t *testing.T, d does) {
	t.Helper()
	a.sides[0].behave(t, d)
	a.sides[1].behave(t, d)
}

// seed fills the store that both have; the second side is Gatebook.
func (a *alternating) seed(t *testing.T, r rows) {
	t.Helper()
	a.sides[1].seed(t, r)
}

func (a *alternating) take(t *testing.T) []call {
	t.Helper()
	return append(a.sides[0].take(t), a.sides[1].take(t)...)
}

// stories are those that Auth.js and Gatebook tell together.
func stories() []scenario {
	session := get("/auth/session")
	out := post("/auth/signout", "csrfToken=$csrf")
	update := postJSON("/auth/session", `{"csrfToken":"$csrf","data":{"role":"admin"}}`)
	all := setup{Providers: []provider{npm, acme, mail, passwords}, Does: does{JWT: "merge"}}
	known := knows(rows{Users: []userRow{ada}, Accounts: []accountRow{npmAccount("u-ada", "ada")}})
	keys := setup{Providers: []provider{passkeys}}
	answer, ceremony := authenticates("csrfToken=$csrf"), passkeyOptions("email=ada@example.com")
	ask := post("/auth/signin/email", "csrfToken=$csrf&email=ada@example.com&callbackUrl=/there")
	return slices.Concat(
		inBoth("83.oidc", "a new user at npm's provider", all, steps(signIn("ada"), session, update, session, out, session)),
		inBoth("83.oauth", "a new user of an OAuth provider", all, steps(signInAt("acme"), session, session, out, session)),
		inBoth("83.known", "a known user who links another account", all, steps(known, signIn("ada"), signInAt("acme"), session, out, signInAt("acme"), session)),
		inBoth("83.email", "a magic link", all, steps(ask, click(), session, session, out, ask, click(), session, update, out)),
		inBoth("83.passkey", "a passkey", keys, steps(newAuthenticator(), ceremony, registers("csrfToken=$csrf"), session, out,
			ceremony, answer, session, out, ceremony, answer, session, out)),
		inBoth("83.refused", "attempts that fail", all, steps(known, post("/auth/signin/acme", "csrfToken=$csrf"), back("acme", "code=$code&state=$state"),
			click0(), post("/auth/signin/acme", "csrfToken=$csrf"), back("acme", "error=access_denied&state=$state"), session)),
		[]scenario{
			{"43", "a row of the other's", setup{Adapter: true, Providers: []provider{acme}}, steps(signInAt("acme"), session, session, signInAt("acme"), session)},
			{"83.credentials", "credentials", setup{}, steps(typed("right"), session, session, update, out, session)},
			{"83.chunks", "a token of several cookies", setup{Does: does{JWT: "big 6000"}}, steps(typed("right"), session, session, behaves(does{JWT: "small"}), session, session, out)},
			{"29.secure", "a site known by https", setup{Origin: "https://app.example"}, steps(typed("right"), session, session, out, session)},
			{"29", "tokens of the other", setup{Does: does{JWT: "role", Session: "role"}}, steps(typed("right"), session, session, session)},
			{"30.both", "several secrets", setup{Secrets: []string{"new " + secret, secret}}, steps(typed("right"), session, session, out)},
			{"83.pages", "pages and their forms", setup{}, steps(get("/auth/signin"), typed("wrong"), get("/auth/signin?error=CredentialsSignin"), typed("right"), get("/auth/signout"), out)},
			{"83.base", "another base path", setup{BasePath: "/api/auth"}, steps(get("/api/auth/csrf"), get("/api/auth/csrf"), post("/api/auth/signin/acme", "csrfToken=$csrf"), get("/api/auth/session"))},
		},
	)
}

// click0 opens a link that nobody sent.
func click0() step { return get("/auth/callback/email?token=x&email=ada@example.com") }

// TestAlternating tells each story to Auth.js alone, then to both in turn,
// beginning with either, and wants the same to come of it: the same statuses,
// redirects, JSON and pages. The cookies, tokens, states, CSRF tokens, links and
// sessions of one are thus used at the other.
func TestAlternating(t *testing.T) {
	w := newWorld(t)
	t.Run("all", func(t *testing.T) {
		// The token is there already, so that each request after another is for the
		// other server.
		token := step{"", func(v *visitor) { v.token() }}
		for _, s := range stories() {
			t.Run(s.id, func(t *testing.T) {
				t.Parallel()
				s.steps = append([]step{token}, s.steps...)
				mock := newMock(t)
				s.setup = w.addresses(s.setup, mock)
				alone := outcomes(w.walk(t, s, newAuthJS(t, w.node(s.setup), s.setup), mock))
				for first, name := range []string{"Auth.js", "Gatebook"} {
					mock.reset()
					a := w.together(t, s.setup)
					a.next = 1 - first // send takes turns before it sends
					got := outcomes(w.walk(t, s, a, mock))
					if diff := cmp.Diff(alone, got); diff != "" {
						t.Errorf("%s, beginning with %s (-Auth.js alone +both in turn):\n%s", s.what, name, diff)
					}
				}
			})
		}
	})
}

// together makes a site of both, with one store.
func (w *world) together(t *testing.T, s setup) *alternating {
	t.Helper()
	store := memory.New()
	s.Store = newSharedStore(t, store)
	g, err := newGatebook(t, s, store)
	if err != nil {
		t.Fatal(err)
	}
	return &alternating{sides: [2]side{newAuthJS(t, w.node(s), s), g}}
}

var outcome = regexp.MustCompile(`^(status|location|body|title|form|  input|  button) `)

// outcomes are what a visitor sees of each step.
func outcomes(all []shown) []string {
	var out []string
	for _, s := range all {
		out = append(out, s.step)
		for _, line := range s.lines {
			if outcome.MatchString(line) {
				out = append(out, strings.TrimSpace(line))
			}
		}
	}
	return out
}
