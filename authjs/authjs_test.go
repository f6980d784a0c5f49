package authjs_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook/authjs"
	"github.com/gatebook/gatebook/internal/cookie"
	"github.com/gatebook/gatebook/internal/jwe"
)

const (
	secret       = "correct horse battery staple, 32 characters"
	v5Cookie     = "authjs.session-token"
	secureCookie = "__Secure-authjs.session-token"
	v4Cookie     = "next-auth.session-token"
)

// Tokens of the real libraries with the secret "secret": Auth.js v5 with the salt
// "authjs.session-token" (A256CBC-HS512 with kid; A256GCM without), and next-auth
// 4.24.15: a session, and the state of a sign-in as versions before 4.24.5 seal it.
const (
	vectorCBC   = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2Q0JDLUhTNTEyIiwia2lkIjoiN3g5RFVNVmFFVTZnaWFiMGwwT1dEdDRlNFNzUkhfY2J3TW9mMkV6RXl5Nm9uSzVvOHhTUFBCNzk5UlZvcW0ydjZ6Njc0a1FDdjlqb20yVDhTLWExZFEifQ..wYFQxYguy2E_t7Ma4vfYyQ.acyToGc4xUof3a4K_b6FtErqoq5cupwRMwXGvebWhfQrYxCNUgPt6sblnj_Tx9IwZcB5sxLHfh4ykxXQDcBCbO-PKA3mvBcAELX6EnAIZHvj7XrBF5OsU7roB3XudyOrirldKse6SQpPSypBLQsjiWaxKXnSleZQKRJqhhUyTRAaFf63iOIbVbOuuqtvkT3LOZCsxc64CXb1i6wPX72c8lAZksuTTpDYQvV4-UVnFqQ.uUiYEOVyxm4WZ7DDoDtCSxrEFfUI4gFSxYhjEM8I0go"
	vectorGCM   = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..jTdox1Yj_eAbtceH.WJlnxvgfatg3F6Ys-yi6XXXLZWb5G1860lZICf4OBpecyYgrdzaxnRV8QB1M-idUQcF7U19lpnkyynyMFO-t4IWGgc8B9ZllHIFv3zn3Db_6JV7gGn0vbLpuhSPLPZWHI5HxE1_ZkA.IR7DqyY-cnbOqYDIOpcp-A"
	vectorV4    = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..80kEIIderkurdkio.vIGzewsDgsYYtkTBkt6kEyq9dDOnOyYj7NUu5O4KlPSZW8BRRNtGcWXYsFbatOIOaM-TLUI7f1koxy_1KUPYZAmk0ovnhOPax3VebnasTqboeRbPcLBo9fBqYUzUrd3l3jnrkVIIaED7EAFJLmRy5_bkNxBR5pRhBQGM9nYEXh9NtMq3YyBjTnQev-7I7X3x3z-buueiobo5j6kL2QhE7z2vsA1c.FZoO_IS2rW2-DoNbPs1q0Q"
	vectorState = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..UM_jV1066nTpg3O-.43zugIsAAIHLZxRoj_fEZlI05R875WwHGt6CpfjOpFpnl1eOdTmvHey2Rp1q7QdiNfQjI0vMsSrpvI0AIuv0ixh3jXshuDuLJOTu_geUCHTvmeWSzrmM4VfB50SeeRBF2605.-UkHE9J-5-YRcDf6NYCibg"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// newReader returns a Reader at noon; change may adjust its configuration.
func newReader(tb testing.TB, change func(*authjs.Config)) *authjs.Reader {
	tb.Helper()
	cfg := authjs.Config{Secrets: []authjs.Secret{secret}, Now: func() time.Time { return noon }}
	if change != nil {
		change(&cfg)
	}
	rd, err := authjs.NewReader(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return rd
}

// seal makes a token of v5 for the cookie that salt names.
func seal(tb testing.TB, secret, salt, payload string) string {
	tb.Helper()
	c, err := jwe.New([]string{secret}, salt)
	if err != nil {
		tb.Fatal(err)
	}
	return string(c.Seal(nil, []byte(payload)))
}

// sealV4 makes a token of next-auth v4.
func sealV4(tb testing.TB, secret, payload string) string {
	tb.Helper()
	key, err := hkdf.Key(sha256.New, []byte(secret), nil, "NextAuth.js Generated Encryption Key", 32)
	if err != nil {
		tb.Fatal(err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		tb.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		tb.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	iv, header := make([]byte, 12), b64([]byte(`{"alg":"dir","enc":"A256GCM"}`))
	rand.Read(iv)
	sealed := gcm.Seal(nil, iv, []byte(payload), []byte(header))
	n := len(sealed) - 16
	return header + ".." + b64(iv) + "." + b64(sealed[:n]) + "." + b64(sealed[n:])
}

func TestVectors(t *testing.T) {
	rd := newReader(t, func(c *authjs.Config) { c.Secrets = []authjs.Secret{"secret"} })
	ada := authjs.User{ID: "42", Name: "Ada", Email: "ada@example.com", Image: "https://img.test/a.png"}
	for _, tt := range []struct {
		name, token string
		version     int
		user        authjs.User
		claims      string
	}{
		{"v5", vectorCBC, 5, ada, `{"name":"Ada","email":"ada@example.com","picture":"https://img.test/a.png","sub":"42","iat":1700000000,"exp":4102444800,"jti":"00000000-0000-4000-8000-000000000000"}`},
		{"v5, GCM", vectorGCM, 5, authjs.User{ID: "1", Name: "Ada"}, `{"sub":"1","name":"Ada","iat":1700000000,"exp":4102444800,"jti":"00000000-0000-4000-8000-000000000000"}`},
		{"v4", vectorV4, 4, ada, `{"name":"Ada","email":"ada@example.com","picture":"https://img.test/a.png","sub":"42","iat":1795528916,"exp":4102444800,"jti":"7abb9a78-ff43-440f-85ab-42e1e490d784"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := rd.Verify(tt.token)
			if err != nil {
				t.Fatal(err)
			}
			if s.User != tt.user || s.Version != tt.version || s.ID != "" || !s.Expires.Equal(time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)) {
				t.Errorf("Verify = %+v", s)
			}
			if got, err := json.Marshal(s.Token); err != nil || string(got) != tt.claims {
				t.Errorf("claims = %s, %v\nwant %s", got, err, tt.claims)
			}
		})
	}
}

func TestVerify(t *testing.T) {
	now := noon.Unix()
	for _, tt := range []struct {
		name, payload string
		ok            bool
	}{
		{"good", fmt.Sprintf(`{"sub":"1","exp":%d}`, now+1), true},
		{"no exp", `{"sub":"1"}`, true},
		{"expired within the tolerance", fmt.Sprintf(`{"sub":"1","exp":%d}`, now-14), true},
		{"expired", fmt.Sprintf(`{"sub":"1","exp":%d}`, now-15), false},
		{"fraction", fmt.Sprintf(`{"sub":"1","exp":%d.5}`, now+60), true},
		{"exp is text", fmt.Sprintf(`{"sub":"1","exp":"%d"}`, now+60), false},
		{"exp is null", `{"sub":"1","exp":null}`, false},
		{"exp is beyond all numbers", `{"sub":"1","exp":1e999}`, false},
		{"the last exp counts", fmt.Sprintf(`{"sub":"1","exp":%d,"exp":%d}`, now+60, now-60), false},
		{"an escaped exp counts", fmt.Sprintf(`{"sub":"1","exp":%d,"\u0065xp":%d}`, now+60, now-60), false},
		{"nbf soon", fmt.Sprintf(`{"sub":"1","nbf":%d}`, now+15), true},
		{"nbf later", fmt.Sprintf(`{"sub":"1","nbf":%d}`, now+16), false},
		{"iat is text", `{"sub":"1","iat":"now"}`, false},
		{"iat is null", `{"sub":"1","iat":null}`, false},
		{"array", `[1]`, false},
		{"null", `null`, false},
		{"no JSON", `sub=1`, false},
		{"two values", `{"sub":"1"}{"sub":"2"}`, false},
		{"not UTF-8", "{\"sub\":\"\xff\"}", false},
		{"too deep", `{"sub":"1","x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, false},
		{"empty", ``, false},
	} {
		rd := newReader(t, nil)
		for version, token := range map[int]string{5: seal(t, secret, v5Cookie, tt.payload), 4: sealV4(t, secret, tt.payload)} {
			s, err := rd.Verify(token)
			if tt.ok && (err != nil || s.User.ID != "1" || s.Version != version) || !tt.ok && (!errors.Is(err, authjs.ErrNoSession) || s != nil) {
				t.Errorf("v%d, %s: Verify = %+v, %v", version, tt.name, s, err)
			}
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	rd := newReader(t, nil)
	for name, token := range map[string]string{
		"empty":                       "",
		"dots":                        "....",
		"bad escape":                  "%zz",
		"an id":                       "7abb9a78-ff43-440f-85ab-42e1e490d784",
		"huge":                        strings.Repeat("a", 1<<20),
		"huge escapes":                strings.Repeat("%41", 1<<20),
		"another secret":              vectorCBC,
		"another secret, GCM":         vectorGCM,
		"another secret, v4":          vectorV4,
		"another cookie's salt":       seal(t, secret, "authjs.state", `{"sub":"1"}`),
		"the state parameter":         seal(t, secret, "encodedState", `{"sub":"1"}`),
		"signed and not sealed":       "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.2JZbVrMBOMRNHcvqwUuFdkCJ6TrZdfYDSgUcmXLSHdw",
		"neither signed nor sealed":   "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.",
		"v4 that names nobody":        sealV4(t, secret, `{"name":"Ada"}`),
		"v4 whose sub is no text":     sealV4(t, secret, `{"sub":1}`),
		"v4 with a key of v5's shape": seal(t, secret, "", `{"sub":"1"}`),
	} {
		if s, err := rd.Verify(token); !errors.Is(err, authjs.ErrNoSession) || s != nil {
			t.Errorf("Verify, %s: %+v, %v, want ErrNoSession", name, s, err)
		}
	}
	// The state of a sign-in that anybody may begin is no session.
	old := newReader(t, func(c *authjs.Config) { c.Secrets = []authjs.Secret{"secret"} })
	if s, err := old.Verify(vectorState); !errors.Is(err, authjs.ErrNoSession) || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("Verify of next-auth's state = %+v, %v", s, err)
	}
}

func TestRotation(t *testing.T) {
	rd := newReader(t, func(c *authjs.Config) { c.Secrets = []authjs.Secret{"new", "old"} })
	for _, by := range []string{"new", "old", "retired"} {
		for version, token := range map[string]string{"v5": seal(t, by, secureCookie, `{"sub":"1"}`), "v4": sealV4(t, by, `{"sub":"1"}`)} {
			if _, err := rd.Verify(token); (err == nil) != (by != "retired") {
				t.Errorf("Verify of a token of %s sealed with the %s secret: %v", version, by, err)
			}
		}
	}
}

func TestSession(t *testing.T) {
	s, err := newReader(t, nil).Verify(seal(t, secret, v5Cookie,
		`{"sub":"1","sid":"abc","role":"admin","age":37,"groups":["a","b"],"nothing":null,"org":{"id":"x"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if s.ID != "abc" || !s.Expires.IsZero() {
		t.Errorf("Session = %+v, want the sid and no expiry", s)
	}
	if role, ok := authjs.Claim[string](s.Token, "role"); role != "admin" || !ok {
		t.Errorf("role = %q, %t", role, ok)
	}
	if groups, ok := authjs.Claim[[]string](s.Token, "groups"); !slices.Equal(groups, []string{"a", "b"}) || !ok {
		t.Errorf("groups = %q, %t", groups, ok)
	}
	type org struct{ ID string }
	if o, ok := authjs.Claim[org](s.Token, "org"); o.ID != "x" || !ok {
		t.Errorf("org = %+v, %t", o, ok)
	}
	for _, name := range []string{"age", "nothing", "missing", "groups"} {
		if v, ok := authjs.Claim[string](s.Token, name); v != "" || ok {
			t.Errorf("%s as text = %q, %t", name, v, ok)
		}
	}
	want := []string{"sub", "sid", "role", "age", "groups", "nothing", "org"}
	if got := slices.Collect(s.Token.Names()); !slices.Equal(got, want) {
		t.Errorf("Names = %q, want %q", got, want)
	}
}

func TestNewReaderErrors(t *testing.T) {
	for _, name := range []string{"AUTH_SECRET", "AUTH_SECRET_1", "AUTH_SECRET_2", "AUTH_SECRET_3", "NEXTAUTH_SECRET"} {
		t.Setenv(name, "")
	}
	some := []authjs.Secret{"marker"}
	for _, tt := range []struct {
		cfg  authjs.Config
		want string // in the message
	}{
		{authjs.Config{}, "AUTH_SECRET"},
		{authjs.Config{Secrets: []authjs.Secret{"marker", ""}}, "Config.Secrets"},
		{authjs.Config{Secrets: some, Origins: []string{"*"}}, "any site"},
		{authjs.Config{Secrets: some, Origins: []string{"https://a.example", "null"}}, `origin 1 is "null", which stands for any site`},
		{authjs.Config{Secrets: some, Origins: []string{"https://*.example.com"}}, "Config.Origins"},
		{authjs.Config{Secrets: some, Origins: []string{"a.example"}}, "https://"},
		{authjs.Config{Secrets: some, Origins: []string{"https://a.example/"}}, `write "https://a.example"`},
		{authjs.Config{Secrets: some, Origins: []string{"https://a.example/app"}}, `write "https://a.example"`},
		{authjs.Config{Secrets: some, Origins: []string{"https://A.example:443"}}, `write "https://a.example"`},
		{authjs.Config{Secrets: some, Origins: []string{"https://u:marker@a.example"}}, "user name"},
		{authjs.Config{Secrets: some, Origins: []string{"ftp://a.example"}}, "https://"},
		{authjs.Config{Secrets: some, Origins: []string{""}}, "https://"},
		{authjs.Config{Secrets: some, Cookie: "a b"}, "Config.Cookie"},
		{authjs.Config{Secrets: some, Cookie: "a\x00"}, "Config.Cookie"},
		{authjs.Config{Secrets: some, Cookie: "séance"}, "Config.Cookie"},
	} {
		rd, err := authjs.NewReader(tt.cfg)
		if err == nil || rd != nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "marker") {
			t.Errorf("NewReader(%+v) = %v, %v, want an error with %q", tt.cfg, rd, err, tt.want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	for name, value := range map[string]string{"AUTH_SECRET": "plain", "AUTH_SECRET_1": "one", "AUTH_SECRET_2": "", "AUTH_SECRET_3": "three", "NEXTAUTH_SECRET": "old"} {
		t.Setenv(name, value)
	}
	rd, err := authjs.NewReader(authjs.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, by := range []string{"plain", "one", "three", "old"} {
		if _, err := rd.Verify(seal(t, by, v5Cookie, `{"sub":"1"}`)); err != nil {
			t.Errorf("Verify of a token of the secret %q: %v", by, err)
		}
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	cfg := authjs.Config{Secrets: []authjs.Secret{"marker"}}
	j, err := json.Marshal(cfg.Secrets)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "secret", cfg.Secrets[0], "config", cfg.Secrets)
	for _, s := range []string{fmt.Sprint(cfg), fmt.Sprintf("%+v %#v %s %q", cfg, cfg, cfg.Secrets, cfg.Secrets), string(j), b.String()} {
		if strings.Contains(s, "marker") || !strings.Contains(s, "redacted") {
			t.Errorf("a secret is shown: %s", s)
		}
	}
}

func TestAllocations(t *testing.T) {
	rd := newReader(t, nil)
	v5, v4 := seal(t, secret, secureCookie, payload), sealV4(t, secret, payload)
	for _, tt := range []struct {
		name string
		max  float64
		r    *http.Request
	}{
		{"v5 cookie", 5, get("Cookie", "theme=dark; "+secureCookie+"="+v5)},
		{"v5 Bearer", 4, get("Authorization", "Bearer "+v5)},
		{"v4 cookie", 8, get("Cookie", "theme=dark; "+v4Cookie+"="+v4)},
		{"nothing", 0, get("Cookie", "theme=dark")},
	} {
		if got := testing.AllocsPerRun(100, func() { rd.Session(tt.r) }); got > tt.max+dropped {
			t.Errorf("Session with %s allocates %v times, want at most %v", tt.name, got, tt.max)
		}
	}
}

// payload is of the usual size.
const payload = `{"name":"Ada Lovelace","email":"ada@example.com","picture":"https://avatars.example/u/1234567?v=4","sub":"3f0c9a52-7d54-4b2e-9d3c-0d7f3a4f6b11","role":"admin","iat":1795500000,"exp":1798092000,"jti":"00000000-0000-4000-8000-000000000000"}`

// FuzzVerify: no token but those of the secret opens, and one that opens says
// what its payload says.
func FuzzVerify(f *testing.F) {
	rd := newReader(f, func(c *authjs.Config) { c.Secrets = []authjs.Secret{"secret"} })
	other := newReader(f, nil)
	for _, s := range []string{vectorCBC, vectorGCM, vectorV4, vectorState, "", "%", "....", strings.ReplaceAll(vectorCBC, ".", "%2e"), vectorCBC + "\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if s, err := other.Verify(token); err == nil || s != nil || !errors.Is(err, authjs.ErrNoSession) {
			t.Fatalf("without its secret: %+v, %v", s, err)
		}
		s, err := rd.Verify(token)
		if err != nil {
			if s != nil || !errors.Is(err, authjs.ErrNoSession) {
				t.Fatalf("Verify = %+v, %v", s, err)
			}
			return
		}
		plain, _ := cookie.UnescapeComponent(token)
		if plain != vectorCBC && plain != vectorGCM && plain != vectorV4 {
			t.Fatalf("Verify(%q) = %+v: this token was never made", token, s)
		}
	})
}

// FuzzPayload: whatever an application puts into its token, all of it comes back
// and nobody else is signed in.
func FuzzPayload(f *testing.F) {
	rd := newReader(f, nil)
	for _, s := range []string{payload, `{}`, `{"sub":"1","sub":"2"}`, `{"sub":null,"email":"a"}`, `{"exp":1e308}`, `{"sub":"\ud800"}`, ` { "sub" : "1" } `, `{"sub":{"sub":"1"}}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, payload string) {
		for version, token := range map[int]string{5: seal(t, secret, v5Cookie, payload), 4: sealV4(t, secret, payload)} {
			s, err := rd.Verify(token)
			if err != nil {
				if s != nil || !errors.Is(err, authjs.ErrNoSession) {
					t.Fatalf("Verify = %+v, %v", s, err)
				}
				continue
			}
			var want, got map[string]any
			if err := json.Unmarshal([]byte(payload), &want); err != nil {
				t.Fatalf("v%d: %q opens, and is no object: %v", version, payload, err)
			}
			b, err := json.Marshal(s.Token)
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(b, &got); err != nil || !cmp.Equal(want, got) {
				t.Fatalf("v%d: claims %s of %s: %v", version, b, payload, err)
			}
			if sub, _ := want["sub"].(string); s.User.ID != sub {
				t.Fatalf("v%d: user %q of %s", version, s.User.ID, payload)
			}
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	rd := newReader(b, nil)
	for name, token := range map[string]string{"v5": seal(b, secret, secureCookie, payload), "v4": sealV4(b, secret, payload)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := rd.Verify(token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
