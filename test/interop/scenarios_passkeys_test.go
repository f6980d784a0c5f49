package interop

import (
	"encoding/asn1"
	"encoding/base64"
	"math/big"
	"net/url"
	"slices"

	"github.com/gatebook/gatebook/passkey/passkeytest"
)

// passkeyOptions asks what a browser is to do.
func passkeyOptions(query string) step { return get("/auth/webauthn-options/passkey?" + query) }

// newAuthenticator gives the visitor an authenticator with no passkey.
func newAuthenticator() step {
	return step{"", func(v *visitor) { v.key = passkeytest.New(v.t, v.setup.Origin) }}
}

// registers answers the last options with a new passkey, authenticates with the
// visitor's.
func registers(form string, changes ...func(*passkeytest.Answer)) step {
	return step{"register " + form, func(v *visitor) {
		v.answer("register", v.key.Create(v.t, passkeytest.ParseOptions(v.t, []byte(v.last.body)), changes...), form)
	}}
}

func authenticates(form string, changes ...func(*passkeytest.Answer)) step {
	return step{"authenticate " + form, func(v *visitor) {
		v.answer("authenticate", v.key.Get(v.t, passkeytest.ParseOptions(v.t, []byte(v.last.body)), append(changes, v.key.FullSignature(v.t))...), form)
	}}
}

func (v *visitor) answer(action, data, form string) {
	v.send("POST", "/auth/callback/passkey", form+"&action="+action+"&data="+url.QueryEscape(data), with("Content-Type", "application/x-www-form-urlencoded"))
}

// knowsPasskey makes the visitor's passkey one that the adapter knows.
func knowsPasskey(user string, more ...rows) step {
	return step{"", func(v *visitor) {
		v.key = passkeytest.New(v.t, v.setup.Origin)
		v.key.Handle = sha256hex(user)
		id := base64.StdEncoding.EncodeToString(v.key.ID)
		r := rows{Users: []userRow{ada}, Accounts: []accountRow{{user, "webauthn", "passkey", id}}, Authenticators: []authenticatorRow{{
			CredentialID: id, UserID: user, ProviderAccountID: id, PublicKey: base64.StdEncoding.EncodeToString(v.key.COSE),
			DeviceType: "multiDevice", BackedUp: true, Transports: "internal,hybrid"}}}
		for _, m := range more {
			r.Users = append(r.Users, m.Users...)
			r.Accounts = append(r.Accounts, m.Accounts...)
		}
		v.side.seed(v.t, r)
	}}
}

// passkeyScenarios are the scenarios of passkeys.
func passkeyScenarios() []scenario {
	site := setup{Adapter: true, Providers: []provider{passkeys, acme}}
	session := get("/auth/session")
	knowsAda := knows(rows{Users: []userRow{ada}})
	token := "csrfToken=$csrf"
	wrong := func(change func(*passkeytest.Answer)) []step {
		return steps(knowsPasskey("u-ada"), passkeyOptions("action=authenticate"), authenticates(token, change))
	}
	table := slices.Concat(
		inBoth("59.W1", "a passkey, its user signed in", site, steps(knowsPasskey("u-ada"), quietly(passkeyOptions("action=authenticate"), authenticates(token)),
			passkeyOptions("action=authenticate"), authenticates(token), session)),
		inBoth("59.W2", "a passkey, somebody else signed in", site, steps(knowsPasskey("u-ada", rows{Users: []userRow{grace}, Accounts: []accountRow{acmeAccount("u-grace", "42")}}),
			quietly(signInAt("acme")...), passkeyOptions("action=authenticate"), authenticates(token), session)),
		inBoth("59.W3", "a passkey, nobody signed in", site, steps(knowsPasskey("u-ada"), passkeyOptions("action=authenticate"), authenticates(token), session)),
		inBoth("59.W4", "a new passkey, somebody signed in", site, steps(knows(rows{Users: []userRow{ada}, Accounts: []accountRow{acmeAccount("u-ada", "42")}}), newAuthenticator(),
			quietly(signInAt("acme")...), passkeyOptions("action=register"), registers(token), session)),
		inBoth("59.W5", "a new passkey of a new user", site, steps(newAuthenticator(), passkeyOptions("email=ada@example.com"), registers(token+"&email=ada@example.com"), session)),
		inBoth("59.W6", "a new passkey with a known address", site, steps(newAuthenticator(), passkeyOptions("email=ada@example.com"), knowsAda, registers(token))),
		inBoth("71.signedin", "options while signed in", site, steps(knowsPasskey("u-ada"), quietly(passkeyOptions("action=authenticate"), authenticates(token)),
			passkeyOptions(""), passkeyOptions("action=register"), passkeyOptions("action=authenticate"))),
	)
	return slices.Concat(table, []scenario{
		{"71", "options for nobody and for a new address", site, steps(knowsPasskey("u-ada"), passkeyOptions(""), passkeyOptions("action=authenticate"), passkeyOptions("action=register"),
			passkeyOptions("email=new@example.com"), passkeyOptions("action=register&email=new@example.com"))},
		{"71.known", "options for a known address", site, steps(knowsPasskey("u-ada"), passkeyOptions("email=ada@example.com"), passkeyOptions("action=authenticate&email=ada@example.com"),
			passkeyOptions("action=register&email=ada@example.com"))},
		{"71.unknown", "options to authenticate for an unknown address", site, steps(passkeyOptions("action=authenticate&email=new@example.com"))},
		{"71.upper", "options for a known address in upper case", site, steps(knowsPasskey("u-ada"), passkeyOptions("action=authenticate&email=ADA@example.com"))},
		{"71.action", "options for what is no action, and of no provider", site, steps(passkeyOptions("action=dance"), get("/auth/webauthn-options/acme"), get("/auth/webauthn-options"),
			get("/auth/webauthn-options/unknown"), post("/auth/webauthn-options/passkey", ""))},
		{"71.webauthn", "options of the provider for security keys", setup{Adapter: true, Providers: []provider{webauthn}}, steps(
			get("/auth/webauthn-options/webauthn?email=new@example.com"), get("/auth/webauthn-options/webauthn?action=authenticate"))},
		{"71.list", "passkeys in the list of providers", setup{Adapter: true, Providers: []provider{passkeys, webauthn}}, steps(get("/auth/providers"))},
		{"71.page", "the sign-in page with passkeys", setup{Adapter: true, Providers: []provider{passkeys, acme}}, steps(get("/auth/signin"))},
		{"72.csrf", "a passkey without a CSRF token", site, steps(knowsPasskey("u-ada"), passkeyOptions("action=authenticate"), authenticates("x=y"))},
		{"72.reuse", "a challenge that is used twice", site, steps(knowsPasskey("u-ada"), passkeyOptions("action=authenticate"), keeps("before"),
			authenticatesTwice(token))},
		{"72.cookie", "an answer without the cookie of the challenge", site, steps(knowsPasskey("u-ada"), passkeyOptions("action=authenticate"), drops("authjs.challenge"), authenticates(token))},
		{"72.unknown", "a passkey that is not known", site, steps(newAuthenticator(), passkeyOptions("action=authenticate"), authenticates(token))},
		{"72.origin", "an answer from another origin", site, wrong(func(a *passkeytest.Answer) { a.Client["origin"] = "https://evil.example" })},
		{"72.challenge", "an answer to another challenge", site, wrong(func(a *passkeytest.Answer) {
			a.Client["challenge"] = base64.RawURLEncoding.EncodeToString(make([]byte, 32))
		})},
		{"72.signature", "an answer with another signature", site, wrong(func(a *passkeytest.Answer) { a.Signature = []byte{0x30, 0} })},
		{"72.short", "an answer whose signature has a short integer", site, steps(knowsPasskey("u-ada"), passkeyOptions("action=authenticate"), signsShort(token), session)},
		{"72.flags", "an answer whose user was not verified", site, wrong(func(a *passkeytest.Answer) { a.Flags = passkeytest.UserPresent })},
		{"72.form", "answers that are none", site, steps(post("/auth/callback/passkey", token), post("/auth/callback/passkey", token+"&action=dance&data=%7B%7D"),
			post("/auth/callback/passkey", token+"&action=authenticate&data=x"), get("/auth/callback/passkey"))},
		{"72.signin", "a passkey provider at the route to sign in", site, steps(post("/auth/signin/passkey", token))},
		{"73", "a signIn callback that leads elsewhere", setup{Adapter: true, Providers: []provider{passkeys}, Does: does{SignIn: "to /terms"}}, steps(
			knowsPasskey("u-ada"), passkeyOptions("action=authenticate"), authenticates(token))},
		{"73.deny", "a signIn callback that refuses", setup{Adapter: true, Providers: []provider{passkeys}, Does: does{SignIn: "deny"}}, steps(
			knowsPasskey("u-ada"), passkeyOptions("action=authenticate"), authenticates(token))},
		{"73.newUser", "a page for new users", setup{Adapter: true, Providers: []provider{passkeys}, Pages: pages{NewUser: "/welcome"}}, steps(
			newAuthenticator(), passkeyOptions("email=ada@example.com"), registers(token+"&callbackUrl=/there"))},
	})
}

// signsShort answers with a signature of which an integer is shorter than the
// key, as one in 128 is.
func signsShort(form string) step {
	return step{"authenticate " + form, func(v *visitor) {
		o := passkeytest.ParseOptions(v.t, []byte(v.last.body))
		v.answer("authenticate", v.key.Get(v.t, o, func(a *passkeytest.Answer) {
			var ints struct{ R, S *big.Int }
			for a.Signature == nil {
				sig := v.key.Sign(v.t, a.Data(), a.ClientJSON(v.t))
				if _, err := asn1.Unmarshal(sig, &ints); err != nil {
					v.t.Fatal(err)
				}
				if ints.R.BitLen() <= 248 || ints.S.BitLen() <= 248 {
					a.Signature = sig
				}
			}
		}), form)
	}}
}

// authenticatesTwice sends one answer twice, the second time with the cookies
// of the first.
func authenticatesTwice(form string) step {
	return step{"authenticate twice", func(v *visitor) {
		data := v.key.Get(v.t, passkeytest.ParseOptions(v.t, []byte(v.last.body)), v.key.FullSignature(v.t))
		v.answer("authenticate", data, form)
		v.jar = slices.Clone(v.jars["before"])
		v.answer("authenticate", data, form)
	}}
}
