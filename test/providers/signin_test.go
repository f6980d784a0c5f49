package providers_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/provider/catalog"
	"github.com/gatebook/gatebook/record"
	"github.com/gatebook/gatebook/test/providers"
)

func applePEM(t *testing.T) gatebook.Secret {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(providers.AppleKey())
	if err != nil {
		t.Fatal(err)
	}
	return gatebook.Secret(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// ids returns the ids of the catalog, which must be those that are known here.
func ids(t *testing.T) []string {
	t.Helper()
	known := slices.Sorted(maps.Keys(providers.All()))
	if diff := cmp.Diff(known, catalog.IDs()); diff != "" {
		t.Errorf("the catalog has other providers than are known here (-here +catalog):\n%s", diff)
	}
	return known
}

// TestSignIn signs Ada in for the first time and once more, at every provider
// and with both kinds of session.
func TestSignIn(t *testing.T) {
	for _, id := range ids(t) {
		t.Run(id, func(t *testing.T) {
			for _, strategy := range []string{gatebook.StrategyJWT, gatebook.StrategyDatabase} {
				t.Run(strategy, func(t *testing.T) { signInTwice(t, id, strategy) })
			}
		})
	}
}

func signInTwice(t *testing.T, id, strategy string) {
	t.Helper()
	idp, p := start(t, id, nil)
	s := newSite(t, p, strategy)
	if to := s.newBrowser(t).signIn(idp, id, providers.Consent); to != origin+"/home" {
		t.Fatalf("the sign-in leads to %q\n%s", to, &s.log)
	}
	want := idp.Want
	found, err := s.store.Find(t.Context(), gatebook.Query{Account: gatebook.AccountKey{Provider: id, ProviderAccountID: want.AccountID}})
	if err != nil || found.ByAccount == nil {
		t.Fatalf("there is no account %s at %s: %v", want.AccountID, id, err)
	}
	user := found.ByAccount.User
	if diff := cmp.Diff(gatebook.User{ID: user.ID, Name: want.Name, Email: want.Email, Image: want.Image}, user); diff != "" {
		t.Errorf("user (-want +got):\n%s", diff)
	}
	types, events := s.heard()
	if diff := cmp.Diff([]string{record.TypeCreateUser, record.TypeLinkAccount, record.TypeSignIn}, types); diff != "" {
		t.Fatalf("events (-want +got):\n%s", diff)
	}
	checkAccount(t, s, idp, id, user.ID, events)

	// A second time, without what comes at the first consent only.
	idp.User = nil
	if to := s.newBrowser(t).signIn(idp, id, providers.Consent); to != origin+"/home" {
		t.Fatalf("the second sign-in leads to %q\n%s", to, &s.log)
	}
	types, events = s.heard()
	if diff := cmp.Diff([]string{record.TypeSignIn}, types); diff != "" {
		t.Fatalf("events of the second sign-in (-want +got):\n%s", diff)
	}
	again := events[0].(*gatebook.SignInEvent)
	if again.User.ID != user.ID || again.User.Name != want.Name || *again.IsNewUser {
		t.Errorf("the second sign-in is of %+v, new %v", again.User, *again.IsNewUser)
	}
}

// checkAccount compares the account's row and the events' account with the token
// reply that the provider gave.
func checkAccount(t *testing.T, s *site, idp *providers.Emulator, id, userID string, events []gatebook.Event) {
	t.Helper()
	accounts, err := s.store.Accounts(context.Background(), userID)
	if err != nil || len(accounts) != 1 {
		t.Fatalf("the user has %d accounts, error %v", len(accounts), err)
	}
	row := accounts[0]
	kind := gatebook.TypeOAuth
	if idp.OpenID {
		kind = gatebook.TypeOIDC
	}
	if row.Type != kind || row.TokenType != "bearer" || row.UserID != userID {
		t.Errorf("account is of type %q with token_type %q, user %q", row.Type, row.TokenType, row.UserID)
	}
	in := events[2].(*gatebook.SignInEvent)
	if !strings.HasPrefix(string(in.Account.AccessToken), "at-") || (in.Account.IDToken != "") != idp.OpenID {
		t.Error("the event's account has not the reply's tokens")
	}
	if want, _ := idp.TokenReply["refresh_token"].(string); string(in.Account.RefreshToken) != want {
		t.Error("the event's account has not the reply's refresh token")
	}
	if want, ok := idp.TokenReply["scope"].(string); ok && row.Scope != want {
		t.Errorf("scope = %q, want the reply's %q", row.Scope, want)
	}
	if want, ok := idp.TokenReply["session_state"].(string); ok && row.SessionState != want {
		t.Errorf("session_state = %q, want %q", row.SessionState, want)
	}
	if in.Profile == nil || in.Profile.Has("data") != (idp.Envelope != "") || in.Profile.Has("id") == in.Profile.Has("sub") && idp.Envelope == "" {
		t.Error("the event's profile is not the provider's")
	}
	created := events[0].(*gatebook.CreateUserEvent)
	if created.SignInInfo == nil || created.SignInInfo.Provider != id || *in.IsNewUser != true || in.Auth.Method != kind {
		t.Errorf("the user was created by %+v; sign-in %+v", created.SignInInfo, in.Auth)
	}
	linked := events[1].(*gatebook.LinkAccountEvent)
	if linked.Profile.Email != idp.Want.Email || linked.Profile.Name != idp.Want.Name {
		t.Errorf("the linked profile is %+v", linked.Profile)
	}
}

// TestLinking meets a user who has Ada's address already: whether her account is
// linked is the provider's word on the address, and the application's leave.
func TestLinking(t *testing.T) {
	for _, id := range ids(t) {
		t.Run(id, func(t *testing.T) {
			for _, leave := range []bool{true, false} {
				idp, p := start(t, id, func(c *catalog.Client) { c.LinkByVerifiedEmail = leave })
				if idp.Want.Email == "" {
					return
				}
				s := newSite(t, p, gatebook.StrategyDatabase)
				user := gatebook.User{ID: "u1", Name: "Ada", Email: idp.Want.Email}
				if err := s.store.Commit(t.Context(), &gatebook.Act{Writes: []gatebook.Write{gatebook.CreateUser{User: user, Subject: record.NewKey()}}}); err != nil {
					t.Fatal(err)
				}
				to := s.newBrowser(t).signIn(idp, id, providers.Consent)
				types, events := s.heard()
				if leave && idp.Want.Verified {
					if want := []string{record.TypeLinkAccount, record.TypeSignIn}; to != origin+"/home" || !slices.Equal(types, want) {
						t.Errorf("with a verified address the sign-in leads to %q with %v", to, types)
					}
					continue
				}
				if !strings.HasSuffix(to, "?error=OAuthAccountNotLinked") || !slices.Equal(types, []string{record.TypeSignInFailed}) {
					t.Fatalf("the sign-in leads to %q with %v", to, types)
				}
				if reason := events[0].Meta().Reason; reason != record.ReasonAccountNotLinked {
					t.Errorf("reason = %q", reason)
				}
			}
		})
	}
}

// TestDenied has the person say no on the provider's page.
func TestDenied(t *testing.T) {
	for _, id := range ids(t) {
		t.Run(id, func(t *testing.T) {
			idp, p := start(t, id, nil)
			s := newSite(t, p, gatebook.StrategyJWT)
			to := s.newBrowser(t).signIn(idp, id, providers.Deny)
			if !strings.HasSuffix(to, "/auth/signin?error=OAuthCallbackError") {
				t.Errorf("a denied sign-in leads to %q", to)
			}
			types, events := s.heard()
			if !slices.Equal(types, []string{record.TypeSignInFailed}) || events[0].Meta().Reason != record.ReasonProviderDenied {
				t.Errorf("events %v, reason %q", types, events[0].Meta().Reason)
			}
			if idp.LastToken != nil {
				t.Error("a token was asked for")
			}
		})
	}
}

// TestWrongSecret has a client secret that the provider does not know.
func TestWrongSecret(t *testing.T) {
	codes := map[string]string{"github": "incorrect_client_credentials", "slack": "bad_client_secret", "facebook": "1"}
	for _, id := range ids(t) {
		t.Run(id, func(t *testing.T) {
			idp, p := start(t, id, func(c *catalog.Client) {
				if c.SecretKey == nil {
					c.Secret = "another"
				} else {
					c.SecretKey.TeamID = "TEAM000000"
				}
			})
			s := newSite(t, p, gatebook.StrategyJWT)
			wantFailed(t, s, s.newBrowser(t).signIn(idp, id, providers.Consent), record.ReasonProviderError)
			code := codes[id]
			if code == "" {
				code = "invalid_client"
			}
			if !strings.Contains(s.log.String(), "providerError: "+code) {
				t.Errorf("the log does not name the provider's code %s:\n%s", code, &s.log)
			}
		})
	}
}

// wantFailed fails the test unless the sign-in came to the error page and to one
// signIn.failed for the reason.
func wantFailed(t *testing.T, s *site, to, reason string) {
	t.Helper()
	if !strings.HasSuffix(to, "/auth/error?error=Configuration") {
		t.Errorf("the sign-in leads to %q", to)
	}
	types, events := s.heard()
	last := len(types) - 1
	if last < 0 || types[last] != record.TypeSignInFailed || events[last].Meta().Reason != reason {
		t.Fatalf("events %v, want one signIn.failed for %s", types, reason)
	}
	for _, typ := range types[:last] {
		if typ != record.TypeCheckFailed {
			t.Errorf("events %v", types)
		}
	}
}

// TestCodeReuse brings a code that somebody else has used already, with a good
// state: the provider refuses it, and nobody is signed in.
func TestCodeReuse(t *testing.T) {
	for _, id := range ids(t) {
		t.Run(id, func(t *testing.T) {
			idp, p := start(t, id, nil)
			s := newSite(t, p, gatebook.StrategyJWT)
			ada, mallory := s.newBrowser(t), s.newBrowser(t)
			used, err := idp.Visit(ada.begin(id), providers.Consent)
			if err != nil {
				t.Fatal(err)
			}
			ada.comeBack(used)
			s.heard()
			fresh, err := idp.Visit(mallory.begin(id), providers.Consent)
			if err != nil {
				t.Fatal(err)
			}
			mallory.t = t
			wantFailed(t, s, mallory.comeBack(withCode(t, fresh, used)).Header.Get("Location"), record.ReasonProviderError)
			for name := range mallory.jar {
				if strings.Contains(name, "session-token") {
					t.Error("there is a session")
				}
			}
		})
	}
}

// withCode returns the reply with the code of another.
func withCode(t *testing.T, r, other *providers.Reply) *providers.Reply {
	t.Helper()
	if r.Form != nil {
		out := maps.Clone(r.Form)
		out.Set("code", other.Form.Get("code"))
		return &providers.Reply{URL: r.URL, Form: out}
	}
	u, err := url.Parse(r.URL)
	if err != nil {
		t.Fatal(err)
	}
	o, err := url.Parse(other.URL)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("code", o.Query().Get("code"))
	u.RawQuery = q.Encode()
	return &providers.Reply{URL: u.String()}
}

// TestInjectedCode brings Mallory's code, not used yet, with Ada's state (RFC
// 9700, Section 4.5): PKCE or the nonce must give it away. LinkedIn knows
// neither.
func TestInjectedCode(t *testing.T) {
	for _, id := range ids(t) {
		t.Run(id, func(t *testing.T) {
			idp, p := start(t, id, nil)
			if id == "linkedin" {
				if diff := cmp.Diff([]string{"state"}, p.(gatebook.RedirectProvider).Checks()); diff != "" {
					t.Errorf("checks (-want +got):\n%s", diff)
				}
				return
			}
			s := newSite(t, p, gatebook.StrategyJWT)
			ada, mallory := s.newBrowser(t), s.newBrowser(t)
			his, err := idp.Visit(mallory.begin(id), providers.Consent)
			if err != nil {
				t.Fatal(err)
			}
			hers, err := idp.Visit(ada.begin(id), providers.Consent)
			if err != nil {
				t.Fatal(err)
			}
			reason := record.ReasonProviderError
			if !slices.Contains(p.(gatebook.RedirectProvider).Checks(), "pkce") {
				reason = record.ReasonNonceMismatch
			}
			wantFailed(t, s, ada.comeBack(withCode(t, hers, his)).Header.Get("Location"), reason)
		})
	}
}

// TestUnregisteredRedirectURI is at a site that has another address than the one
// that was registered: the provider's page says so.
func TestUnregisteredRedirectURI(t *testing.T) {
	for _, id := range ids(t) {
		t.Run(id, func(t *testing.T) {
			idp, p := start(t, id, nil)
			for _, uri := range []string{origin + "/auth/callback/" + id + "/", origin + "/api/auth/callback/" + id, "http://app.example.com/auth/callback/" + id} {
				idp.Client.RedirectURI = uri
				if _, err := idp.Visit(newSite(t, p, gatebook.StrategyJWT).newBrowser(t).begin(id), providers.Consent); err == nil {
					t.Errorf("registered %s, and another was taken", uri)
				}
			}
		})
	}
}

// TestEmulatorsRefuse changes good requests one at a time, so that what the tests
// above pass is known to be strict.
func TestEmulatorsRefuse(t *testing.T) {
	for _, id := range ids(t) {
		t.Run(id, func(t *testing.T) {
			idp, p := start(t, id, nil)
			good, err := url.Parse(newSite(t, p, gatebook.StrategyJWT).newBrowser(t).begin(id))
			if err != nil {
				t.Fatal(err)
			}
			for name, change := range map[string]func(url.Values){
				"another client":     func(q url.Values) { q.Set("client_id", "other") },
				"implicit":           func(q url.Values) { q.Set("response_type", "token") },
				"scopes with commas": func(q url.Values) { q.Set("scope", strings.ReplaceAll(q.Get("scope")+" "+idp.Scopes[0], " ", ",")) },
				"unknown scope":      func(q url.Values) { q.Set("scope", q.Get("scope")+" admin") },
				"plain PKCE":         func(q url.Values) { q.Set("code_challenge", "x"); q.Set("code_challenge_method", "plain") },
			} {
				q := good.Query()
				change(q)
				wantRefusal(t, idp, name, good, q)
			}
			for name, needed := range map[string]bool{"code_challenge": idp.PKCENeeded, "state": idp.StateNeeded,
				"response_mode": idp.Params["response_mode"] != "", "scope": true} {
				if q := good.Query(); needed {
					q.Del(name)
					wantRefusal(t, idp, "without "+name, good, q)
				}
			}
			if idp.HTTPSOnly {
				q := good.Query()
				idp.Client.RedirectURI = "http://localhost/callback"
				q.Set("redirect_uri", idp.Client.RedirectURI)
				wantRefusal(t, idp, "http", good, q)
			}
		})
	}
}

func wantRefusal(t *testing.T, idp *providers.Emulator, name string, good *url.URL, q url.Values) {
	t.Helper()
	u := *good
	u.RawQuery = q.Encode()
	reply, err := idp.Visit(u.String(), providers.Consent)
	if err != nil {
		return
	}
	out := reply.Form
	if out == nil {
		back, err := url.Parse(reply.URL)
		if err != nil {
			t.Fatal(err)
		}
		out = back.Query()
	}
	if out.Get("error") == "" || out.Get("code") != "" {
		t.Errorf("%s: the provider takes it", name)
	}
}

// TestEmulatorsRefuseTokens sends good token requests with one thing changed.
func TestEmulatorsRefuseTokens(t *testing.T) {
	for _, id := range ids(t) {
		t.Run(id, func(t *testing.T) {
			idp, _ := start(t, id, nil)
			for name, change := range map[string]func(*http.Request, url.Values){
				"another redirect URI": func(_ *http.Request, f url.Values) { f.Set("redirect_uri", origin) },
				"another verifier":     func(_ *http.Request, f url.Values) { f.Set("code_verifier", "another") },
				"another grant":        func(_ *http.Request, f url.Values) { f.Set("grant_type", "password") },
				"another code":         func(_ *http.Request, f url.Values) { f.Set("code", "another") },
				"nobody": func(r *http.Request, f url.Values) {
					r.Header.Del("Authorization")
					f.Del("client_secret")
				},
				"GET": func(r *http.Request, _ url.Values) { r.Method = http.MethodGet },
				"JSON": func(r *http.Request, _ url.Values) {
					r.Header.Set("Content-Type", "application/json")
				},
				"two secrets": func(r *http.Request, f url.Values) {
					r.SetBasicAuth(client, secret)
					f.Set("client_id", client)
					f.Set("client_secret", secret)
				},
			} {
				tampered := &tamper{idp: idp, at: idp.Token, change: change}
				_, p := startWith(t, id, tampered)
				s := newSite(t, p, gatebook.StrategyJWT)
				to := s.newBrowser(t).signIn(idp, id, providers.Consent)
				if !tampered.done {
					t.Fatalf("%s: no token was asked for", name)
				}
				if to == origin+"/home" {
					t.Errorf("%s: the provider takes it", name)
				}
			}
			if slices.Contains(idp.ClientAuth, "basic") != slices.Contains(idp.ClientAuth, "post") {
				auth := gatebookAuth[slices.Contains(idp.ClientAuth, "basic")]
				idp, p := start(t, id, func(c *catalog.Client) { c.Auth = auth })
				if to := newSite(t, p, gatebook.StrategyJWT).newBrowser(t).signIn(idp, id, providers.Consent); to == origin+"/home" {
					t.Errorf("the provider takes %s", auth)
				}
			}
		})
	}
}

// TestEmulatorsRefuseProfiles sends good requests for the profile with one thing
// changed, and looks for what is missing then.
func TestEmulatorsRefuseProfiles(t *testing.T) {
	for _, id := range ids(t) {
		t.Run(id, func(t *testing.T) {
			idp, _ := start(t, id, nil)
			if idp.OpenID {
				return // the profile is in the ID token
			}
			changes := map[string]func(*http.Request, url.Values){
				"another token": func(r *http.Request, _ url.Values) { r.Header.Set("Authorization", "Bearer other") },
				"another scheme": func(r *http.Request, _ url.Values) {
					r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "Bearer", "token", 1))
				},
				"token in the query": func(r *http.Request, _ url.Values) {
					token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
					r.Header.Del("Authorization")
					r.URL.RawQuery = url.Values{"access_token": {token}}.Encode()
				},
				"POST": func(r *http.Request, _ url.Values) { r.Method = http.MethodPost },
			}
			if idp.UserAgentNeeded {
				changes["no User-Agent"] = func(r *http.Request, _ url.Values) { r.Header.Del("User-Agent") }
			}
			for name, change := range changes {
				tampered := &tamper{idp: idp, at: idp.Userinfo, change: change}
				_, p := startWith(t, id, tampered)
				s := newSite(t, p, gatebook.StrategyJWT)
				to := s.newBrowser(t).signIn(idp, id, providers.Consent)
				if !tampered.done {
					t.Fatalf("%s: no profile was asked for", name)
				}
				wantFailed(t, s, to, record.ReasonProviderError)
			}
			if idp.FieldsParam == "" {
				return
			}
			_, p := startWith(t, id, &tamper{idp: idp, at: idp.Userinfo, change: func(r *http.Request, _ url.Values) { r.URL.RawQuery = "" }})
			s := newSite(t, p, gatebook.StrategyJWT)
			s.newBrowser(t).signIn(idp, id, providers.Consent)
			found, err := s.store.Find(t.Context(), gatebook.Query{Account: gatebook.AccountKey{Provider: id, ProviderAccountID: idp.Want.AccountID}})
			if err != nil || found.ByAccount == nil || found.ByAccount.User.Image != "" {
				t.Errorf("fields are given unasked: %+v, error %v", found.ByAccount, err)
			}
		})
	}
}
