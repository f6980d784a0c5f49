package passkey_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/passkey"
	"github.com/gatebook/gatebook/passkey/passkeytest"
)

func TestConfig(t *testing.T) {
	for name, tt := range map[string]struct {
		c    passkey.Config
		want string
	}{
		"id":                  {passkey.Config{ID: "a/b"}, "Config.ID"},
		"RP id, address":      {passkey.Config{RPID: "https://example.com"}, "must be a domain"},
		"RP id, port":         {passkey.Config{RPID: "example.com:443"}, "must be a domain"},
		"RP id, upper case":   {passkey.Config{RPID: "Example.com"}, "must be a domain"},
		"RP id, IP address":   {passkey.Config{RPID: "192.0.2.1"}, "must be a domain"},
		"RP id, dot":          {passkey.Config{RPID: "example.com."}, "must be a domain"},
		"origin, path":        {passkey.Config{Origins: []string{"https://example.com/"}}, "scheme://host"},
		"origin, upper case":  {passkey.Config{Origins: []string{"https://Example.com"}}, "scheme://host"},
		"origin, user":        {passkey.Config{Origins: []string{"https://a@example.com"}}, "scheme://host"},
		"origin, no scheme":   {passkey.Config{Origins: []string{"example.com"}}, "neither http"},
		"origin, other":       {passkey.Config{Origins: []string{"ftp://example.com"}}, "neither http"},
		"origin, other site":  {passkey.Config{RPID: "example.com", Origins: []string{"https://example.org"}}, "not within"},
		"origin, other label": {passkey.Config{RPID: "example.com", Origins: []string{"https://badexample.com"}}, "not within"},
		"timeout, short":      {passkey.Config{Timeout: time.Millisecond}, "Config.Timeout"},
		"timeout, long":       {passkey.Config{Timeout: time.Hour}, "Config.Timeout"},
	} {
		if _, err := passkey.New(tt.c); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: New = %v, want an error with %q", name, err, tt.want)
		}
	}
}

// The two providers of Auth.js, as it configures them.
func TestFlavours(t *testing.T) {
	for _, tt := range []struct {
		c             passkey.Config
		id, name      string
		create, asked string
	}{
		{passkey.Config{}, "passkey", "Passkey",
			`"authenticatorSelection":{"residentKey":"required","userVerification":"required","requireResidentKey":true}`, `"userVerification":"required"`},
		{passkey.Config{SecurityKeys: true}, "webauthn", "WebAuthn",
			`"authenticatorSelection":{"residentKey":"preferred","userVerification":"preferred","requireResidentKey":false}`, `"userVerification":"preferred"`},
	} {
		p, err := passkey.New(tt.c)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Info(); got.ID != tt.id || got.Name != tt.name || got.Type != gatebook.TypeWebAuthn {
			t.Errorf("Info() = %+v", got)
		}
		c := &gatebook.Ceremony{Origin: origin, Challenge: "x"}
		create, err := p.CreationOptions(c, &gatebook.PasskeyOwner{Handle: "h", Name: "<Ada> & co", DisplayName: "Ada"})
		if err != nil || !strings.Contains(string(create), tt.create) || !strings.Contains(string(create), `"<Ada> & co"`) {
			t.Errorf("CreationOptions = %s, %v", create, err)
		}
		asked, err := p.RequestOptions(c)
		if err != nil || !strings.Contains(string(asked), tt.asked) {
			t.Errorf("RequestOptions = %s, %v", asked, err)
		}
	}
}

// Passkeys of a domain work on the addresses below it that are named, and in an
// app, and nowhere else.
func TestRelyingParty(t *testing.T) {
	const app = "android:apk-key-hash:NDRBQTI5QkY"
	c := passkey.Config{RPID: "example.com", RPName: "Acme", SignUp: true, Timeout: time.Minute,
		Origins: []string{origin, "https://admin.example.com", app}}
	s := newSite(t, c, nil)
	d := passkeytest.New(t, "https://admin.example.com")
	w := s.browser().get("/auth/webauthn-options/passkey?email=ada@example.com")
	if !strings.Contains(w.Body.String(), `"rp":{"name":"Acme","id":"example.com"}`) || !strings.Contains(w.Body.String(), `"timeout":60000`) {
		t.Errorf("options are %s", w.Body)
	}
	if to := s.browser().register(d, "email=ada@example.com"); to != "" {
		t.Fatalf("registering leads to %q\n%s", to, s.log)
	}
	for from, want := range map[string]string{origin: "", app: "", "https://other.example.com": verification, "android:apk-key-hash:other": verification} {
		d.Origin = from
		if to := s.browser().signIn(d); to != want {
			t.Errorf("signing in from %s leads to %q, want %q", from, to, want)
		}
	}

	// A site outside the domain says so in its log.
	outside := newSite(t, passkey.Config{RPID: "example.org"}, nil)
	if w := outside.browser().get("/auth/webauthn-options/passkey"); w.Code != http.StatusFound || !strings.Contains(outside.log.String(), "relying party: configuration (rpId)") {
		t.Errorf("options are %d %s\n%s", w.Code, w.Body, outside.log)
	}
}
