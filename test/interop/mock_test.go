package interop

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// mockServer is a provider that answers what a scenario wants, for faults that a
// real provider does not have. It keeps what it was asked.
type mockServer struct {
	server *httptest.Server

	mu      sync.Mutex
	answers map[string]answering // by path
	claims  map[string]any       // of the ID token; nil leaves a claim out
	alg     string               // how the ID token is signed: RS256, HS256, forged
	nonce   string
	asked   []string
}

type answering struct {
	status int
	header [2]string
	body   string
}

// signingKey signs ID tokens, and forgingKey those of somebody else.
var signingKey, forgingKey = sync.OnceValue(newKey), sync.OnceValue(newKey)

func newKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}

func newMock(t *testing.T) *mockServer {
	t.Helper()
	m := &mockServer{}
	m.reset()
	m.server = httptest.NewServer(m)
	t.Cleanup(m.server.Close)
	return m
}

// reset forgets everything, so that both sides find the same provider.
func (m *mockServer) reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answers, m.claims, m.alg, m.nonce, m.asked = map[string]answering{}, map[string]any{}, "RS256", "", nil
}

func (m *mockServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		issuer := m.server.URL
		m.write(w, r, map[string]any{"issuer": issuer, "authorization_endpoint": issuer + "/authorize", "token_endpoint": issuer + "/token",
			"userinfo_endpoint": issuer + "/userinfo", "jwks_uri": issuer + "/jwks", "response_types_supported": []string{"code"},
			"subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"RS256"}})
	case "/jwks":
		m.write(w, r, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: signingKey().Public(), KeyID: "key", Algorithm: "RS256", Use: "sig"}}})
	case "/token":
		body, _ := io.ReadAll(r.Body)
		form, _ := url.ParseQuery(string(body))
		m.asked = append(m.asked, "POST /token accept="+r.Header.Get("Accept")+" authorization="+r.Header.Get("Authorization")+" "+form.Encode())
		reply := map[string]any{"access_token": "at-1", "token_type": "Bearer", "expires_in": 3600, "scope": "read:user",
			"refresh_token": "rt-1", "further": "kept"}
		if m.nonce != "" {
			reply["id_token"] = m.idToken()
		}
		m.write(w, r, reply)
	case "/userinfo":
		m.asked = append(m.asked, "GET /userinfo authorization="+r.Header.Get("Authorization"))
		m.write(w, r, map[string]any{"id": "42", "sub": "42", "name": "Ada Lovelace", "email": "Ada@Example.com", "email_verified": true,
			"picture": "https://img.example/ada.png"})
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// write answers with v, or with what the scenario wants at this path.
func (m *mockServer) write(w http.ResponseWriter, r *http.Request, v any) {
	if a, ok := m.answers[r.URL.Path]; ok {
		if a.header[0] != "" {
			w.Header().Set(a.header[0], a.header[1])
		}
		w.WriteHeader(a.status)
		io.WriteString(w, a.body)
		return
	}
	json.NewEncoder(w).Encode(v)
}

func (m *mockServer) idToken() string {
	now := time.Now().Unix()
	claims := map[string]any{"iss": m.server.URL, "sub": "42", "aud": client, "iat": now, "exp": now + 600, "nonce": m.nonce,
		"name": "Ada Lovelace", "email": "Ada@Example.com", "email_verified": true, "picture": "https://img.example/ada.png"}
	maps.Copy(claims, m.claims)
	for name, v := range claims {
		switch v := v.(type) {
		case nil:
			delete(claims, name)
		case time.Duration:
			claims[name] = now + int64(v.Seconds())
		}
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	signing := jose.SigningKey{Algorithm: jose.RS256, Key: signingKey()}
	switch m.alg {
	case "HS256":
		signing = jose.SigningKey{Algorithm: jose.HS256, Key: []byte(clientSecret)}
	case "forged":
		signing.Key = forgingKey()
	}
	signer, err := jose.NewSigner(signing, (&jose.SignerOptions{}).WithHeader("kid", "key"))
	if err != nil {
		panic(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		panic(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		panic(err)
	}
	return token
}

// take returns what was asked since the last take.
func (m *mockServer) take() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	asked := m.asked
	m.asked = nil
	return asked
}

// answer sets the answer of a path from now on.
func (m *mockServer) answer(path string, a answering) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answers[path] = a
}

// set changes claims of the ID tokens from now on, and their algorithm.
func (m *mockServer) set(claims map[string]any, alg string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.Copy(m.claims, claims)
	if alg != "" {
		m.alg = alg
	}
}

// began keeps what the browser brought to the authorization endpoint.
func (m *mockServer) began(q url.Values) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.nonce = q.Get("nonce")
}
