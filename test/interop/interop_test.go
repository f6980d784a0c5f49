package interop

import (
	"slices"
	"strings"
	"testing"

	"github.com/gatebook/gatebook/adapter/memory"
	"github.com/gatebook/gatebook/test/oidcprovider"
)

// scenario is a story that both servers are told.
type scenario struct {
	// id is the number of the specification's scenario, with a name where there
	// are several: "13.xr".
	id    string
	what  string
	setup setup
	steps []step
}

// inBoth tells a story with token and with database sessions: two scenarios,
// ID.jwt and ID.database.
func inBoth(id, what string, s setup, steps []step) []scenario {
	s.Adapter = true
	var out []scenario
	for _, strategy := range []string{"jwt", "database"} {
		s.Session.Strategy = strategy
		out = append(out, scenario{id + "." + strategy, what, s, steps})
	}
	return out
}

func allScenarios() []scenario {
	return slices.Concat(routes(), callbackURLs(), sealedTokens(), storedSessions(), authorization(), callbacks(), users(), magicLinks(), typedIn(), events(), options(), passkeyScenarios())
}

// TestScenarios tells every story to Auth.js and to Gatebook.
func TestScenarios(t *testing.T) {
	w := newWorld(t)
	book := readNames(t)
	// The parallel scenarios end before what follows, which looks at all.
	t.Run("all", func(t *testing.T) {
		seen := map[string]bool{}
		for _, s := range allScenarios() {
			if seen[s.id] {
				t.Errorf("two scenarios have the id %s", s.id)
			}
			seen[s.id] = true
			t.Run(s.id, func(t *testing.T) {
				t.Parallel()
				book.compare(t, s, w.tell(t, s))
			})
		}
	})
	book.finish(t)
}

// world is what the scenarios share.
type world struct {
	plain, adapted, passkeys *node // Auth.js for sites without and with an adapter, and with passkeys
	op                       *oidcprovider.Provider
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{plain: startNode(t), adapted: startNode(t), passkeys: startNode(t), op: oidcprovider.Start(t,
		oidcprovider.Client{ID: client, Secret: clientSecret, RedirectURIs: []string{home + "/auth/callback/npm"}})}
}

// told is what both sides showed.
type told struct{ authjs, gatebook []shown }

func (w *world) tell(t *testing.T, s scenario) told {
	t.Helper()
	mock := newMock(t)
	s.setup = w.addresses(s.setup, mock)
	var out told
	out.authjs = w.walk(t, s, newAuthJS(t, w.node(s.setup), s.setup), mock)
	mock.reset()
	g, err := newGatebook(t, s.setup, memory.New())
	if err != nil {
		out.gatebook = w.walk(t, s, refusedSite{err}, mock)
		return out
	}
	out.gatebook = w.walk(t, s, g, mock)
	return out
}

// addresses fills in where the providers are, and the defaults.
func (w *world) addresses(s setup, mock *mockServer) setup {
	s = s.withDefaults()
	s.Providers = slices.Clone(s.Providers)
	for i := range s.Providers {
		p := &s.Providers[i]
		for _, address := range []*string{&p.Issuer, &p.AuthURL, &p.TokenURL, &p.UserinfoURL} {
			*address = strings.Replace(*address, "NPM", w.op.Issuer, 1)
			*address = strings.Replace(*address, "MOCK", mock.server.URL, 1)
		}
	}
	return s
}

// node is the process for a site.
func (w *world) node(s setup) *node {
	switch {
	case slices.ContainsFunc(s.Providers, func(p provider) bool { return p.Kind == "passkey" || p.Kind == "webauthn" }):
		return w.passkeys
	case s.Adapter:
		return w.adapted
	}
	return w.plain
}

// walk does a scenario's steps on one side.
func (w *world) walk(t *testing.T, s scenario, on side, mock *mockServer) []shown {
	t.Helper()
	v := &visitor{t: t, setup: s.setup, side: on, op: w.op, mock: mock, jars: map[string][]cookie{}}
	for _, st := range s.steps {
		n := len(v.records)
		st.do(v)
		for _, r := range v.records[n:] {
			if r.step == "" {
				r.step = st.label
			}
		}
	}
	return v.show()
}
