package interop

import (
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	sessionCookie  = "authjs.session-token"
	callbackCookie = "authjs.callback-url"
)

// typed signs in with what the credentials provider takes for right.
func typed(password string, opts ...option) step {
	return post("/auth/callback/credentials", "csrfToken=$csrf&password="+password, opts...)
}

// callbackURLs are the scenarios of callback URLs and of cookies.
func callbackURLs() []scenario {
	wish := func(url string) []step { return steps(drops(callbackCookie), get("/auth/csrf?callbackUrl="+url)) }
	secure := setup{Origin: "https://app.example"}
	return []scenario{
		{"22", "callback URLs of the site", setup{}, steps(wish("/a"), wish("/a?b=c%26d"), wish("http://localhost:3000/x"), wish("/"), wish(""))},
		{"22.foreign", "callback URLs of other sites", setup{}, steps(wish("https://evil.example/"), wish("http://localhost:3001/"), wish("http://localhost/"))},
		{"22.odd", "callback URLs that browsers read in their own way", setup{}, steps(wish("//evil.example/x"), wish("/%5Cevil.example"),
			wish("HTTP://LOCALHOST:3000/x"), wish("/%E6%97%A5%E6%9C%AC"), wish("http://user@localhost:3000/"))},
		{"23", "callback URLs that are none", setup{}, steps(get("/auth/csrf?callbackUrl=foo"), post("/auth/signout", "csrfToken=$csrf&callbackUrl=foo"),
			post("/auth/signout", "csrfToken=$csrf&callbackUrl=javascript:alert(1)"), get("/auth/signin?callbackUrl=javascript:alert(1)"))},
		{"23.cookie", "a callback cookie that is no URL", setup{}, steps(has(callbackCookie, "foo"), get("/auth/csrf"), get("/auth/session"), get("/auth/signin"))},
		{"2.3.session", "a callback URL with the session and the providers", setup{}, steps(get("/auth/session?callbackUrl=/a"), get("/auth/session"), get("/auth/providers?callbackUrl=/b"))},
		{"2.3.page", "a callback URL that a page has kept", setup{}, steps(get("/auth/signin?callbackUrl=/a"), typed("right"))},
		{"24", "which callback URL counts", setup{}, steps(
			has(callbackCookie, "http%3A%2F%2Flocalhost%3A3000%2Fcookie"), post("/auth/signout", "csrfToken=$csrf"),
			post("/auth/signout?callbackUrl=/query", "csrfToken=$csrf"), post("/auth/signout?callbackUrl=/query", "csrfToken=$csrf&callbackUrl=/body"),
			post("/auth/signout", "csrfToken=$csrf&callbackUrl="))},
		{"24.empty", "an empty callback URL in the body, and one in the query", setup{}, steps(post("/auth/signout?callbackUrl=/query", "csrfToken=$csrf&callbackUrl="))},
		{"25", "a site known by https", secure, steps(get("/auth/csrf"), typed("right"), get("/auth/session"), post("/auth/signin/acme", "csrfToken=$csrf"),
			post("/auth/signout", "csrfToken=$csrf"))},
		{"26", "a token of several cookies", setup{Does: does{JWT: "big 6000"}}, steps(typed("right"), get("/auth/session"),
			behaves(does{}), get("/auth/session"), behaves(does{JWT: "small"}), get("/auth/session"))},
		{"26.grow", "a token that grows", setup{}, steps(typed("right"), behaves(does{JWT: "big 4000"}), get("/auth/session"))},
		{"26.signout", "signing out with a token of several cookies", setup{Does: does{JWT: "big 6000"}}, steps(
			quietly(typed("right")), post("/auth/signout", "csrfToken=$csrf"))},
		{"26.lost", "a token of which a cookie is lost", setup{Does: does{JWT: "big 6000"}}, steps(
			quietly(typed("right")), drops(sessionCookie+".0"), get("/auth/session"))},
		{"27", "a cookie whose name begins like the session's", setup{}, steps(
			quietly(typed("right")), has(sessionCookie+"-other", "x"), get("/auth/session"))},
		{"28", "cookies written in odd ways", setup{}, steps(
			get("/auth/csrf", cookies("authjs.csrf-token="+csrfCookie(secret)+"; authjs.csrf-token=x")),
			get("/auth/csrf", cookies("authjs.csrf-token=x; authjs.csrf-token="+csrfCookie(secret))),
			get("/auth/csrf", cookies(`authjs.csrf-token="`+csrfCookie(secret)+`"`)),
			get("/auth/csrf", cookies("authjs.callback-url=%zz; authjs.csrf-token="+csrfCookie(secret))),
			get("/auth/csrf", cookies("novalue;  authjs.csrf-token="+csrfCookie(secret)+" ;authjs.callback-url=http://localhost:3000")))},
		{"10.redirect", "a redirect callback of the application", setup{Does: does{Redirect: "default"}}, steps(
			get("/auth/csrf"), get("/auth/csrf?callbackUrl=/a"), get("/auth/session"), get("/auth/providers"), post("/auth/signout", "csrfToken=$csrf&callbackUrl=/b"))},
		{"10.redirect.to", "a redirect callback that leads elsewhere", setup{Does: does{Redirect: "to https://other.example/x"}}, steps(
			get("/auth/csrf?callbackUrl=/a"), post("/auth/signout", "csrfToken=$csrf&callbackUrl=/b"))},
		{"10.redirect.empty", "a redirect callback that returns nothing", setup{Does: does{Redirect: "to "}}, steps(get("/auth/csrf?callbackUrl=/a"))},
		{"10.redirect.throw", "a redirect callback that fails", setup{Does: does{Redirect: "throw"}}, steps(
			get("/auth/csrf?callbackUrl=/a"), postJSON("/auth/session?callbackUrl=/a", `{"csrfToken":"$csrf"}`), get("/auth/signin?callbackUrl=/a", xr))},
	}
}

// sealedTokens are the scenarios of token sessions.
func sealedTokens() []scenario {
	claims := func(more ...any) map[string]any {
		c := map[string]any{"name": "Ada Lovelace", "email": "ada@example.com", "picture": nil, "sub": "u-ada", "sid": "a-session-id",
			"iat": -time.Minute, "exp": time.Hour, "jti": "00000000-0000-4000-8000-000000000000"}
		for i := 0; i < len(more); i += 2 {
			c[more[i].(string)] = more[i+1]
			if more[i+1] == "absent" {
				delete(c, more[i].(string))
			}
		}
		return c
	}
	// brings starts with a token that neither server made.
	brings := func(s sealing, c map[string]any) step {
		if s.salt == "" {
			s.salt = sessionCookie
		}
		if s.secret == "" {
			s.secret = secret
		}
		return step{"", func(v *visitor) { v.set(sessionCookie, s.seal(c)) }}
	}
	session := get("/auth/session")
	return []scenario{
		{"30", "a token of the secret before", setup{Secrets: []string{"new " + secret, secret}}, steps(brings(sealing{}, claims()), session)},
		{"30.new", "a token of a secret that is not known", setup{}, steps(brings(sealing{secret: "new " + secret}, claims()), session)},
		{"31", "a token with A256GCM and without a key id", setup{}, steps(brings(sealing{enc: jose.A256GCM, kid: "-"}, claims()), session)},
		{"31.kid", "a token with the id of another key", setup{}, steps(brings(sealing{kid: "another"}, claims()), session)},
		{"31.none", "a token without a key id", setup{}, steps(brings(sealing{kid: "-"}, claims()), session)},
		{"31.alg", "a token with a wrapped key", setup{}, steps(brings(sealing{alg: jose.A256KW, kid: "-"}, claims()), session)},
		{"31.enc", "a token with another encryption", setup{}, steps(brings(sealing{enc: jose.A128CBC_HS256, kid: "-"}, claims()), session)},
		{"31.salt", "a token of another cookie", setup{}, steps(brings(sealing{salt: "__Secure-authjs.session-token"}, claims()), session)},
		{"32", "a token that has just run out", setup{}, steps(brings(sealing{}, claims("exp", -10*time.Second)), session)},
		{"32.late", "a token that has run out", setup{}, steps(brings(sealing{}, claims("exp", -20*time.Second)), session)},
		{"32.none", "a token that never runs out", setup{}, steps(brings(sealing{}, claims("exp", "absent")), session)},
		{"32.text", "a token whose times are texts", setup{}, steps(brings(sealing{}, claims("exp", "tomorrow")), session)},
		{"32.nbf", "a token that is not good yet", setup{}, steps(
			brings(sealing{}, claims("nbf", 10*time.Second)), session, brings(sealing{}, claims("nbf", 30*time.Second)), session)},
		{"32.sub", "a token of nobody", setup{}, steps(brings(sealing{}, claims("sub", "absent")), session)},
		{"32.garbage", "a session cookie that is no token", setup{}, steps(has(sessionCookie, "garbage"), session, session)},
		{"33", "a token read twice", setup{}, steps(brings(sealing{}, claims()), session, session)},
		{"33.order", "the order of claims after reading", setup{Does: does{JWT: "role"}}, steps(brings(sealing{}, claims()), session, session)},
		{"34", "two ages of a token session", setup{Session: sessionConfig{MaxAge: 60}, JWT: tokens{MaxAge: 3600}}, steps(typed("right"), session)},
		{"35.null", "a jwt callback that ends the session", setup{}, steps(quietly(typed("right")), behaves(does{JWT: "null"}), session)},
		{"35.jwt", "a jwt callback that fails", setup{}, steps(quietly(typed("right")), behaves(does{JWT: "throw"}), session)},
		{"35.session", "a session callback that fails", setup{}, steps(quietly(typed("right")), behaves(does{Session: "throw"}), session)},
		{"36", "updating a token session", setup{}, steps(quietly(typed("right")), postJSON("/auth/session", `{"csrfToken":"$csrf","data":{"role":"admin"}}`))},
		{"36.merge", "updating a token session that takes it", setup{Does: does{JWT: "merge"}}, steps(quietly(typed("right")),
			postJSON("/auth/session", `{"csrfToken":"$csrf","data":{"role":"admin","name":"Ada King"}}`), session)},
		{"36.forms", "updates with other data", setup{}, steps(quietly(typed("right")), postJSON("/auth/session", `{"csrfToken":"$csrf"}`),
			postJSON("/auth/session", `{"csrfToken":"$csrf","data":null}`), postJSON("/auth/session", `{"csrfToken":"$csrf","data":[1]}`),
			post("/auth/session", "csrfToken=$csrf&data=x"))},
		{"36.nobody", "updating the session of nobody", setup{}, steps(postJSON("/auth/session", `{"csrfToken":"$csrf","data":{}}`))},
		{"37", "the session of a user without a name", setup{}, steps(typed("only+id"), session)},
		{"37.null", "the session of a token with nulls", setup{}, steps(brings(sealing{}, claims("name", nil, "email", "absent")), session)},
		{"37.role", "a session callback that adds to it", setup{Does: does{JWT: "role", Session: "role"}}, steps(typed("right"), session)},
		{"37.plain", "a session without any callback", setup{Plain: true}, steps(typed("right"), session, post("/auth/signout", "csrfToken=$csrf"))},
		{"3.8.bearer", "a session token as bearer token", setup{}, steps(get("/auth/session", with("Authorization", "Bearer "+sealing{secret: secret, salt: sessionCookie}.seal(claims()))))},
	}
}

// storedSessions are the scenarios of database sessions.
func storedSessions() []scenario {
	db := setup{Adapter: true}
	const token = "00000000-0000-4000-8000-00000000000a"
	// finds a session of Ada's that runs out in this time.
	finds := func(left time.Duration) []step {
		return steps(has(sessionCookie, token), findsRows(func() rows {
			return rows{Users: []userRow{{ID: "u-ada", Name: "Ada Lovelace", Email: "ada@example.com"}},
				Sessions: []sessionRow{{token, "u-ada", time.Now().Add(left)}}}
		}))
	}
	day := 24 * time.Hour
	always := 0
	session := get("/auth/session")
	return []scenario{
		{"38", "a fresh session", db, steps(finds(30*day), session)},
		{"39", "a session older than the update age", db, steps(finds(28*day), session, session)},
		{"39.short", "a session shorter than the update age", setup{Adapter: true, Session: sessionConfig{MaxAge: 3600}}, steps(finds(time.Hour), session)},
		{"40", "a session that is moved at every use", setup{Adapter: true, Session: sessionConfig{UpdateAge: &always}}, steps(finds(30*day), session, session)},
		{"41", "a session that has run out", db, steps(finds(-time.Minute), session, session)},
		{"41.unknown", "a session that is not known", db, steps(has(sessionCookie, token), session)},
		{"41.jwt", "a token where sessions are in the database", db, steps(
			step{"", func(v *visitor) {
				v.set(sessionCookie, sealing{secret: secret, salt: sessionCookie}.seal(map[string]any{"sub": "u-ada", "exp": time.Hour}))
			}}, session)},
		{"42", "a store that fails when the session is read", db, steps(finds(30*day), behaves(does{Fail: []string{"getSessionAndUser"}}), session)},
		{"42.update", "a store that fails when the session is moved", db, steps(finds(28*day), behaves(does{Fail: []string{"updateSession"}}), session)},
		{"42.callback", "a session callback that fails", db, steps(finds(30*day), behaves(does{Session: "throw"}), session)},
		{"42.update.session", "updating a database session", setup{Adapter: true, Does: does{Session: "role"}}, steps(finds(30*day),
			postJSON("/auth/session", `{"csrfToken":"$csrf","data":{"role":"admin"}}`), postJSON("/auth/session", `{"csrfToken":"$csrf"}`))},
	}
}
