package gatebooktest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/gatebooktest"
	"github.com/gatebook/gatebook/provider/credentials"
)

// These tests are the manual: docs/test-your-handlers.md shows them, and a test
// keeps it so.

func TestWelcome(t *testing.T) {
	var welcomed string
	site := gatebooktest.New(t, gatebook.Config{Events: gatebook.Events{
		CreateUser: func(_ context.Context, e *gatebook.CreateUserEvent) error { welcomed = e.User.Email; return nil }}})
	site.SignIn(gatebook.User{Email: "ada@example.com"})
	site.Want("createUser", "signIn")
	if welcomed != "ada@example.com" {
		t.Errorf("welcomed %q", welcomed)
	}
}

func TestOrders(t *testing.T) {
	site := gatebooktest.New(t, gatebook.Config{})
	site.Mux.Handle("/orders", site.Auth.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := site.Auth.Session(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		io.WriteString(w, "orders of "+s.User.Name)
	})))
	client := site.SignIn(gatebook.User{Name: "Ada"})
	res, err := client.Get(site.URL + "/orders")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || string(body) != "orders of Ada" {
		t.Errorf("%q, %v", body, err)
	}
}

func TestAudit(t *testing.T) {
	down := errors.New("the audit service is down")
	site := gatebooktest.New(t, gatebook.Config{Events: gatebook.Events{
		SignOut: func(context.Context, *gatebook.SignOutEvent) error { return down }}})
	if err := site.Fire(&gatebook.SignOutEvent{}); !errors.Is(err, down) {
		t.Errorf("the handler returned %v", err)
	}
	site.Want("handler.failed", "signOut")
}

func TestDisk(t *testing.T) {
	site := gatebooktest.New(t, gatebook.Config{})
	site.Mux.Handle("/orders", site.Auth.Require(http.NotFoundHandler()))
	client := site.SignIn(gatebook.User{Name: "Ada"})
	site.Fail("session")
	res, err := client.Get(site.URL + "/orders")
	if err != nil {
		t.Fatal(err)
	}
	if res.Body.Close(); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("status %d; it must not look like signed out", res.StatusCode)
	}
}

func TestStaff(t *testing.T) {
	idp := gatebooktest.NewOpenID(t)
	site := gatebooktest.New(t, gatebook.Config{
		Providers: []gatebook.Provider{idp.Provider("acme")},
		Callbacks: gatebook.Callbacks{SignIn: func(_ context.Context, s *gatebook.SignInAttempt) error {
			if !strings.HasSuffix(s.User.Email, "@acme.example") {
				return gatebook.Deny("staffOnly")
			}
			return nil
		}}})
	site.Post(site.Client(), "/auth/signin/acme", nil)
	site.Want("signIn.failed")
	idp.Person(map[string]any{"sub": "grace", "email": "grace@acme.example"})
	site.Post(site.Client(), "/auth/signin/acme", nil)
	site.Want("createUser", "linkAccount", "signIn")
}

func TestPassword(t *testing.T) {
	passwords, err := credentials.New(credentials.Config{
		Authorize: func(_ context.Context, typed map[string]string, _ *http.Request) (*gatebook.User, error) {
			return nil, gatebook.ErrBadCredentials
		}})
	if err != nil {
		t.Fatal(err)
	}
	site := gatebooktest.New(t, gatebook.Config{Providers: []gatebook.Provider{passwords}})
	site.Post(site.Client(), "/auth/callback/credentials", url.Values{"email": {"ada@example.com"}, "password": {"guess"}})
	site.Want("signIn.failed")
	if failed := gatebooktest.Last[*gatebook.SignInFailedEvent](site); failed.Reason != "badCredentials" || failed.Target != "ada@example.com" {
		t.Errorf("%s for %q", failed.Reason, failed.Target)
	}
}
