package interop

// options are the scenarios of options that change cookies and addresses.
func options() []scenario {
	yes, no := true, false
	session := get("/auth/session")
	out := post("/auth/signout", "csrfToken=$csrf")
	const proxy = "https://auth.example/auth"
	begin := post("/auth/signin/acme", "csrfToken=$csrf")
	preview := setup{Providers: []provider{acme}, RedirectProxy: proxy}
	atProxy := setup{Origin: "https://auth.example", Providers: []provider{acme}, RedirectProxy: proxy}
	state := func(secret string, claims map[string]any) string {
		return sealing{secret: secret, salt: "encodedState"}.seal(claims)
	}
	arrives := func(what, state string) step {
		return step{"at the proxy with " + what, func(v *visitor) { v.send("GET", "/auth/callback/acme?code=c&state="+state+"&iss=x", "") }}
	}
	return []scenario{
		{"25.insecure", "plain cookies on a site known by https", setup{Origin: "https://app.example", UseSecureCookies: &no}, steps(typed("right"), session, out)},
		{"25.secure", "secure cookies on a site known by http", setup{UseSecureCookies: &yes}, steps(typed("right"), session, out)},
		{"25.name", "cookies with names of one's own", setup{Cookies: map[string]cookieConfig{"sessionToken": {"my.session"}, "csrfToken": {"my.csrf"}}}, steps(
			typed("right"), session, out)},
		{"25.name.chunks", "a named cookie in several parts", setup{Does: does{JWT: "big 6000"}, Cookies: map[string]cookieConfig{"sessionToken": {"my.session"}}}, steps(
			typed("right"), session, out)},
		{"13.2", "a secret of its own for tokens", setup{JWT: tokens{Secret: "another " + secret}}, steps(get("/auth/csrf"), typed("right"), session,
			signInAt("acme"))},
		{"55", "a deployment behind a redirect proxy", preview, steps(begin, back("acme", "code=$code&state=$state"), session)},
		{"55.proxy", "at the proxy, for a deployment behind it", atProxy, steps(
			arrives("a state of that deployment", state(secret, map[string]any{"origin": home + "/auth/callback/acme", "random": "r", "exp": 900})))},
		{"55.stranger", "at the proxy, for a deployment that it does not know", atProxy, steps(
			arrives("a state of a stranger", state(secret, map[string]any{"origin": "https://evil.example/auth/callback/acme", "random": "r"})))},
		{"55.tampered", "at the proxy with a state that is none", atProxy, steps(
			arrives("a state of another secret", state("another "+secret, map[string]any{"origin": home + "/auth/callback/acme"})), arrives("no state at all", "x"))},
		{"55.own", "at the proxy, for itself", atProxy, steps(begin, back("acme", "code=$code&state=$state"), session)},
	}
}
