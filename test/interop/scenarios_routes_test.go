package interop

import "strings"

// csrfToken is a token with its cookie, under the usual secret.
const csrfToken = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// csrfCookie is what a server that has this text of secrets sends with it.
func csrfCookie(secrets string) string { return csrfToken + "%7C" + sha256hex(csrfToken+secrets) }

// routes are the scenarios of routes, methods and errors.
func routes() []scenario {
	own := setup{Pages: pages{SignIn: "/login", SignOut: "/logout", Error: "/e?y=1", VerifyRequest: "/check", NewUser: "/welcome"}}
	return []scenario{
		{"1", "the CSRF token of a newcomer", setup{}, steps(get("/auth/csrf"))},
		{"2", "the CSRF token again", setup{}, steps(get("/auth/csrf"), get("/auth/csrf"))},
		{"3", "a CSRF cookie whose hash is wrong", setup{}, steps(has("authjs.csrf-token", csrfToken+"%7C00"), get("/auth/csrf"))},
		{"3.form", "CSRF cookies that have another form", setup{}, steps(
			has("authjs.csrf-token", csrfToken), get("/auth/csrf"),
			has("authjs.csrf-token", csrfCookie(secret)+"%7Cmore"), get("/auth/csrf"),
			has("authjs.csrf-token", "%7C"), get("/auth/csrf"))},
		{"4", "a CSRF cookie that another server made", setup{}, steps(has("authjs.csrf-token", csrfCookie(secret)), get("/auth/csrf"))},
		{"4.list", "CSRF cookies where there are several secrets", setup{Secrets: []string{"new " + secret, secret}}, steps(
			has("authjs.csrf-token", csrfCookie("new "+secret+","+secret)), get("/auth/csrf"),
			has("authjs.csrf-token", csrfCookie("new "+secret)), get("/auth/csrf"))},
		{"5", "the list of providers", setup{Adapter: true, Providers: []provider{google, github, npm, acme, mail, passwords}}, steps(
			get("/auth/providers"), get("/auth/providers?callbackUrl=/a"))},
		{"6", "the session of nobody", setup{}, steps(get("/auth/session"))},
		{"7", "methods", setup{}, steps(
			request("HEAD", "/auth/session", ""), request("OPTIONS", "/auth/session", ""), request("PUT", "/auth/session", ""),
			request("DELETE", "/auth/signout", ""), request("HEAD", "/auth/nope", ""))},
		{"8", "paths that are no route", setup{}, steps(get("/auth"), get("/auth/"), get("/auth/nope"), get("/auth/csrf/x"),
			get("/auth/callback/a/b"), get("/auth/signinn"), get("/auth/auth/signin/npm"), get("/auth/error/x"), get("/auth/session/x"))},
		{"9", "slashes around a route", setup{}, steps(get("/auth//csrf///"), get("/auth//signin///"))},
		{"9.base", "a path that only begins like the base path", setup{}, steps(get("/authcsrf"))},
		{"10", "POST to routes that are read", setup{}, steps(post("/auth/csrf", ""), post("/auth/providers", ""), post("/auth/error", ""),
			post("/auth/verify-request", ""), post("/auth/providers", "", xr))},
		{"11", "the sign-in page of one provider", setup{}, steps(get("/auth/signin/npm"), get("/auth/signin/undefined"))},
		{"12", "callbacks that no provider takes", setup{}, steps(get("/auth/callback"), get("/auth/callback/unknown"),
			get("/auth/callback/credentials"), post("/auth/callback/unknown", "csrfToken=$csrf"), get("/auth/callback/unknown", xr))},
		{"12.signin", "signing in with an unknown provider", setup{}, steps(post("/auth/signin/unknown", "csrfToken=$csrf"),
			post("/auth/signin/unknown", ""), post("/auth/signin", "csrfToken=$csrf"), post("/auth/signin", ""))},
		{"12.typed", "signing in with credentials at the wrong route", setup{}, steps(post("/auth/signin/credentials", "csrfToken=$csrf&password=right"))},
		{"13", "signing in without a CSRF token", setup{}, steps(post("/auth/signin/npm", ""), post("/auth/signin/npm", "", xr))},
		{"13.wrong", "signing in with another's CSRF token", setup{}, steps(get("/auth/csrf"), post("/auth/signin/npm", "csrfToken="+csrfToken))},
		{"13.query", "a CSRF token in the query", setup{}, steps(post("/auth/signin/npm?csrfToken=$csrf", ""))},
		{"13.credentials", "credentials without a CSRF token", setup{}, steps(
			post("/auth/callback/credentials", "password=right"), post("/auth/callback/credentials", "password=right", xr))},
		{"13.signout", "signing out without a CSRF token", setup{}, steps(post("/auth/signout", ""), post("/auth/signout", "", xr))},
		{"14", "updating a session without a CSRF token", setup{}, steps(postJSON("/auth/session", `{"data":{}}`), postJSON("/auth/session", `{"data":{}}`, xr))},
		{"15", "bodies that cannot be read", setup{}, steps(postJSON("/auth/session", `{"data":`),
			request("POST", "/auth/signout", "csrfToken=$csrf", with("Content-Type", "text/plain")),
			request("POST", "/auth/signout", "csrfToken=$csrf"))},
		{"15.json", "a form as JSON", setup{}, steps(postJSON("/auth/callback/credentials", `{"csrfToken":"$csrf","password":"right","callbackUrl":"/a"}`))},
		{"15.charset", "media types with parameters", setup{}, steps(
			request("POST", "/auth/callback/credentials", "csrfToken=$csrf&password=right", with("Content-Type", "application/x-www-form-urlencoded; charset=UTF-8")))},
		{"15.sneaky", "a media type that has JSON's name in it", setup{}, steps(
			request("POST", "/auth/callback/credentials", `{"csrfToken":"$csrf","password":"right"}`, with("Content-Type", "text/plain; application/json")))},
		{"15.last", "names that are there twice", setup{}, steps(post("/auth/callback/credentials?callbackUrl=/a&callbackUrl=/b", "csrfToken=x&csrfToken=$csrf&password=wrong&password=right"))},
		{"1.2.limits", "a long callback URL, and many parameters", setup{}, steps(
			named("GET csrf with 2,500 characters", get("/auth/csrf?callbackUrl=/"+strings.Repeat("z", 2500))),
			named("GET csrf with 600 parameters", get("/auth/csrf?"+strings.Repeat("a=1&", 600))))},
		{"1.2.origin", "a form that another site sends", setup{}, steps(
			post("/auth/signout", "csrfToken=$csrf", with("Origin", "https://evil.example"), with("Sec-Fetch-Site", "cross-site")))},
		{"1.3.account", "a route that only one has", setup{}, steps(get("/auth/account"))},
		{"16", "no secret", setup{Secrets: []string{}}, steps(get("/auth/session"), get("/auth/signin"), post("/auth/signin", ""))},
		{"17", "a host that nobody vouches for", setup{Origin: "http://app.example", Untrusted: true}, steps(
			get("/auth/session"), get("/auth/signin"), post("/auth/signout", ""), get("/auth/csrf", xr))},
		{"18", "the error page", setup{}, steps(get("/auth/error"), get("/auth/error?error=Configuration"), get("/auth/error?error=AccessDenied"),
			get("/auth/error?error=Verification"), get("/auth/error?error=Foo"), get("/auth/error?error=constructor"))},
		{"13.5.pages", "a page of another site", setup{Pages: pages{SignIn: "https://other.example/login"}}, steps(get("/auth/signin"))},
		{"19", "an error page of one's own, with a query", own, steps(get("/auth/error"), get("/auth/error?error=A%26b"),
			get("/auth/callback/unknown"), get("/auth/callback/unknown", xr))},
		{"20", "a sign-in page of one's own", own, steps(get("/auth/signin?error=X&callbackUrl=/cb"), get("/auth/signin?error=X&callbackUrl=/cb", xr),
			get("/auth/signin"), post("/auth/signin/npm", ""))},
		{"20.query", "a sign-in page of one's own, with a query", setup{Pages: pages{SignIn: "/login?x=1"}}, steps(
			get("/auth/signin"), post("/auth/callback/credentials", "csrfToken=$csrf&password=wrong"))},
		{"21", "pages of one's own for signing out and waiting", own, steps(get("/auth/signout"), get("/auth/signout?callbackUrl=/a", xr),
			get("/auth/verify-request?provider=email&type=email"))},
		{"21.query", "what is added to the waiting page's address", own, steps(get("/auth/verify-request?provider=email&type=email&more=x"))},
		{"1.3.base", "a base path of two parts", setup{BasePath: "/api/auth"}, steps(get("/api/auth/csrf"), get("/api/auth/providers"),
			get("/auth/csrf"), get("/api/auth/signin"), post("/api/auth/signin/npm", ""), post("/api/auth/signin/acme", "csrfToken=$csrf"))},
		{"1.3.root", "the root as base path", setup{BasePath: "/"}, steps(get("/csrf"), get("/providers"), get("/signin/npm"))},
		{"1.7.get", "a client that asks for JSON where there is no redirect", setup{}, steps(get("/auth/session", xr), get("/auth/signin", xr), get("/auth/csrf", xr))},
		{"1.7.json", "version 4's way to ask for JSON", setup{}, steps(post("/auth/signout", "csrfToken=$csrf&json=true"), post("/auth/signout?json=true", "csrfToken=$csrf"))},
		{"1.10.signin", "the sign-in page with every kind of provider", setup{Adapter: true, Providers: []provider{npm, acme, mail, passwords}}, steps(
			get("/auth/signin"), get("/auth/signin?callbackUrl=/a"), get("/auth/signin?email=ada@example.com"))},
		{"1.10.order", "the sign-in page with forms first", setup{Adapter: true, Providers: []provider{passwords, mail, npm}}, steps(get("/auth/signin"))},
		{"1.10.inputs", "parameters that Auth.js takes for the page's own", setup{}, steps(
			get("/auth/signin?csrfToken=x"), get("/auth/signin?providers=x"), get("/auth/signin?theme=x"))},
		{"1.10.texts", "the sign-in page's error texts", setup{Providers: []provider{passwords}}, errorTexts()},
		{"1.10.theme", "the pages with a theme", setup{Theme: theme{ColorScheme: "dark", BrandColor: "#336699", ButtonText: "#ffffff", Logo: "https://img.example/logo.png"}}, steps(
			get("/auth/signin"), get("/auth/signout"), get("/auth/error"), get("/auth/verify-request"))},
		{"1.10.signout", "the page to sign out, with a query", setup{}, steps(get("/auth/signout"), get("/auth/signout?callbackUrl=/a"))},
		{"1.10.markup", "markup in the page's parameters", setup{Adapter: true, Providers: []provider{mail}}, steps(
			get("/auth/signin?email=%22%3E%3Cb%3E"), get("/auth/signin?error=%3Cb%3E"), get("/auth/error?error=%3Cb%3E"))},
	}
}

// errorTexts asks for the text of each code.
func errorTexts() []step {
	var all []step
	for code := range strings.FieldsSeq("Signin OAuthSignin OAuthCallbackError OAuthCreateAccount EmailCreateAccount Callback " +
		"OAuthAccountNotLinked EmailSignin CredentialsSignin SessionRequired MissingCSRF Other") {
		all = append(all, get("/auth/signin?error="+code))
	}
	return all
}
