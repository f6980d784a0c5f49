package interop

import "time"

// ada and grace are users whom the adapter knows.
var (
	ada   = userRow{ID: "u-ada", Name: "Ada Lovelace", Email: "ada@example.com"}
	grace = userRow{ID: "u-grace", Name: "Grace Hopper", Email: "grace@example.com"}
)

// knows puts users and accounts into the adapter.
func knows(r rows) step { return findsRows(func() rows { return r }) }

func npmAccount(user, sub string) accountRow { return accountRow{user, "oidc", "npm", sub} }
func acmeAccount(user, id string) accountRow { return accountRow{user, "oauth", "acme", id} }

// answers makes the mock provider answer so at a path from now on; a header is
// a name and a value.
func answers(path string, status int, body string, header ...string) step {
	return step{"", func(v *visitor) {
		a := answering{status: status, body: v.fill(body)}
		copy(a.header[:], header)
		v.mock.answer(path, a)
	}}
}

// claiming changes claims of the mock provider's ID tokens; a nil one is left
// out, a duration is from now, in seconds.
func claiming(claims map[string]any, alg string) step {
	return step{"", func(v *visitor) { v.mock.set(claims, alg) }}
}

// authorization are the scenarios of what is sent to a provider.
func authorization() []scenario {
	begin := func(id string) step { return post("/auth/signin/"+id, "csrfToken=$csrf") }
	return []scenario{
		{"44", "to GitHub", setup{Providers: []provider{github}}, steps(post("/auth/signin/github", "csrfToken=$csrf&callbackUrl=/a", xr))},
		{"44.oauth", "to an OAuth provider", setup{}, steps(begin("acme"), post("/auth/signin/acme", "csrfToken=$csrf", xr))},
		{"44.again", "twice to a provider", setup{}, steps(begin("acme"), begin("acme"))},
		{"45", "with parameters of the request", setup{}, steps(post("/auth/signin/acme?prompt=login&scope=x", "csrfToken=$csrf"),
			post("/auth/signin/acme?a=1&a=2&b=%20c%2Bd~*", "csrfToken=$csrf"))},
		{"45.protected", "with parameters that the flow rests on", setup{}, steps(
			post("/auth/signin/acme?client_id=evil&redirect_uri=https%3A%2F%2Fevil.example&response_type=token", "csrfToken=$csrf"))},
		{"45.callback", "with a callback URL in the query", setup{}, steps(post("/auth/signin/acme?callbackUrl=/q", "csrfToken=$csrf&callbackUrl=/b"))},
		{"46", "to an OpenID provider", setup{}, steps(begin("npm"))},
		{"46.params", "to an OpenID provider with parameters", one(npm, func(p *provider) { p.Params = [][2]string{{"scope", "openid email"}, {"prompt", "consent"}} }), steps(
			begin("npm"), post("/auth/signin/npm?prompt=none", "csrfToken=$csrf"))},
		{"46.checks", "with the checks in another order", one(npm, func(p *provider) { p.Checks = []string{"nonce", "state", "pkce"} }), steps(begin("npm"))},
		{"46.nonce", "without a nonce", one(mock, func(p *provider) { p.Checks = []string{"pkce", "state"} }), steps(
			begin("mock"), back("mock", "code=$code&state=$state"), get("/auth/session"))},
		{"46.endpoint", "to an endpoint that has a query", one(acme, func(p *provider) { p.AuthURL = "MOCK/authorize?a=1&b=2"; p.Params = [][2]string{{"b", "3"}} }), steps(begin("acme"))},
		{"46.down", "to a provider that is down", one(mock, func(*provider) {}), steps(answers("/.well-known/openid-configuration", 500, "{}"), begin("mock"))},
		{"47", "to a provider that answers by form", setup{Origin: "https://app.example", Providers: []provider{formPost()}}, steps(
			begin("mock"), post("/auth/callback/mock", "code=$code&state=$state"), get("/auth/session"))},
		{"47.pkce", "to a provider that answers by form, with a code verifier", one(formPost(), func(p *provider) { p.Checks = append(p.Checks, "pkce") }), steps(begin("mock"))},
		{"5.csrf", "to a provider with JSON", setup{}, steps(postJSON("/auth/signin/acme", `{"csrfToken":"$csrf","callbackUrl":"/a"}`, xr))},
	}
}

// formPost is the mock provider that comes back with a POST, without PKCE,
// whose cookie would not come with it from Auth.js.
func formPost() provider {
	p := mock
	p.Checks = []string{"state", "nonce"}
	p.Params = [][2]string{{"response_mode", "form_post"}}
	return p
}

// callbacks are the scenarios of what comes back from a provider.
func callbacks() []scenario {
	good := "code=$code&state=$state"
	begin := func(id string) step { return quietly(post("/auth/signin/"+id, "csrfToken=$csrf")) }
	oauth := setup{Providers: []provider{acme, mock}}
	oidc := setup{Providers: []provider{mock}}
	auth := func(method, secret string) setup {
		p := acme
		p.ClientAuth, p.ClientSecret = method, secret
		return setup{Providers: []provider{p}}
	}
	const (
		state = "authjs.state"
		pkce  = "authjs.pkce.code_verifier"
		nonce = "authjs.nonce"
	)
	// sealed is a check cookie that neither server made.
	sealed := func(name, value, provider string, age time.Duration) step {
		return step{"", func(v *visitor) {
			v.set(name, sealing{secret: secret, salt: name}.seal(map[string]any{"value": value, "provider": provider, "exp": age}))
		}}
	}
	token := func(name, what string, claims map[string]any, alg string) scenario {
		return scenario{"51." + name, what, oidc, steps(begin("mock"), claiming(claims, alg), back("mock", good))}
	}
	userinfo := func(name, what, body string) scenario {
		return scenario{"53." + name, what, oauth, steps(begin("acme"), answers("/userinfo", 200, body), back("acme", good), get("/auth/session"))}
	}
	reply := func(name, what string, status int, body string) scenario {
		return scenario{"52." + name, what, oauth, steps(begin("acme"), answers("/token", status, body), back("acme", good))}
	}
	return []scenario{
		{"48", "how the client says who it is", auth("client_secret_basic", "a secret/with_odd~chars"), steps(begin("acme"), back("acme", good))},
		{"48.post", "a client secret in the body", auth("client_secret_post", "a secret/with_odd~chars"), steps(begin("acme"), back("acme", good))},
		{"48.none", "a public client", auth("none", ""), steps(begin("acme"), back("acme", good))},
		{"49", "back without the cookie of the code verifier", oauth, steps(begin("acme"), drops(pkce), back("acme", good))},
		{"49.state", "back without the cookie of the state", oauth, steps(begin("acme"), drops(state), back("acme", good))},
		{"49.nonce", "back without the cookie of the nonce", oidc, steps(begin("mock"), drops(nonce), back("mock", good))},
		{"49.expired", "back with a code verifier that has run out", oauth, steps(begin("acme"), sealed(pkce, "verifier", "acme", -time.Minute), back("acme", good))},
		{"49.other", "back with another provider's code verifier", oauth, steps(begin("acme"), sealed(pkce, "verifier", "mock", 15*time.Minute), back("acme", good))},
		{"49.foreign", "back with a code verifier that another server sealed", oauth, steps(begin("acme"), sealed(pkce, "verifier", "acme", 15*time.Minute), back("acme", good))},
		{"49.garbage", "back with a code verifier that is none", oauth, steps(begin("acme"), has(pkce, "garbage"), back("acme", good))},
		{"50", "back with an error", oauth, steps(begin("acme"), back("acme", "error=access_denied&error_description=no&state=$state"))},
		{"50.xr", "back with an error, to a client that asks for JSON", oauth, steps(begin("acme"), back("acme", "error=access_denied&state=$state", xr))},
		{"50.state", "back with an error and without the cookie", oauth, steps(begin("acme"), drops(state), back("acme", "error=access_denied&state=$state"))},
		{"50.npm", "refused at the provider", setup{}, steps(quietly(post("/auth/signin/npm", "csrfToken=$csrf")), refused())},
		{"51", "back with another state", oauth, steps(begin("acme"), back("acme", "code=$code&state=another"), back("acme", "code=$code"))},
		{"51.iss", "back from another issuer", oidc, steps(begin("mock"), back("mock", good+"&iss=https://evil.example"))},
		{"51.iss.own", "back from the issuer itself", oidc, steps(begin("mock"), back("mock", good+"&iss=$mock"))},
		{"51.response", "back with parameters of other flows", oauth, steps(begin("acme"), back("acme", good+"&response=x"),
			begin("acme"), back("acme", good+"&id_token=x"), begin("acme"), back("acme", "state=$state"))},
		{"51.nothing", "back with nothing", oauth, steps(get("/auth/callback/acme"), begin("acme"), get("/auth/callback/acme"))},
		{"51.post", "back by POST where a query is expected", oauth, steps(begin("acme"), post("/auth/callback/acme", good), post("/auth/callback/acme?"+good, ""))},
		{"51.twice", "back twice with the same code", setup{Adapter: true, Providers: []provider{acme}}, steps(begin("acme"), back("acme", good), back("acme", good))},
		{"51.replay", "back again with the cookies of the first time", setup{Adapter: true, Providers: []provider{acme}}, steps(
			begin("acme"), keeps("before"), back("acme", good), other("before"), back("acme", good))},
		token("good", "an ID token as it should be", nil, ""),
		token("wrong-iss", "an ID token of another issuer", map[string]any{"iss": "https://evil.example"}, ""),
		token("wrong-aud", "an ID token for another client", map[string]any{"aud": "another"}, ""),
		token("two-aud", "an ID token for two clients", map[string]any{"aud": []string{client, "another"}}, ""),
		token("azp", "an ID token for two clients, issued to this one", map[string]any{"aud": []string{client, "another"}, "azp": client}, ""),
		token("other-azp", "an ID token issued to another client", map[string]any{"azp": "another"}, ""),
		token("wrong-nonce", "an ID token with another nonce", map[string]any{"nonce": "another"}, ""),
		token("no-nonce", "an ID token without a nonce", map[string]any{"nonce": nil}, ""),
		token("no-sub", "an ID token of nobody", map[string]any{"sub": nil}, ""),
		token("no-exp", "an ID token that never runs out", map[string]any{"exp": nil}, ""),
		token("just-expired", "an ID token that has just run out", map[string]any{"exp": -20 * time.Second}, ""),
		token("expired", "an ID token that has run out", map[string]any{"exp": -40 * time.Second}, ""),
		token("future", "an ID token of tomorrow", map[string]any{"iat": 24 * time.Hour, "exp": 25 * time.Hour}, ""),
		token("alg", "an ID token with another algorithm", nil, "HS256"),
		token("forged", "an ID token that is signed by nobody known", nil, "forged"),
		reply("created", "a token reply with status 201", 201, `{"access_token":"at-1","token_type":"bearer"}`),
		reply("error", "a token reply with an error", 400, `{"error":"invalid_grant"}`),
		reply("html", "a token reply that is no JSON", 200, `<html>`),
		reply("empty", "a token reply without a token", 200, `{"token_type":"bearer"}`),
		reply("type", "a token of another type", 200, `{"access_token":"at-1","token_type":"mac"}`),
		reply("no-type", "a token without a type", 200, `{"access_token":"at-1"}`),
		reply("expires-text", "a lifetime that is a text", 200, `{"access_token":"at-1","token_type":"Bearer","expires_in":"3600"}`),
		reply("expires-zero", "a lifetime of nothing", 200, `{"access_token":"at-1","token_type":"bearer","expires_in":0}`),
		reply("scopes", "scopes in a list", 200, `{"access_token":"at-1","token_type":"bearer","scope":["a","b"]}`),
		userinfo("number", "an account id that is a number", `{"id":42,"name":"Ada","email":"ada@example.com"}`),
		userinfo("upper", "an address in upper case", `{"id":"42","name":"Ada","email":"ADA@EXAMPLE.COM"}`),
		userinfo("no-id", "a profile without an id", `{"name":"Ada","email":"ada@example.com"}`),
		userinfo("empty-id", "a profile with an empty id", `{"id":"","name":"Ada","email":"ada@example.com"}`),
		userinfo("bare", "a profile with an id only", `{"id":"42"}`),
		userinfo("nulls", "a profile with nulls", `{"id":"42","name":null,"email":null,"picture":null}`),
		userinfo("array", "a profile that is a list", `[]`),
		{"53.status", "a profile that is an error", oauth, steps(begin("acme"), answers("/userinfo", 401, `{"id":"42","name":"Ada"}`), back("acme", good))},
		{"53.throw", "a profile that cannot be read", one(acme, func(p *provider) { p.Profile = "throw" }), steps(begin("acme"), back("acme", good))},
		{"53.oidc", "an OpenID provider whose profile comes from userinfo", one(mock, func(p *provider) { p.UserinfoProfile = true }), steps(begin("mock"), back("mock", good), get("/auth/session"))},
		{"53.oidc.sub", "userinfo of somebody else", one(mock, func(p *provider) { p.UserinfoProfile = true }), steps(begin("mock"),
			answers("/userinfo", 200, `{"sub":"43"}`), back("mock", good))},
		{"56", "without an adapter, twice", setup{Providers: []provider{acme}}, steps(signInAt("acme"), get("/auth/session"), signInAt("acme"))},
		{"56.npm", "without an adapter, at npm's provider", setup{}, steps(signIn("grace"), get("/auth/session"))},
		{"10.signin.deny", "a signIn callback that refuses", setup{Does: does{SignIn: "deny"}}, steps(begin("acme"), back("acme", good))},
		{"10.signin.throw", "a signIn callback that fails", setup{Does: does{SignIn: "throw"}}, steps(begin("acme"), back("acme", good))},
		{"10.signin.to", "a signIn callback that leads elsewhere", setup{Does: does{SignIn: "to /terms"}}, steps(begin("acme"), back("acme", good))},
		{"10.signin.to.foreign", "a signIn callback that leads to another site", setup{Does: does{SignIn: "to https://evil.example/"}}, steps(begin("acme"), back("acme", good))},
		{"10.signin.credentials", "a signIn callback that says bad credentials", setup{Does: does{SignIn: "credentials"}}, steps(begin("acme"), back("acme", good))},
		{"10.jwt.throw", "a jwt callback that fails at sign-in", setup{Does: does{JWT: "throw"}}, steps(begin("acme"), back("acme", good))},
		{"1.7.callback", "back for a client that asks for JSON", oauth, steps(begin("acme"), back("acme", good, xr))},
		{"2.6.rotated", "back with cookies that the secret before sealed", setup{Secrets: []string{"new " + secret, secret}, Providers: []provider{acme}}, steps(
			sealed(state, "a-state", "acme", time.Minute), sealed(pkce, "a-verifier", "acme", time.Minute), back("acme", "code=$code&state=a-state"))},
		{"2.6.skew", "back with a code verifier that has just run out", oauth, steps(begin("acme"), sealed(pkce, "verifier", "acme", -10*time.Second), back("acme", good))},
		{"5.2.issuer", "a provider whose metadata name another issuer", oidc, steps(answers(metadata, 200, discovered("https://other.example", "$mock/userinfo")), begin("mock"))},
		{"5.2.html", "a provider whose metadata are no JSON", oidc, steps(answers(metadata, 200, "<html>"), begin("mock"))},
		{"5.2.moved", "a provider whose metadata have moved", oidc, steps(answers(metadata, 302, "", "Location", "/elsewhere"), begin("mock"))},
		{"5.5.userinfo", "a provider without a userinfo endpoint", oidc, steps(answers(metadata, 200, discovered("$mock", "")), begin("mock"), back("mock", good))},
		{"5.5.moved", "a token endpoint that has moved", oauth, steps(begin("acme"), answers("/token", 307, "", "Location", "/elsewhere"), back("acme", good))},
		{"5.5.userinfo.moved", "a userinfo endpoint that has moved", oauth, steps(begin("acme"), answers("/userinfo", 302, "", "Location", "/elsewhere"), back("acme", good))},
		{"5.5.challenge", "a token reply with a challenge", oauth, steps(begin("acme"), answers("/token", 200, `{"access_token":"at-1","token_type":"bearer"}`,
			"WWW-Authenticate", "Bearer"), back("acme", good))},
		{"5.callback", "a callback URL kept on the way", oauth, steps(quietly(post("/auth/signin/acme", "csrfToken=$csrf&callbackUrl=/there")), back("acme", good))},
	}
}

const metadata = "/.well-known/openid-configuration"

// discovered are a provider's metadata (OpenID Connect Discovery, Section 3).
func discovered(issuer, userinfo string) string {
	if userinfo != "" {
		userinfo = `"userinfo_endpoint":"` + userinfo + `",`
	}
	return `{"issuer":"` + issuer + `",` + userinfo + `"authorization_endpoint":"$mock/authorize","token_endpoint":"$mock/token",` +
		`"jwks_uri":"$mock/jwks","id_token_signing_alg_values_supported":["RS256"],"response_types_supported":["code"],"subject_types_supported":["public"]}`
}

// refused walks to npm's provider and refuses there.
func refused() step {
	return step{"refused at the provider", func(v *visitor) {
		v.send("GET", v.op.Refuse(v.t, nil, v.last.location()).RequestURI(), "")
	}}
}

// one is a site with one provider, a little changed.
func one(p provider, change func(*provider)) setup {
	change(&p)
	return setup{Providers: []provider{p}}
}
