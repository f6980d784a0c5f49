package e2e_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/record"
	"github.com/gatebook/gatebook/test/oidcprovider"
)

// revocable is a site whose sessions can be ended, of both strategies.
func revocable(t *testing.T, fn func(*site)) {
	t.Helper()
	for _, strategy := range []string{gatebook.StrategyJWT, gatebook.StrategyDatabase} {
		t.Run(strategy, func(t *testing.T) {
			fn(newSite(t, strategy, func(c *gatebook.Config) {
				c.Session.Revocable = true
				// Without magic links accounts are all there is to sign in with.
				c.Providers = slices.DeleteFunc(c.Providers, func(p gatebook.Provider) bool { return p.Info().Type == gatebook.TypeEmail })
			}))
		})
	}
}

type account struct {
	User     struct{ ID string }
	Ways     []way
	Sessions []device
}

type way struct {
	Provider, ProviderAccountID string
	Removable                   bool
}

type device struct {
	SID, UserAgent string
	Current        bool
}

func (v *visitor) account() account {
	v.t.Helper()
	var a account
	if _, body := v.get(v.url + "/auth/account"); json.Unmarshal([]byte(body), &a) != nil || a.User.ID == "" {
		v.t.Fatalf("account = %s\n%s", body, v.log)
	}
	return a
}

func (v *visitor) csrf() string {
	v.t.Helper()
	var token struct{ CSRFToken string }
	if _, body := v.get(v.url + "/auth/csrf"); json.Unmarshal([]byte(body), &token) != nil {
		v.t.Fatalf("csrf = %s", body)
	}
	return token.CSRFToken
}

// submit posts a form and returns the status of the answer; it may be called
// from several goroutines.
func (v *visitor) submit(path string, form url.Values) int {
	res, err := v.client.PostForm(v.url+path, form)
	if err != nil {
		v.t.Error(err)
		return 0
	}
	res.Body.Close()
	return res.StatusCode
}

// TestDevices lists devices, ends one, and then all others, while those are in use.
func TestDevices(t *testing.T) {
	revocable(t, func(s *site) {
		t := s.t
		var all []*visitor
		for range 4 {
			v := s.visitor()
			v.signIn("first", oidcprovider.Ada)
			all = append(all, v)
		}
		stranger := s.visitor()
		stranger.signIn("first", oidcprovider.Grace)
		here := all[0]
		a := here.account()
		if len(a.Sessions) != 4 || !strings.HasPrefix(a.Sessions[0].UserAgent, "Go-http-client") {
			t.Fatalf("sessions %+v", a.Sessions)
		}
		// Requests are under way at the other devices the whole time.
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for _, v := range all[1:] {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					res, err := v.client.Get(v.url + "/auth/session")
					if err != nil {
						t.Error(err)
						return
					}
					res.Body.Close()
				}
			})
		}
		revoke := "/auth/account/sessions/revoke"
		sid := a.Sessions[slices.IndexFunc(a.Sessions, func(d device) bool { return !d.Current })].SID
		if got := stranger.submit(revoke, url.Values{"csrfToken": {stranger.csrf()}, "sid": {sid}}); got != http.StatusNotFound {
			t.Errorf("another user's session: %d, want 404", got)
		}
		if got := here.submit(revoke, url.Values{"csrfToken": {here.csrf()}, "sid": {sid}}); got != http.StatusOK {
			t.Errorf("revoke = %d\n%s", got, s.log)
		}
		if got := len(here.account().Sessions); got != 3 {
			t.Errorf("%d sessions are left, want 3", got)
		}
		if got := here.submit(revoke, url.Values{"csrfToken": {here.csrf()}, "scope": {"others"}}); got != http.StatusOK {
			t.Errorf("revoke = %d\n%s", got, s.log)
		}
		close(stop)
		wg.Wait()
		for i, v := range all {
			if got := v.session() != "null"; got != (i == 0) {
				t.Errorf("device %d is signed in: %v", i, got)
			}
		}
		if got := len(here.account().Sessions); got != 1 || stranger.session() == "null" {
			t.Errorf("%d sessions are left, want 1; the stranger's is %s", got, stranger.session())
		}
		if err := s.auth.Book().Drain(context.Background()); err != nil {
			t.Fatal(err)
		}
		entries, err := s.auth.Book().Read(context.Background(), book.Query{Filter: book.Filter{Types: []string{record.TypeSessionRevoked}}, Limit: 100})
		if err != nil || len(entries) != 2 {
			t.Fatalf("%d session.revoked in the book, %v", len(entries), err)
		}
	})
}

// TestUnlinkAtOnce removes both ways to sign in at once: one stays.
func TestUnlinkAtOnce(t *testing.T) {
	revocable(t, func(s *site) {
		t := s.t
		v := s.visitor()
		v.signIn("first", oidcprovider.Ada)
		for range 5 {
			for _, provider := range []string{"first", "second"} { // one of them is missing
				if !slices.ContainsFunc(v.account().Ways, func(w way) bool { return w.Provider == provider }) {
					v.signIn(provider, oidcprovider.Ada)
				}
			}
			a := v.account()
			if len(a.Ways) != 2 || !a.Ways[0].Removable || !a.Ways[1].Removable {
				t.Fatalf("ways %+v\n%s", a.Ways, s.log)
			}
			csrf := v.csrf()
			codes := make([]int, 2)
			var wg sync.WaitGroup
			for i, w := range a.Ways {
				wg.Go(func() {
					codes[i] = v.submit("/auth/account/unlink", url.Values{"csrfToken": {csrf},
						"provider": {w.Provider}, "providerAccountId": {w.ProviderAccountID}})
				})
			}
			wg.Wait()
			slices.Sort(codes)
			if !slices.Equal(codes, []int{200, 409}) || len(v.account().Ways) != 1 {
				t.Fatalf("answers %v, left are %+v", codes, v.account().Ways)
			}
		}
	})
}
