package interop

import (
	"slices"
	"strings"
	"time"
)

// users are the scenarios of who is signed in afterwards: the rows of the
// decision table, O for OAuth and E for magic links, with both strategies.
func users() []scenario {
	site := setup{Providers: []provider{npm, acme, mail, passwords}}
	linking := setup{Providers: []provider{linkingAcme()}}
	both := rows{Users: []userRow{ada, grace}, Accounts: []accountRow{npmAccount("u-ada", "ada"), acmeAccount("u-grace", "42")}}
	known := rows{Users: []userRow{ada}, Accounts: []accountRow{npmAccount("u-ada", "ada")}}
	onlyAda := rows{Users: []userRow{ada}}
	session := get("/auth/session")
	oauth := slices.Concat(
		inBoth("57.O1", "a known account, its user signed in", site, steps(knows(known), signIn("ada"), signIn("ada"), session)),
		inBoth("57.O2", "a known account, somebody else signed in", site, steps(knows(both), quietly(signIn("ada")...), signInAt("acme"), session)),
		inBoth("57.O3", "a known account, nobody signed in", site, steps(knows(known), signIn("ada"), session)),
		inBoth("57.O4", "an unknown account, somebody signed in", site, steps(knows(known), quietly(signIn("ada")...), signInAt("acme"), session)),
		inBoth("57.O5", "a new user", site, steps(signIn("ada"), session)),
		inBoth("57.O5.acme", "a new user of an OAuth provider", site, steps(signInAt("acme"), session)),
		inBoth("57.O5.bare", "a new user without an address", site, steps(answers("/userinfo", 200, `{"id":"42","name":"Ada"}`), signInAt("acme"), session)),
		inBoth("57.O5.email", "a new user whose address is in upper case", site, steps(answers("/userinfo", 200, `{"id":"42","email":"ADA@Example.COM"}`), signInAt("acme"), session)),
		inBoth("57.O6", "an unknown account with a known address, linked by it", linking, steps(knows(onlyAda), signInAt("acme"), session)),
		inBoth("57.O6.unverified", "the same, the address not verified", linking, steps(knows(onlyAda),
			answers("/userinfo", 200, `{"id":"42","email":"ada@example.com","email_verified":false}`), signInAt("acme"), session)),
		inBoth("57.O7", "an unknown account with a known address", site, steps(knows(onlyAda), signIn("ada"), session)),
		inBoth("57.O7.upper", "an unknown account with a known address in upper case", site, steps(knows(onlyAda), signInAt("acme"))),
		inBoth("5.8.newUser", "a page for new users", setup{Providers: []provider{acme}, Pages: pages{NewUser: "/welcome?a=b"}}, steps(
			post("/auth/signin/acme", "csrfToken=$csrf&callbackUrl=/there"), back("acme", "code=$code&state=$state"))),
	)
	expired := steps(knows(known), has(sessionCookie, "00000000-0000-4000-8000-00000000000a"), findsRows(func() rows {
		return rows{Sessions: []sessionRow{{"00000000-0000-4000-8000-00000000000a", "u-ada", time.Now().Add(-time.Hour)}}}
	}))
	db := setup{Adapter: true, Providers: []provider{npm, acme}}
	faults := slices.Concat(
		inBoth("61", "a store that fails to link", site, steps(behaves(does{Fail: []string{"linkAccount"}}), signInAt("acme"), behaves(does{}), signInAt("acme"))),
		inBoth("61.create", "a store that fails to create a user", site, steps(behaves(does{Fail: []string{"createUser"}}), signInAt("acme"))),
		inBoth("61.find", "a store that fails to find an account", site, steps(behaves(does{Fail: []string{"getUserByAccount"}}), signInAt("acme"))),
		inBoth("79.oauth", "a jwt callback that gives no token at sign-in", setup{Providers: []provider{acme}, Does: does{JWT: "null"}}, steps(signInAt("acme"))),
		inBoth("10.veto", "a signIn callback that refuses a new user", setup{Providers: []provider{acme}, Does: does{SignIn: "deny"}}, steps(signInAt("acme"))),
	)
	return slices.Concat(oauth, faults, []scenario{
		{"60", "a session that has run out, while linking", db, steps(expired, signInAt("acme"), session)},
		{"61.session", "a store that fails to create a session", db, steps(behaves(does{Fail: []string{"createSession"}}), signInAt("acme"), behaves(does{}), signInAt("acme"))},
		{"57.unknown", "signing in with a session that is not known", db, steps(has(sessionCookie, "00000000-0000-4000-8000-00000000000b"), knows(known), signIn("ada"))},
		{"57.badtoken", "signing in with a token that is none", setup{Adapter: true, Session: sessionConfig{Strategy: "jwt"}, Providers: []provider{acme}}, steps(
			has(sessionCookie, "garbage"), signInAt("acme"))},
	})
}

func linkingAcme() provider {
	p := acme
	p.Link = true
	return p
}

// magicLinks are the scenarios of e-mail.
func magicLinks() []scenario {
	ask := func(address string) step { return post("/auth/signin/email", "csrfToken=$csrf&email="+address) }
	session := get("/auth/session")
	onlyAda := rows{Users: []userRow{ada}}
	site := setup{Providers: []provider{npm, mail}}
	db := setup{Adapter: true, Providers: []provider{npm, mail}}
	const token = "a-token-that-neither-server-made"
	link := func(identifier string, left time.Duration) step {
		return findsRows(func() rows {
			return rows{Links: []linkRow{{identifier, sha256hex(token + secret), time.Now().Add(left)}}}
		})
	}
	rowsOfTable := slices.Concat(
		inBoth("58.E1", "a known address, nobody signed in", site, steps(knows(onlyAda), ask("ada@example.com"), click(), session)),
		inBoth("58.E1.again", "a known address, its user signed in", site, steps(knows(onlyAda), quietly(ask("ada@example.com"), click()), ask("ada@example.com"), click(), session)),
		inBoth("58.E2", "a known address, somebody else signed in", site, steps(
			knows(rows{Users: []userRow{ada, grace}}), quietly(ask("grace@example.com"), click()), ask("ada@example.com"), click(), session)),
		inBoth("58.E2.stale", "a known address, with a session that is not known", site, steps(
			knows(onlyAda), quietly(ask("ada@example.com")), has(sessionCookie, "00000000-0000-4000-8000-00000000000b"), click(), session)),
		inBoth("58.E3", "a new address", site, steps(ask("ada@example.com"), click(), session)),
		inBoth("58.E4", "a new address, somebody else signed in", site, steps(
			knows(rows{Users: []userRow{grace}}), quietly(ask("grace@example.com"), click()), ask("ada@example.com"), click(), session)),
		inBoth("66.click", "a signIn callback that refuses an opened link", site, steps(quietly(ask("ada@example.com")), behaves(does{SignIn: "deny"}), click())),
		inBoth("66.click.to", "a signIn callback that leads elsewhere", site, steps(quietly(ask("ada@example.com")), behaves(does{SignIn: "to /terms"}), click())),
		inBoth("67", "a page for new users", setup{Providers: []provider{mail}, Pages: pages{NewUser: "/welcome"}}, steps(quietly(ask("ada@example.com")), click())),
		inBoth("79.email", "a jwt callback that gives no token", setup{Providers: []provider{mail}, Does: does{JWT: "null"}}, steps(quietly(ask("ada@example.com")), click())),
	)
	return slices.Concat(rowsOfTable, []scenario{
		{"63", "a link for a new and for a known address", db, steps(ask("ada@example.com"), knows(rows{Users: []userRow{grace}}), ask("grace@example.com"),
			post("/auth/signin/email", "csrfToken=$csrf&email=ada@example.com&callbackUrl=/there", xr))},
		{"63.list", "a link where there are several secrets", setup{Adapter: true, Secrets: []string{"new " + secret, secret}, Providers: []provider{mail}}, steps(
			ask("ada@example.com"), click())},
		{"63.pages", "a link where pages are one's own", setup{Adapter: true, Providers: []provider{mail}, Pages: pages{VerifyRequest: "/check"}}, steps(
			ask("ada@example.com"), get("/auth/verify-request?provider=email&type=email"))},
		{"64", "addresses that are taken", db, addresses(ask, "Foo@Example.com", "+ada@example.com+", "a@b.c%2Cevil.com", "ada%2Btag@example.com", "a@localhost")},
		{"64.refused", "addresses that are none", db, addresses(ask, "", "x", "x@", "@y", "x@y@z", "%22a%22@b.c", "a@%2Cb", "ada%EF%BC%A0example.com")},
		{"64.forms", "addresses that only one of the two takes", db, addresses(ask, "%EF%BD%81da@example.com", "a b@example.com", "%C3%A4@example.com", "a@b_c.example")},
		{"65", "a link that is opened in another browser", db, steps(quietly(ask("ada@example.com")), other("phone"), click(), session)},
		{"65.twice", "a link that is opened twice", db, steps(quietly(ask("ada@example.com"), click()), click())},
		{"65.expired", "a link that has run out", db, steps(link("ada@example.com", -time.Minute), get("/auth/callback/email?token="+token+"&email=ada@example.com"))},
		{"65.foreign", "a link that another server made", db, steps(link("ada@example.com", time.Hour), get("/auth/callback/email?callbackUrl=/there&token="+token+"&email=ada@example.com"))},
		{"65.bare", "a link without its address", db, steps(quietly(ask("ada@example.com")), click("&email=[^&]*", ""))},
		{"65.other", "a link with another address", db, steps(quietly(ask("ada@example.com")), click("email=ada", "email=grace"), click())},
		{"65.token", "a link without its token, and one with another", db, steps(quietly(ask("ada@example.com")), click("token=[^&]*&", ""), click("token=[^&]*", "token=x"))},
		{"65.callback", "a link whose callback URL leads elsewhere", db, steps(quietly(ask("ada@example.com")), click("callbackUrl=[^&]*", "callbackUrl=https://evil.example"))},
		{"65.head", "a link that a scanner looks at", db, steps(quietly(ask("ada@example.com")), step{"HEAD of the link", func(v *visitor) {
			v.send("HEAD", strings.TrimPrefix(v.mails[0], home), "")
		}}, click())},
		{"65.post", "a link that is opened by POST", db, steps(quietly(ask("ada@example.com")), step{"POST to the link", func(v *visitor) {
			v.send("POST", strings.TrimPrefix(v.mails[0], home), "")
		}})},
		{"66", "a signIn callback that refuses to send a link", setup{Adapter: true, Providers: []provider{mail}, Does: does{SignIn: "deny"}}, steps(ask("ada@example.com"))},
		{"66.to", "a signIn callback that leads elsewhere instead", setup{Adapter: true, Providers: []provider{mail}, Does: does{SignIn: "to /terms"}}, steps(ask("ada@example.com"))},
		{"66.throw", "a signIn callback that fails", setup{Adapter: true, Providers: []provider{mail}, Does: does{SignIn: "throw"}}, steps(ask("ada@example.com"))},
		{"66.credentials", "a signIn callback that says bad credentials", setup{Adapter: true, Providers: []provider{mail}, Does: does{SignIn: "credentials"}}, steps(ask("ada@example.com"))},
		{"6.1.many", "more links than anybody needs", db, addresses(ask, slices.Repeat([]string{"ada@example.com"}, 6)...)},
		{"66.mail", "a mail server that is down", setup{Adapter: true, Providers: []provider{mail}, Does: does{Mail: "throw"}}, steps(ask("ada@example.com"))},
		{"66.store", "a store that fails to keep the link", setup{Adapter: true, Providers: []provider{mail}, Does: does{Fail: []string{"createVerificationToken"}}}, steps(ask("ada@example.com"))},
	})
}

func addresses(ask func(string) step, list ...string) []step {
	var all []step
	for _, a := range list {
		all = append(all, ask(a))
	}
	return all
}

// typedIn are the scenarios of what somebody types.
func typedIn() []scenario {
	session := get("/auth/session")
	plain := setup{}
	knowsAda := knows(rows{Users: []userRow{ada, grace}})
	behaving := func(id, what string, d does, password string) scenario {
		return scenario{"68." + id, what, setup{Does: d}, steps(typed(password), typed(password, xr))}
	}
	return slices.Concat([]scenario{
		{"68", "the right password", plain, steps(typed("right"), session, typed("right", xr))},
		behaving("wrong", "a wrong password", does{}, "wrong"),
		behaving("coded", "a refusal with a code of its own", does{}, "coded"),
		behaving("broken", "a directory that is down", does{}, "broken"),
		behaving("denied", "another error of Auth.js", does{}, "denied"),
		behaving("deny", "a signIn callback that refuses", does{SignIn: "deny"}, "right"),
		behaving("to", "a signIn callback that leads elsewhere", does{SignIn: "to /terms"}, "right"),
		behaving("throw", "a signIn callback that fails", does{SignIn: "throw"}, "right"),
		behaving("credentials", "a signIn callback that says bad credentials", does{SignIn: "credentials"}, "right"),
		{"69", "what is handed to the application", plain, steps(post("/auth/callback/credentials", "csrfToken=$csrf&callbackUrl=/there&username=ada&password=right&more=x"))},
		{"69.numeric", "a user whose id is a number", plain, steps(typed("numeric"))},
		{"69.no-id", "a user without an id", plain, steps(typed("no+id"))},
		{"69.empty", "no field at all", plain, steps(post("/auth/callback/credentials", "csrfToken=$csrf"))},
		{"69.get", "credentials in the query", plain, steps(get("/auth/callback/credentials?password=right"))},
		{"68.newUser", "a page for new users, who are none", setup{Pages: pages{NewUser: "/welcome"}}, steps(typed("right"))},
		{"68.again", "another password while signed in", plain, steps(quietly(typed("right")), typed("stranger"), session)},
		{"79", "a jwt callback that gives no token", setup{Does: does{JWT: "null"}}, steps(typed("right"))},
		{"79.throw", "a jwt callback that fails", setup{Does: does{JWT: "throw"}}, steps(typed("right"))},
		{"70.unknown", "a user whom the adapter does not know, sessions in the database", setup{Adapter: true}, steps(typed("stranger"), session)},
	},
		inBoth("70", "credentials beside other providers", setup{}, steps(knowsAda, typed("right"), session)),
		inBoth("70.other", "credentials of another than who is signed in", setup{}, steps(knowsAda,
			knows(rows{Accounts: []accountRow{npmAccount("u-grace", "grace")}}), quietly(signIn("grace")...), typed("right"), session)),
	)
}

// events are the scenarios of events and of signing out.
func events() []scenario {
	session := get("/auth/session")
	out := post("/auth/signout", "csrfToken=$csrf")
	site := setup{Providers: []provider{acme, mail}}
	throwing := setup{Providers: []provider{acme, mail}, Does: does{Events: "throw"}}
	slow := setup{Providers: []provider{acme, mail}, Does: does{Slow: 10}}
	db := setup{Adapter: true, Providers: []provider{acme}}
	stored := steps(has(sessionCookie, "00000000-0000-4000-8000-00000000000a"), knows(rows{Users: []userRow{ada}}), findsRows(func() rows {
		return rows{Sessions: []sessionRow{{"00000000-0000-4000-8000-00000000000a", "u-ada", time.Now().Add(24 * time.Hour)}}}
	}))
	ordered := setup{Providers: []provider{acme}, InOrder: true}
	return slices.Concat([]scenario{
		{"77.jwt", "signing out of a token session", setup{}, steps(quietly(typed("right")), post("/auth/signout", "csrfToken=$csrf&callbackUrl=/bye"), session)},
		{"77.xr", "signing out for JSON", setup{}, steps(quietly(typed("right")), post("/auth/signout", "csrfToken=$csrf", xr))},
		{"77.garbage", "signing out with a token that is none", setup{}, steps(has(sessionCookie, "garbage"), out)},
		{"77.nobody", "signing out without a session", setup{}, steps(out)},
		{"77.database", "signing out of a database session", db, steps(stored, out, session)},
		{"77.unknown", "signing out of a session that is not known", db, steps(has(sessionCookie, "00000000-0000-4000-8000-00000000000b"), out)},
		{"77.fails", "signing out while the store fails", db, steps(stored, behaves(does{Fail: []string{"deleteSession"}}), out, behaves(does{}), session)},
		{"78.mutation", "a handler that changes what it was given", setup{Does: does{Events: "change"}}, steps(quietly(typed("right")), session)},
		{"78.nobody", "no session, no event", setup{}, steps(session, postJSON("/auth/session", `{"csrfToken":"$csrf"}`))},
	},
		inBoth("75", "handlers that fail", throwing, steps(signInAt("acme"), session, out)),
		inBoth("75.email", "handlers that fail, at a magic link", throwing, steps(
			knows(rows{Users: []userRow{ada}}), post("/auth/signin/email", "csrfToken=$csrf&email=ada@example.com"), click())),
		inBoth("76", "slow handlers", slow, steps(signInAt("acme"), session, out)),
		inBoth("76.order", "events among what was written", ordered, steps(signInAt("acme"))),
		inBoth("74.email", "what callbacks and events of a magic link are given", site, steps(
			post("/auth/signin/email", "csrfToken=$csrf&email=new@example.com"), click(), postJSON("/auth/session", `{"csrfToken":"$csrf","data":{"a":1}}`), out)),
	)
}
