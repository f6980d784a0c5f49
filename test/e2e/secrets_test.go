package e2e_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/sqlite"
	"github.com/gatebook/gatebook/provider/credentials"
	"github.com/gatebook/gatebook/provider/oauth"
)

// marker is in every value that must not be recorded.
const marker = "MARKER"

// markedProvider is an OpenID provider whose every reply has a marker in every
// leaf that is no claim the book may hold.
type markedProvider struct {
	key   *rsa.PrivateKey
	url   string
	nonce string
}

func newMarkedProvider(t *testing.T) *markedProvider {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p := &markedProvider{key: key}
	srv := httptest.NewServer(p)
	t.Cleanup(srv.Close)
	p.url = srv.URL
	return p
}

func (p *markedProvider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		enc.Encode(map[string]any{"issuer": p.url, "authorization_endpoint": p.url + "/authorize", "token_endpoint": p.url + "/token",
			"jwks_uri": p.url + "/keys", "userinfo_endpoint": p.url + "/userinfo", "id_token_signing_alg_values_supported": []string{"RS256"}})
	case "/keys":
		enc.Encode(map[string]any{"keys": []any{map[string]any{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "k",
			"n": base64.RawURLEncoding.EncodeToString(p.key.N.Bytes()),
			"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(p.key.E)).Bytes())}}})
	case "/token":
		enc.Encode(map[string]any{"access_token": marker + "-access", "refresh_token": marker + "-refresh", "token_type": "bearer",
			"scope": marker + "-scope", "session_state": marker + "-state", "extra": map[string]any{"deep": []string{marker + "-deep"}},
			"id_token": p.idToken()})
	default:
		http.NotFound(w, r)
	}
}

func (p *markedProvider) idToken() string {
	now := time.Now().Unix()
	claims, _ := json.Marshal(map[string]any{"iss": p.url, "sub": "ada", "aud": "site", "exp": now + 300, "iat": now, "nonce": p.nonce,
		"email": "ada@example.com", "email_verified": true, "name": "Ada", "picture": "https://img.example/" + marker,
		"at_jkt": marker + "-claim", "address": map[string]any{"street": marker + "-street"}, "groups": []string{marker + "-group"}})
	signed := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","kid":"k"}`)) + "." + base64.RawURLEncoding.EncodeToString(claims)
	sum := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPKCS1v15(nil, p.key, crypto.SHA256, sum[:])
	if err != nil {
		panic(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// TestSecretsStayOut marks what must not be recorded and then looks at every
// byte of the book and of the log.
func TestSecretsStayOut(t *testing.T) {
	op := newMarkedProvider(t)
	var handler http.Handler
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	defer srv.Close()
	dir := t.TempDir()
	b, err := sqlite.OpenBook(filepath.Join(dir, "book.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	p, err := oauth.New(oauth.Config{ID: "first", Issuer: op.url, ClientID: "site", ClientSecret: marker + "-client"})
	if err != nil {
		t.Fatal(err)
	}
	password, err := credentials.New(credentials.Config{Authorize: func(_ context.Context, form map[string]string, _ *http.Request) (*gatebook.User, error) {
		switch form["password"] {
		case marker + "-right":
			return &gatebook.User{ID: "ada", Name: "Ada"}, nil
		case marker + "-broken":
			return nil, errors.New(marker + "-authorize")
		}
		return nil, gatebook.ErrBadCredentials
	}})
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, url: srv.URL, log: &lockedBuffer{}}
	signIns := 0
	s.auth, err = gatebook.New(gatebook.Config{Secrets: []gatebook.Secret{marker + " of more than thirty-two characters"}, URL: s.url, Book: b.Book,
		Providers: []gatebook.Provider{p, password}, Logger: slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Events: gatebook.Events{
			SignIn: func(_ context.Context, e *gatebook.SignInEvent) error {
				if signIns++; signIns == 1 {
					return fmt.Errorf("%s-error %s", marker, string(e.Account.AccessToken))
				}
				panic(marker + "-panic")
			},
			SignInFailed: func(context.Context, *gatebook.SignInFailedEvent) error { return errors.New(marker + "-failed") },
		}})
	if err != nil {
		t.Fatal(err)
	}
	handler = s.auth

	v := s.visitor()
	for range 2 {
		to, err := url.Parse(v.post("/auth/signin/first", url.Values{}))
		if err != nil {
			t.Fatal(err)
		}
		op.nonce = to.Query().Get("nonce")
		back := s.url + "/auth/callback/first?code=" + marker + "-code&state=" + url.QueryEscape(to.Query().Get("state"))
		if to, _ := v.get(back); to != s.url {
			t.Fatalf("the callback leads to %q\n%s", to, s.log)
		}
	}
	for _, typed := range []string{"-right", "-wrong", "-broken"} {
		v.post("/auth/callback/credentials", url.Values{"password": {marker + typed}, "email": {marker + "-typed-into-the-wrong-field"}})
	}
	op.nonce = marker + "-other-nonce"
	to, err := url.Parse(v.post("/auth/signin/first", url.Values{}))
	if err != nil {
		t.Fatal(err)
	}
	v.get(s.url + "/auth/callback/first?code=" + marker + "-code&state=" + url.QueryEscape(to.Query().Get("state")))
	v.get(s.url + "/auth/callback/first?error=" + marker + "&error_description=" + marker + "&state=" + marker)
	v.get(s.url + "/auth/session?callbackUrl=https://evil.example/" + marker)
	req, err := http.NewRequest("GET", s.url+"/auth/session", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+marker+"-bearer")
	if _, err := http.DefaultClient.Do(req); err != nil {
		t.Fatal(err)
	}
	if err := s.auth.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if signIns < 3 {
		t.Fatalf("%d sign-ins reached the handler, want 3", signIns)
	}

	if i := strings.Index(s.log.String(), marker); i >= 0 {
		t.Errorf("the log has a secret: …%.200s", s.log.String()[max(0, i-100):])
	}
	looked := 0
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		looked += len(content)
		for _, form := range []string{marker, base64.StdEncoding.EncodeToString([]byte(marker))[:6], fmt.Sprintf("%x", marker)} {
			if i := strings.Index(string(content), form); i >= 0 {
				t.Errorf("%s has a secret: %.200q", filepath.Base(path), content[max(0, i-100):])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if looked < 20_000 {
		t.Fatalf("only %d bytes were looked at", looked)
	}
}
