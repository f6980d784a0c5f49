// Package oidcprovider starts npm's oidc-provider for interop tests: an OpenID
// provider that is not ours and not written in Go, over real HTTP on a
// loopback port. It knows two people, Ada and Grace, and one client.
//
// A test starts it with the client's redirect URIs, gives Issuer to the
// program under test, and walks a visitor through it:
//
//	op := oidcprovider.Start(t, oidcprovider.Client{ID: "app", Secret: "…", RedirectURIs: uris})
//	callback := op.SignIn(t, visitor, authorizationURL, oidcprovider.Ada)
//
// The provider insists on PKCE, signs ID tokens with RS256, and keeps all it
// knows in memory.
package oidcprovider

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatebook/gatebook/test/need"
)

// Account is a person the provider knows, named by the subject (`sub`).
type Account string

// The people the provider knows. Ada's e-mail address is verified, Grace's is
// not.
const (
	Ada   Account = "ada"   // Ada Lovelace, ada@example.com
	Grace Account = "grace" // Grace Hopper, grace@example.com
)

// Client is the relying party that the provider knows.
type Client struct {
	ID     string `json:"id"`
	Secret string `json:"secret,omitempty"`
	// Auth is the method by which it proves who it is (RFC 7591, Section 2,
	// token_endpoint_auth_method). If empty, client_secret_basic.
	Auth string `json:"auth,omitempty"`
	// Keys is its JWK Set, for private_key_jwt.
	Keys json.RawMessage `json:"keys,omitempty"`
	// IDTokenAlg is the algorithm of its ID tokens. If empty, RS256.
	IDTokenAlg string `json:"idTokenAlg,omitempty"`
	// RedirectURIs are compared exactly; http on a loopback host is allowed.
	RedirectURIs []string `json:"redirectURIs"`
}

// Provider is a running provider.
type Provider struct {
	// Issuer is the issuer URL, without a slash at its end. Its host is
	// 127.0.0.1; a program under test on "localhost" shares no cookies with it.
	Issuer string
}

// startWithin is how long Node.js has to listen. It takes under a second; a
// busy machine gets more.
const startWithin = time.Minute

// Start starts a provider that ends with the test. Without Node.js or the npm
// packages it skips the test; see package need.
func Start(t testing.TB, client Client) *Provider {
	t.Helper()
	node := need.Node(t)
	need.NodeModules(t)
	arg, err := json.Marshal(client)
	if err != nil {
		t.Fatalf("encode the client: %v", err)
	}

	cmd := exec.Command(node, filepath.Join(need.Dir(), "oidcprovider", "server.mjs"), string(arg))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	// The server ends when its standard input closes: also when this process
	// is killed and no cleanup runs.
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start oidc-provider: %v", err)
	}
	ready, drained := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(drained)
		defer close(ready)
		awaitReady(stdout, ready)
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-drained
		cmd.Wait()
		if t.Failed() && stderr.Len() > 0 {
			t.Logf("oidc-provider said:\n%s", stderr.Bytes())
		}
	})

	select {
	case issuer, ok := <-ready:
		if !ok {
			t.Fatal("oidc-provider ended before it listened")
		}
		return &Provider{Issuer: issuer}
	case <-time.After(startWithin):
		t.Fatalf("oidc-provider did not listen within %v", startWithin)
	}
	return nil
}

// awaitReady sends the issuer when the server says that it listens, then
// drains r so that the server never blocks on a full pipe.
func awaitReady(r io.Reader, ready chan<- string) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if issuer, ok := strings.CutPrefix(lines.Text(), "ready "); ok {
			ready <- issuer
			break
		}
	}
	io.Copy(io.Discard, r)
}

// SignIn walks a visitor from the authorization URL to the redirect back:
// signs in as account if the provider asks, and consents if it asks. It
// returns the callback URL without requesting it. The visitor's cookie jar
// gets the provider's cookies; a nil visitor gets a jar of its own.
func (p *Provider) SignIn(t testing.TB, visitor *http.Client, authorizationURL string, account Account) *url.URL {
	t.Helper()
	return p.walk(t, visitor, authorizationURL, url.Values{
		"account": {string(account)},
		"consent": {"yes"},
	})
}

// Refuse walks as SignIn does, but the visitor refuses at the first page. The
// callback URL it returns carries the error access_denied.
func (p *Provider) Refuse(t testing.TB, visitor *http.Client, authorizationURL string) *url.URL {
	t.Helper()
	return p.walk(t, visitor, authorizationURL, url.Values{"refuse": {"yes"}})
}

// maxSteps bounds the walk: sign-in and consent take nine requests.
const maxSteps = 20

// walk follows redirects within the provider and posts answers to each page,
// until a redirect leads to another host.
func (p *Provider) walk(t testing.TB, visitor *http.Client, authorizationURL string, answers url.Values) *url.URL {
	t.Helper()
	browser := withoutRedirects(t, visitor)
	next := func() (*http.Response, error) { return browser.Get(authorizationURL) }
	for range maxSteps {
		res, err := next()
		if err != nil {
			t.Fatalf("walk through oidc-provider: %v", err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			t.Fatalf("walk through oidc-provider: read %s: %v", res.Request.URL, err)
		}
		switch here := res.Request.URL; {
		case res.StatusCode >= 300 && res.StatusCode < 400:
			to, err := res.Location()
			if err != nil {
				t.Fatalf("walk through oidc-provider: redirect of %s: %v", here, err)
			}
			if to.Scheme+"://"+to.Host != p.Issuer {
				return to
			}
			next = func() (*http.Response, error) { return browser.Get(to.String()) }
		case res.StatusCode == http.StatusOK && strings.HasPrefix(here.Path, "/interaction/"):
			next = func() (*http.Response, error) { return browser.PostForm(here.String(), answers) }
		default:
			t.Fatalf("oidc-provider answered %s at %s:\n%s", res.Status, here, body)
		}
	}
	t.Fatalf("oidc-provider did not redirect back within %d requests", maxSteps)
	return nil
}

// withoutRedirects returns a copy of visitor that stops at each redirect and
// has a cookie jar.
func withoutRedirects(t testing.TB, visitor *http.Client) *http.Client {
	t.Helper()
	var browser http.Client
	if visitor != nil {
		browser = *visitor
	}
	if browser.Jar == nil {
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(fmt.Errorf("make a cookie jar: %w", err))
		}
		browser.Jar = jar
	}
	browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &browser
}
