package passkey_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"encoding/json"
	"maps"
	"math/big"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/passkey"
	"github.com/gatebook/gatebook/passkey/passkeytest"
	"github.com/gatebook/gatebook/record"
)

const (
	verification  = "/auth/error?error=WebAuthnVerificationError"
	configuration = "/auth/error?error=Configuration"
)

// refused checks that the last attempt failed as it should: one signIn.failed,
// brought about by a check.failed that says what was wrong.
func (s *site) refused(to, wantTo, check string) {
	s.t.Helper()
	if to != wantTo {
		s.t.Errorf("leads to %q, want %q\n%s", to, wantTo, s.log)
	}
	events := s.events()
	if len(events) != 2 {
		s.t.Fatalf("%d events %v, want check.failed and signIn.failed\n%s", len(events), events, s.log)
	}
	cause, ok := events[0].(*gatebook.DefenceEvent)
	if !ok || cause.Check != check || cause.Type != record.TypeCheckFailed && cause.Type != record.TypeReplayDetected {
		s.t.Errorf("the cause is %+v, want a failed check of %s", events[0], check)
	}
	failed, ok := events[1].(*gatebook.SignInFailedEvent)
	if !ok || failed.Cause != events[0].Meta().ID || failed.Reason != events[0].Meta().Reason {
		s.t.Errorf("the attempt is %+v", events[1])
	}
}

func set(member string, value any) func(*passkeytest.Answer) {
	return func(a *passkeytest.Answer) { a.Client[member] = value }
}

// bad are answers that neither ceremony may take.
var bad = map[string]struct {
	spoil func(*passkeytest.Answer)
	check string
}{
	"origin":                     {set("origin", "https://evil.example"), "origin"},
	"origin, http":               {set("origin", "http://app.example.com"), "origin"},
	"origin, port":               {set("origin", origin+":443"), "origin"},
	"origin, upper case":         {set("origin", "https://APP.example.com"), "origin"},
	"origin, path":               {set("origin", origin+"/"), "origin"},
	"origin, user":               {set("origin", "https://app.example.com@evil.example"), "origin"},
	"origin, user of ours":       {set("origin", "https://x@app.example.com"), "origin"},
	"origin, domain below":       {set("origin", "https://x.app.example.com"), "origin"},
	"origin, domain above":       {set("origin", "https://example.com"), "origin"},
	"origin, empty":              {set("origin", ""), "origin"},
	"origin, null":               {set("origin", "null"), "origin"},
	"in another site's frame":    {set("crossOrigin", true), "origin"},
	"below another site":         {set("topOrigin", "https://evil.example"), "origin"},
	"challenge":                  {set("challenge", b64.EncodeToString(make([]byte, 32))), "challenge"},
	"challenge, empty":           {set("challenge", ""), "challenge"},
	"challenge, other ceremony":  {set("type", "webauthn.other"), "type"},
	"type, payment":              {set("type", "payment.get"), "type"},
	"RP id":                      {func(a *passkeytest.Answer) { a.RPID = "evil.example" }, "rpId"},
	"RP id, domain above":        {func(a *passkeytest.Answer) { a.RPID = "example.com" }, "rpId"},
	"nobody there":               {func(a *passkeytest.Answer) { a.Flags &^= passkeytest.UserPresent }, "userPresent"},
	"not verified":               {func(a *passkeytest.Answer) { a.Flags &^= passkeytest.UserVerified }, "userVerified"},
	"backed up, not eligible":    {func(a *passkeytest.Answer) { a.Flags &^= passkeytest.BackupEligible }, "backupEligible"},
	"client data, no JSON":       {func(a *passkeytest.Answer) { a.ClientData = []byte("{") }, "format"},
	"client data, array":         {func(a *passkeytest.Answer) { a.ClientData = []byte("[]") }, "format"},
	"client data, empty":         {func(a *passkeytest.Answer) { a.ClientData = []byte{} }, "format"},
	"client data, types":         {set("challenge", 1), "format"},
	"authenticator data, empty":  {func(a *passkeytest.Answer) { a.AuthData = []byte{} }, "format"},
	"authenticator data, short":  {func(a *passkeytest.Answer) { a.AuthData = a.Data()[:36] }, "format"},
	"authenticator data, longer": {func(a *passkeytest.Answer) { a.AuthData = append(a.Data(), 0) }, "format"},
	"extensions announced":       {func(a *passkeytest.Answer) { a.Flags |= passkeytest.ExtensionData }, "format"},
	"raw id":                     {func(a *passkeytest.Answer) { a.RawID = "AAAA" }, "format"},
	"type of credential":         {func(a *passkeytest.Answer) { a.Type = "password" }, "format"},
	"no type of credential":      {func(a *passkeytest.Answer) { a.Type = "" }, "format"},
}

func TestBadRegistrations(t *testing.T) {
	tests := maps.Clone(bad)
	for name, tt := range map[string]struct {
		spoil func(*passkeytest.Answer)
		check string
	}{
		"an assertion's type":     {set("type", "webauthn.get"), "type"},
		"no attested data":        {func(a *passkeytest.Answer) { a.Flags &^= passkeytest.AttestedData }, "format"},
		"attested data, cut":      {func(a *passkeytest.Answer) { a.Credential = a.Credential[:40] }, "format"},
		"attested data, missing":  {func(a *passkeytest.Answer) { a.Credential = nil }, "format"},
		"id longer than data":     {func(a *passkeytest.Answer) { a.Credential[16], a.Credential[17] = 3, 255 }, "format"},
		"id of another length":    {func(a *passkeytest.Answer) { a.Credential[17]-- }, "format"},
		"another credential's id": {func(a *passkeytest.Answer) { a.Credential[20]++ }, "attestation"},
		"key cut":                 {func(a *passkeytest.Answer) { a.Credential = a.Credential[:len(a.Credential)-5] }, "format"},
		"object, empty":           {func(a *passkeytest.Answer) { a.Object = []byte{} }, "format"},
		"object, not CBOR":        {func(a *passkeytest.Answer) { a.Object = []byte{0xff} }, "format"},
		"object, a number":        {func(a *passkeytest.Answer) { a.Object = []byte{0x01} }, "format"},
		"object, endless":         {func(a *passkeytest.Answer) { a.Object = []byte{0xbf, 0x61, 'a', 0x01, 0xff} }, "format"},
		"object, deep":            {func(a *passkeytest.Answer) { a.Object = []byte(strings.Repeat("\x81", 5000)) }, "format"},
		"object, huge length":     {func(a *passkeytest.Answer) { a.Object = []byte{0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff} }, "format"},
		"format, unknown":         {func(a *passkeytest.Answer) { a.Format = "mine" }, "attestation"},
		"format none, statement":  {func(a *passkeytest.Answer) { a.Statement = map[string]any{"sig": []byte{1}} }, "attestation"},
		"format packed, signature": {func(a *passkeytest.Answer) {
			a.Format, a.Statement = "packed", map[string]any{"alg": -7, "sig": []byte{1}}
		}, "attestation"},
	} {
		tests[name] = tt
	}
	delete(tests, "extensions announced") // the key's bytes are read as such
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, signUp, nil)
			b := s.browser()
			to := b.register(passkeytest.New(t, origin), "email=ada@example.com", tt.spoil)
			s.refused(to, verification, tt.check)
			if b.session() != "" {
				t.Error("somebody is signed in")
			}
		})
	}
}

// Truncating what an authenticator sent anywhere is refused and nothing else.
func TestTruncatedCBOR(t *testing.T) {
	s := newSite(t, signUp, nil)
	b, d := s.browser(), passkeytest.New(t, origin)
	p, err := passkey.New(signUp)
	if err != nil {
		t.Fatal(err)
	}
	o := b.options("email=ada@example.com")
	var whole struct {
		Response struct{ AttestationObject string }
	}
	good := d.Create(t, o)
	if err := json.Unmarshal([]byte(good), &whole); err != nil {
		t.Fatal(err)
	}
	object, err := b64.DecodeString(whole.Response.AttestationObject)
	if err != nil {
		t.Fatal(err)
	}
	c := &gatebook.Ceremony{Origin: origin, Challenge: o.Options.Challenge}
	if _, err := p.Register(c, []byte(good)); err != nil {
		t.Fatal(err)
	}
	for n := range object {
		cut := d.Create(t, o, func(a *passkeytest.Answer) { a.Object = object[:n] })
		if reg, err := p.Register(c, []byte(cut)); err == nil {
			t.Errorf("the first %d of %d bytes register %+v", n, len(object), reg)
		}
	}
}

func TestAlgorithms(t *testing.T) {
	curve := func(c elliptic.Curve) *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, k := range map[string]func(*passkeytest.Authenticator){
		"Ed25519": func(d *passkeytest.Authenticator) { d.SetKey(t, ed) },
		"P-256":   func(d *passkeytest.Authenticator) { d.SetKey(t, curve(elliptic.P256())) },
		"RSA":     func(d *passkeytest.Authenticator) { d.SetKey(t, rsaKey) },
	} {
		t.Run(name, func(t *testing.T) {
			s, d := newSite(t, signUp, nil), passkeytest.New(t, origin)
			k(d)
			if to := s.browser().register(d, "email=ada@example.com"); to != "" {
				t.Fatalf("registering leads to %q\n%s", to, s.log)
			}
			b := s.browser()
			if to := b.signIn(d); to != "" || b.session() != "ada@example.com" {
				t.Errorf("signing in leads to %q\n%s", to, s.log)
			}
		})
	}
	p256 := curve(elliptic.P256())
	point, err := p256.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	large := make([]byte, 1200)
	rand.Read(large)
	for name, cose := range map[string]map[int]any{
		"ES384":                {1: 2, 3: -35, -1: 2, -2: make([]byte, 48), -3: make([]byte, 48)},
		"RS1":                  {1: 3, 3: -65535, -1: rsaKey.N.Bytes(), -2: []byte{1, 0, 1}},
		"none":                 {1: 2, -1: 1, -2: point[1:33], -3: point[33:]},
		"another key's":        {1: 2, 3: -257, -1: 1, -2: point[1:33], -3: point[33:]},
		"point not on curve":   {1: 2, 3: -7, -1: 1, -2: point[1:33], -3: point[1:33]},
		"point at zero":        {1: 2, 3: -7, -1: 1, -2: make([]byte, 32), -3: make([]byte, 32)},
		"short coordinate":     {1: 2, 3: -7, -1: 1, -2: point[1:32], -3: point[33:]},
		"another curve":        {1: 2, 3: -7, -1: 2, -2: point[1:33], -3: point[33:]},
		"Ed25519 of 31 bytes":  {1: 1, 3: -8, -1: 6, -2: make([]byte, 31)},
		"RSA, huge":            {1: 3, 3: -257, -1: large, -2: []byte{1, 0, 1}},
		"RSA without exponent": {1: 3, 3: -257, -1: rsaKey.N.Bytes(), -2: []byte{}},
		"RSA without modulus":  {1: 3, 3: -257, -1: []byte{}, -2: []byte{1, 0, 1}},
		"no key":               {},
	} {
		t.Run(name, func(t *testing.T) {
			s, d := newSite(t, signUp, nil), passkeytest.New(t, origin)
			d.COSE = passkeytest.CBOR(t, cose)
			s.refused(s.browser().register(d, "email=ada@example.com"), verification, "algorithm")
		})
	}
}

func TestBadAuthentications(t *testing.T) {
	ecdsaOf := func(sig []byte) (r, s *big.Int) {
		var parts struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(sig, &parts); err != nil {
			t.Fatal(err)
		}
		return parts.R, parts.S
	}
	der := func(r, s []byte) []byte {
		b := append([]byte{2, byte(len(r))}, r...)
		b = append(append(b, 2, byte(len(s))), s...)
		return append([]byte{0x30, byte(len(b))}, b...)
	}
	type change func(*passkeytest.Authenticator, *passkeytest.Answer)
	signature := func(fn func(r, s []byte) []byte) change {
		return func(d *passkeytest.Authenticator, a *passkeytest.Answer) {
			r, s := ecdsaOf(d.Sign(t, a.Data(), a.ClientJSON(t)))
			a.Signature = fn(r.Bytes(), s.Bytes())
		}
	}
	pad := func(b []byte) []byte { return append([]byte{0}, b...) } // never negative
	tests := map[string]struct {
		change change
		check  string
	}{
		"a registration's type": {func(_ *passkeytest.Authenticator, a *passkeytest.Answer) { a.Client["type"] = "webauthn.create" }, "type"},
		"eligibility changed": {func(_ *passkeytest.Authenticator, a *passkeytest.Answer) {
			a.Flags &^= passkeytest.BackupEligible | passkeytest.BackedUp
		}, "backupEligible"},
		"user handle":         {func(_ *passkeytest.Authenticator, a *passkeytest.Answer) { a.Handle = strings.Repeat("z", 64) }, "userHandle"},
		"user handle, empty":  {func(_ *passkeytest.Authenticator, a *passkeytest.Answer) { a.Handle = "" }, "userHandle"},
		"user handle, null":   {func(_ *passkeytest.Authenticator, a *passkeytest.Answer) { a.Handle = nil }, "userHandle"},
		"user handle, number": {func(_ *passkeytest.Authenticator, a *passkeytest.Answer) { a.Handle = 7 }, "format"},
		"user handle, upper case": {func(d *passkeytest.Authenticator, a *passkeytest.Answer) {
			a.Handle = b64.EncodeToString([]byte(strings.ToUpper(d.Handle)))
		}, "userHandle"},
		"user handle, short": {func(d *passkeytest.Authenticator, a *passkeytest.Answer) {
			a.Handle = b64.EncodeToString([]byte(d.Handle[:62]))
		}, "userHandle"},
		// Known or not: the signature comes first, or time would tell.
		"backup eligibility and signature": {func(_ *passkeytest.Authenticator, a *passkeytest.Answer) {
			a.Flags ^= passkeytest.BackupEligible | passkeytest.BackedUp
			a.Signature = make([]byte, 70)
		}, "signature"},
		"signature, empty": {func(_ *passkeytest.Authenticator, a *passkeytest.Answer) { a.Signature = []byte{} }, "signature"},
		"signature, zeros": {func(_ *passkeytest.Authenticator, a *passkeytest.Answer) { a.Signature = make([]byte, 70) }, "signature"},
		"signature, of other data": {func(d *passkeytest.Authenticator, a *passkeytest.Answer) {
			a.Signature = d.Sign(t, a.Data(), []byte("{}"))
		}, "signature"},
		"signature, raw":             {signature(func(r, s []byte) []byte { return append(slices.Clone(r), s...) }), "signature"},
		"signature, r of zero bytes": {signature(func(_, s []byte) []byte { return der(nil, pad(s)) }), "signature"},
		"signature, r of one byte":   {signature(func(_, s []byte) []byte { return der([]byte{1}, pad(s)) }), "signature"},
		"signature, r zero":          {signature(func(_, s []byte) []byte { return der([]byte{0}, pad(s)) }), "signature"},
		"signature, both zero":       {signature(func(_, _ []byte) []byte { return der([]byte{0}, []byte{0}) }), "signature"},
		"signature, negative":        {signature(func(_, s []byte) []byte { return der([]byte{0x80}, pad(s)) }), "signature"},
		"signature, r cut":           {signature(func(r, s []byte) []byte { return der(pad(r[1:]), pad(s)) }), "signature"},
		"signature, padded twice":    {signature(func(r, s []byte) []byte { return der(pad(pad(r)), pad(s)) }), "signature"},
		"signature, trailing byte": {func(d *passkeytest.Authenticator, a *passkeytest.Answer) {
			a.Signature = append(d.Sign(t, a.Data(), a.ClientJSON(t)), 0)
		}, "signature"},
		"signature, long length": {func(d *passkeytest.Authenticator, a *passkeytest.Answer) {
			sig := d.Sign(t, a.Data(), a.ClientJSON(t))
			a.Signature = append([]byte{0x30, 0x81}, sig[1:]...)
		}, "signature"},
		"signature, indefinite length": {func(d *passkeytest.Authenticator, a *passkeytest.Answer) {
			sig := d.Sign(t, a.Data(), a.ClientJSON(t))
			a.Signature = append(append([]byte{0x30, 0x80}, sig[2:]...), 0, 0)
		}, "signature"},
		"signature, cut": {func(d *passkeytest.Authenticator, a *passkeytest.Answer) {
			sig := d.Sign(t, a.Data(), a.ClientJSON(t))
			a.Signature = sig[:len(sig)-1]
		}, "signature"},
		"signature, of another key": {func(d *passkeytest.Authenticator, a *passkeytest.Answer) {
			a.Signature = passkeytest.New(t, origin).Sign(t, a.Data(), a.ClientJSON(t))
		}, "signature"},
	}
	for name, tt := range bad {
		tests[name] = struct {
			change change
			check  string
		}{func(_ *passkeytest.Authenticator, a *passkeytest.Answer) { tt.spoil(a) }, tt.check}
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, signUp, nil)
			d := passkeytest.New(t, origin)
			s.browser().register(d, "email=ada@example.com")
			s.told()
			b := s.browser()
			s.refused(b.signIn(d, func(a *passkeytest.Answer) { tt.change(d, a) }), verification, tt.check)
			if b.session() != "" {
				t.Error("somebody is signed in")
			}
			if to := b.signIn(d); to != "" {
				t.Errorf("signing in afterwards leads to %q\n%s", to, s.log)
			}
		})
	}
}

// An integer of a good signature may be short, and is taken.
func TestShortSignatures(t *testing.T) {
	s := newSite(t, signUp, nil)
	d := passkeytest.New(t, origin)
	s.browser().register(d, "email=ada@example.com")
	o := s.browser().options("action=authenticate")
	p, err := passkey.New(signUp)
	if err != nil {
		t.Fatal(err)
	}
	stored := s.passkeys("ada@example.com")[0]
	c := &gatebook.Ceremony{Origin: origin, Challenge: o.Options.Challenge}
	data := d.Get(t, o, func(a *passkeytest.Answer) {
		// One in about a hundred has an integer of 31 bytes.
		for a.Signature = d.Sign(t, a.Data(), a.ClientJSON(t)); len(a.Signature) > 69; {
			a.Signature = d.Sign(t, a.Data(), a.ClientJSON(t))
		}
	})
	if _, err := p.Authenticate(c, &stored, []byte(data)); err != nil {
		t.Errorf("a good signature of at most 69 bytes is refused: %v", err)
	}
}

func TestMalformedAnswers(t *testing.T) {
	s := newSite(t, signUp, nil)
	d := passkeytest.New(t, origin)
	s.browser().register(d, "email=ada@example.com")
	s.told()
	good := func(b *browser) string { return d.Get(t, b.options("action=authenticate")) }
	long := strings.Repeat("a", 64<<10)
	tests := map[string]struct{ action, data string }{
		"no action":       {"", "good"},
		"unknown action":  {"delete", "good"},
		"no data":         {"authenticate", ""},
		"no JSON":         {"authenticate", "{"},
		"array":           {"authenticate", "[]"},
		"string":          {"authenticate", `"id"`},
		"no id":           {"authenticate", `{"type":"public-key"}`},
		"id a number":     {"authenticate", `{"id":1}`},
		"id empty":        {"authenticate", `{"id":""}`},
		"id not base64":   {"authenticate", `{"id":"a*b"}`},
		"id padded":       {"authenticate", `{"id":"YQ=="}`},
		"id with newline": {"authenticate", `{"id":"YWFh\nYWFh"}`},
		"id of 1,024":     {"authenticate", `{"id":"` + b64.EncodeToString(make([]byte, 1024)) + `"}`},
		"oversized":       {"authenticate", `{"id":"YWFh","more":"` + long + `"}`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s.t = t
			b := s.browser()
			data := good(b)
			if tt.data != "good" {
				data = tt.data
			}
			s.refused(b.answer(tt.action, data), configuration, "format")
		})
	}
}

func TestChallenges(t *testing.T) {
	for name, strategy := range strategies {
		t.Run(name, func(t *testing.T) { testChallenges(t, strategy) })
	}
}

func testChallenges(t *testing.T, strategy func(*gatebook.Config)) {
	t.Helper()

	s := newSite(t, signUp, strategy)
	d := passkeytest.New(t, origin)
	s.browser().register(d, "email=ada@example.com")
	s.told()
	const name = "__Secure-authjs.challenge"

	b := s.browser()
	data := d.Get(t, b.options("action=authenticate"))
	kept := b.cookies[name]
	if to := b.answer("authenticate", data); to != "" {
		t.Fatalf("signing in leads to %q", to)
	}
	if b.cookies[name] != "" {
		t.Error("the challenge cookie is not cleared")
	}
	s.told()
	b = s.browser()
	b.cookies[name] = kept
	to := b.answer("authenticate", data)
	s.refused(to, configuration, "webauthnChallenge") // a replay

	// What fails uses the challenge up too.
	b = s.browser()
	o := b.options("action=authenticate")
	kept = b.cookies[name]
	b.answer("authenticate", d.Get(t, o, func(a *passkeytest.Answer) { a.Flags &^= passkeytest.UserVerified }))
	s.told()
	b.cookies[name] = kept
	s.refused(b.answer("authenticate", d.Get(t, o)), configuration, "webauthnChallenge")
	b.cookies[name] = kept // and whatever else is answered to it is a replay
	s.refused(b.answer("authenticate", d.Get(t, o, func(a *passkeytest.Answer) { a.Flags &^= passkeytest.UserVerified })), configuration, "webauthnChallenge")

	b = s.browser()
	data = d.Get(t, b.options("action=authenticate"))
	delete(b.cookies, name)
	s.refused(b.answer("authenticate", data), configuration, "webauthnChallenge")

	b = s.browser()
	data = d.Get(t, b.options("action=authenticate"))
	b.cookies[name] = b.cookies[name][:len(b.cookies[name])-4] + "AAAA"
	s.refused(b.answer("authenticate", data), configuration, "webauthnChallenge")

	b = s.browser()
	data = d.Get(t, b.options("action=authenticate"))
	s.now = s.now.Add(16 * time.Minute)
	s.refused(b.answer("authenticate", data), configuration, "webauthnChallenge")

	// A challenge of one ceremony is not good for the other.
	b = s.browser()
	o = b.options("email=new@example.com")
	s.refused(b.answer("authenticate", d.Get(t, o)), configuration, "webauthnChallenge")
	b = s.browser()
	o = b.options("action=authenticate")
	s.refused(b.answer("register", passkeytest.New(t, origin).Create(t, o)), configuration, "webauthnChallenge")

	// Another visitor's challenge is not good for this one's cookie.
	b = s.browser()
	b.options("action=authenticate")
	s.refused(b.answer("authenticate", d.Get(t, s.browser().options("action=authenticate"))), verification, "challenge")
}

func TestCSRF(t *testing.T) {
	s := newSite(t, signUp, nil)
	d := passkeytest.New(t, origin)
	s.browser().register(d, "email=ada@example.com")
	s.told()
	b := s.browser()
	data := d.Get(t, b.options("action=authenticate"))
	form := url.Values{"action": {"authenticate"}, "data": {data}, "csrfToken": {strings.Repeat("0", 64)}}
	r := httptest.NewRequest("POST", origin+"/auth/callback/passkey", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if to := b.send(r).Header().Get("Location"); to != origin+"/auth/signin?error=MissingCSRF" {
		t.Errorf("leads to %q", to)
	}
	s.want("csrf.rejected", "signIn.failed")
}

// A counter that does not go up is refused, as Auth.js does, and recorded.
func TestCounters(t *testing.T) {
	for name, strategy := range strategies {
		t.Run(name, func(t *testing.T) { testCounters(t, strategy) })
	}
}

func testCounters(t *testing.T, strategy func(*gatebook.Config)) {
	t.Helper()
	s := newSite(t, signUp, strategy)
	d := passkeytest.New(t, origin)
	d.Counter = 5
	s.browser().register(d, "email=ada@example.com")
	s.told()
	if to := s.browser().signIn(d); to != "" {
		t.Fatalf("counter 6 after 5 leads to %q", to)
	}
	s.want("signIn")
	for _, n := range []uint32{6, 5, 1, 0} {
		d.Counter = 6
		to := s.browser().signIn(d, func(a *passkeytest.Answer) { a.Counter = n })
		if to != verification {
			t.Errorf("counter %d after 6 leads to %q", n, to)
		}
		events := s.events()
		warning, ok := events[0].(*gatebook.PasskeyEvent)
		if len(events) != 2 || !ok || warning.Type != "passkey.cloneWarning" || warning.Received != n || warning.Passkey.Counter != 6 ||
			warning.User.Email != "ada@example.com" || warning.Outcome != "failure" || events[1].Meta().Cause != warning.ID {
			t.Errorf("events are %+v", events)
		}
	}
	if got := s.passkeys("ada@example.com")[0].Counter; got != 6 {
		t.Errorf("the counter is %d, want 6", got)
	}
	d.Counter = 1<<32 - 2
	if to := s.browser().signIn(d); to != "" {
		t.Errorf("the largest counter leads to %q", to)
	}
}

// The credential id of somebody's passkey is no secret: naming it registers
// nothing and signs nobody in.
func TestTakenCredentialID(t *testing.T) {
	for name, strategy := range strategies {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, signUp, strategy)
			ada := passkeytest.New(t, origin)
			a := s.browser()
			a.register(ada, "email=ada@example.com")
			s.told()
			eve := passkeytest.New(t, origin)
			eve.ID = ada.ID
			b := s.browser()
			s.refused(b.register(eve, "email=eve@example.com"), verification, "credential")
			if b.session() != "" {
				t.Errorf("the session is %q's", b.session())
			}
			s.refused(a.register(eve, "action=register"), verification, "credential") // her own again
			if to := s.browser().signIn(ada); to != "" {
				t.Errorf("Ada's passkey leads to %q", to)
			}
		})
	}
}

// A passkey goes to whoever began to register it, or to nobody.
func TestRegistrationIsBound(t *testing.T) {
	for name, strategy := range strategies {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, signUp, strategy)
			ada, grace := passkeytest.New(t, origin), passkeytest.New(t, origin)
			b := s.browser()
			b.register(ada, "email=ada@example.com")
			s.browser().register(grace, "email=grace@example.com")
			s.told()

			o := b.options("action=register")
			challenge := b.cookies["__Secure-authjs.challenge"]
			other := s.browser()
			other.signIn(grace)
			s.told()
			other.cookies["__Secure-authjs.challenge"] = challenge
			s.refused(other.answer("register", passkeytest.New(t, origin).Create(t, o)), verification, "account")

			o = b.options("action=register")
			delete(b.cookies, "__Secure-authjs.session-token")
			s.refused(b.answer("register", passkeytest.New(t, origin).Create(t, o)), verification, "account")

			fresh := s.browser()
			o = fresh.options("email=new@example.com")
			challenge = fresh.cookies["__Secure-authjs.challenge"]
			fresh.signIn(grace)
			s.told()
			fresh.cookies["__Secure-authjs.challenge"] = challenge
			s.refused(fresh.answer("register", passkeytest.New(t, origin).Create(t, o)), verification, "account")
		})
	}
}

// With sign-up off a challenge from elsewhere does not turn it on.
func TestSignUpOff(t *testing.T) {
	open := newSite(t, signUp, nil)
	closed := newSite(t, passkey.Config{}, func(c *gatebook.Config) { c.Adapter = open.store })
	b := open.browser()
	o := b.options("email=new@example.com")
	there := closed.browser()
	there.cookies = b.cookies
	closed.refused(there.answer("register", passkeytest.New(t, origin).Create(t, o)), configuration, "account")
}
