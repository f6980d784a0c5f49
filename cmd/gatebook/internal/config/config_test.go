package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatebook/gatebook/cmd/gatebook/internal/config"
)

// env is an environment.
type env map[string]string

func (e env) lookup(name string) (string, bool) { v, ok := e[name]; return v, ok }

func load(t testing.TB, text string, e env) (*config.Config, error) {
	t.Helper()
	return config.Parse("gatebook.yaml", []byte(text), e.lookup)
}

const whole = `
url: https://app.example.com
listen: 127.0.0.1:3000
basePath: /login
database: book.db
secrets: ["${NEW}", "the-old-one"]
trustHost: false
trustedProxies: [10.0.0.0/8, 192.0.2.7]
trustedOrigins: [https://spa.example]
cookieDomain: example.com
useSecureCookies: false
cookies: {sessionToken: {name: s, path: /, sameSite: None}, webauthnChallenge: {name: w}}
redirectProxyUrl: https://auth.example.com/login
redirectProxyOrigins: ["https://*.preview.example.com"]
session: {strategy: jwt, maxAge: 30d, updateAge: 90m, tokenMaxAge: 1h, revocable: true}
providers:
  - id: github
    clientId: 12345678
    clientSecret: ${GITHUB}
  - id: acme
    type: oidc
    name: Acme $${not a variable}
    issuer: https://id.acme.example
    clientId: a
    scopes: [openid, email]
  - type: email
    from: Acme <login@acme.example>
    smtp: ${SMTP}
    maxAge: 10m
pages: {signIn: /in}
theme: {colorScheme: dark}
log: {level: warn, format: text}
`

func TestLoad(t *testing.T) {
	c, err := load(t, whole, env{"NEW": "the-new-one", "GITHUB": "a: b # not YAML", "SMTP": "smtp://localhost"})
	if err != nil {
		t.Fatal(err)
	}
	checks := []struct {
		name      string
		got, want any
	}{
		{"url", c.URL, "https://app.example.com"},
		{"secrets[0]", c.Secrets[0], "the-new-one"},
		{"secrets[1]", c.Secrets[1], "the-old-one"},
		{"Literal", c.Literal, true},
		{"trustedProxies[0]", c.TrustedProxies[0].String(), "10.0.0.0/8"},
		{"trustedProxies[1]", c.TrustedProxies[1].String(), "192.0.2.7/32"},
		{"session.maxAge", c.Session.MaxAge, 30 * 24 * time.Hour},
		{"session.updateAge", c.Session.UpdateAge, 90 * time.Minute},
		{"session.revocable", c.Session.Revocable, true},
		{"a number as text", c.Providers[0].ClientID, "12345678"},
		{"a value is not read as YAML", c.Providers[0].ClientSecret, "a: b # not YAML"},
		{"an escaped variable", c.Providers[1].Name, "Acme ${not a variable}"},
		{"scopes", strings.Join(c.Providers[1].Scopes, " "), "openid email"},
		{"trustedOrigins", strings.Join(c.TrustedOrigins, " "), "https://spa.example"},
		{"cookieDomain", c.CookieDomain, "example.com"},
		{"useSecureCookies", c.UseSecureCookies != nil && !*c.UseSecureCookies, true},
		{"cookies.sessionToken", c.Cookies.SessionToken, config.Cookie{Name: "s", Path: "/", SameSite: "None"}},
		{"cookies.webauthnChallenge", c.Cookies.WebAuthnChallenge.Name, "w"},
		{"redirectProxyUrl", c.RedirectProxyURL, "https://auth.example.com/login"},
		{"redirectProxyOrigins", strings.Join(c.RedirectProxyOrigins, " "), "https://*.preview.example.com"},
		{"Line", c.Providers[1].Line, 20},
		{"mail", c.Providers[2].MaxAge, 10 * time.Minute},
		{"log.format", c.Log.Format, "text"},
	}
	for _, check := range checks {
		if check.got != check.want {
			t.Errorf("%s = %v, want %v", check.name, check.got, check.want)
		}
	}
}

// TestMailGuide: what docs/email.md shows is a configuration.
func TestMailGuide(t *testing.T) {
	guide, err := os.ReadFile("../../../../docs/email.md")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, _ := strings.Cut(string(guide), "```yaml\n")
	shown, _, _ = strings.Cut(shown, "```")
	c, err := load(t, "secrets: [a]\n"+shown, env{"AUTH_POSTMARK_KEY": "k", "SMTP_URL": "smtp://localhost"})
	if err != nil || len(c.Providers) != 2 || c.Providers[0].Service != "postmark" || c.Providers[0].Key != "k" || c.Providers[1].SMTP != "smtp://localhost" {
		t.Errorf("%+v, %v", c, err)
	}
}

// TestPasskeyGuide: what docs/passkeys.md shows is a configuration.
func TestPasskeyGuide(t *testing.T) {
	guide, err := os.ReadFile("../../../../docs/passkeys.md")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, _ := strings.Cut(string(guide), "```yaml\n")
	shown, _, _ = strings.Cut(shown, "```")
	c, err := load(t, "secrets: [a]\n"+shown, env{"AUTH_PASSKEY_ID": "not an OAuth client"})
	if err != nil || len(c.Providers) != 1 || c.Providers[0].Type != "passkey" || c.Providers[0].ClientID != "" {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestMailService(t *testing.T) {
	const file = "secrets: [a]\nproviders: [{type: email, from: a@b.example, service: loops, key: '${KEY}', transactionalId: t}]\n"
	c, err := load(t, file, env{"KEY": "file"})
	if err != nil || c.Providers[0].Key != "file" || c.Providers[0].TransactionalID != "t" {
		t.Errorf("%+v, %v", c, err)
	}
	c, err = load(t, file, env{"KEY": "file", "AUTH_LOOPS_KEY": "env", "AUTH_LOOPS_TRANSACTIONAL_ID": "u"})
	if err != nil || c.Providers[0].Key != "env" || c.Providers[0].TransactionalID != "u" {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := load(t, strings.Replace(file, "'${KEY}'", "hunter2", 1), env{}); err != nil || !c.Literal {
		t.Errorf("a key in the file is a secret in the file: %+v, %v", c, err)
	}
}

func TestEnvironmentIsAboveTheFile(t *testing.T) {
	e := env{"NEW": "n", "GITHUB": "g", "SMTP": "smtp://localhost", "AUTH_SECRET": "first", "AUTH_SECRET_2": "second",
		"AUTH_URL": "https://other.example", "AUTH_TRUST_HOST": "1", "AUTH_REDIRECT_PROXY_URL": "https://proxy.example", "AUTH_GITHUB_SECRET": "env", "AUTH_ACME_ISSUER": "https://env.example"}
	c, err := load(t, whole, e)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(c.Secrets, ","); got != "second,first" {
		t.Errorf("Secrets = %q, want second,first", got)
	}
	if c.RedirectProxyURL != "https://proxy.example" {
		t.Errorf("RedirectProxyURL = %q, want that of the environment", c.RedirectProxyURL)
	}
	if c.URL != "https://other.example" || !c.TrustHost {
		t.Errorf("URL = %q, TrustHost = %v, want those of the environment", c.URL, c.TrustHost)
	}
	if got := c.Providers[0].ClientSecret; got != "env" {
		t.Errorf("clientSecret = %q, want env", got)
	}
	if got := c.Providers[1].Issuer; got != "https://env.example" {
		t.Errorf("issuer = %q, want https://env.example", got)
	}
}

// Every mistake names its line, its key and what to do about it.
// TestMistakesKeepSecrets: an error goes to the terminal, to logs and into bug
// reports, and whatever is wrong with a secret, it is not quoted.
func TestMistakesKeepSecrets(t *testing.T) {
	const secret = "hunter2hunter2hunter2hunter2hunter2"
	for name, text := range map[string]string{
		"text for list":       "secrets: " + secret + "\nproviders: [{id: github}]\n",
		"the secret alone":    secret + "\n",
		"like an alias":       "secrets: [a]\nproviders:\n  - id: github\n    clientSecret: *" + secret + "\n",
		"like an alias, list": "secrets:\n  - *" + secret + "\nproviders: [{id: github}]\n",
		"like a directive":    "secrets:\n  - %" + secret + "\nproviders: [{id: github}]\n",
		"like a tag":          "secrets:\n  - !" + secret + " b\nproviders: [{id: github}]\n",
		"with a colon":        "secrets:\n  - a: " + secret + "\nproviders: [{id: github}]\n",
		"colon at the end":    "secrets:\n  - " + secret + ":\nproviders: [{id: github}]\n",
		"no space":            "secrets: [a]\nproviders:\n  - id: github\n    clientSecret:" + secret + "\n",
		"in a list":           "secrets: [a]\nproviders: [{id: github, clientSecret: [" + secret + "]}]\n",
		"a mailer":            "secrets: [a]\nproviders: ['smtp://user:" + secret + "@mail.example']\n",
		"a scheme":            "secrets: [a]\nproviders: [{id: github}]\ndatabase: postgre://a:" + secret + "@b/c\n",
		"no scheme":           "secrets: [a]\nproviders: [{id: github}]\ndatabase: a:" + secret + "@b/c\n",
		"keywords":            "secrets: [a]\nproviders: [{id: github}]\ndatabase: host=b password=" + secret + "\n",
		"no address":          "secrets: [a]\nproviders: [{id: github}]\ndatabase: postgres://a:" + secret + "%@b/c\n",
		"no keys":             "secrets: [a]\nproviders: [{id: github}]\ndatabase: {url: ['" + secret + "']}\n",
		"a cache":             "secrets: [a]\nproviders: [{id: github}]\nredis: [" + secret + "]\n",
		"a variable":          "secrets: ['${" + secret + "!}']\nproviders: [{id: github}]\n",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, text, env{})
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("the error quotes the secret: %v", err)
			}
		})
	}
}

func TestMistakes(t *testing.T) {
	const good = "secrets: [a]\nproviders: [{id: github}]\n"
	tests := []struct {
		name, text string
		want       []string
	}{
		{"unknown key", good + "lisen: a\n", []string{"gatebook.yaml:3: lisen: unknown key; did you mean listen?"}},
		{"unknown key with underscore", good + "base_path: /a\n", []string{"base_path: unknown key; did you mean basePath?"}},
		{"unknown key like none", good + "zzzzzzzz: a\n", []string{"gatebook.yaml:3: zzzzzzzz: unknown key; the keys here are url, listen,"}},
		{"unknown key inside", "secrets: [a]\nproviders:\n  - id: github\n    client_id: x\n", []string{"gatebook.yaml:4: providers[0].client_id: unknown key; did you mean clientId?"}},
		{"list for text", good + "url: [a]\n", []string{`gatebook.yaml:3: url: wants text, not a list`}},
		{"text for list", "secrets: a\nproviders: [{id: github}]\n", []string{`gatebook.yaml:1: secrets: wants a list, not text`}},
		{"text for keys", good + "session: long\n", []string{`gatebook.yaml:3: session: wants keys with values, not text`}},
		{"no truth", good + "trustHost: yes please\n", []string{`gatebook.yaml:3: trustHost: wants true or false, not "yes please"`}},
		{"truth for text", good + "url: true\n", []string{`gatebook.yaml:3: url: wants text, not true`}},
		{"no duration", good + "session:\n  maxAge: 30 days\n", []string{`gatebook.yaml:4: session.maxAge: wants a duration such as 12h or 30d, not "30 days"`}},
		{"negative duration", good + "session: {maxAge: -1h}\n", []string{`session.maxAge: wants a duration`}},
		{"no network", good + "trustedProxies: [all]\n", []string{`gatebook.yaml:3: trustedProxies[0]: wants a network such as 10.0.0.0/8, not "all"`}},
		{"no value", good + "database:\n", []string{`gatebook.yaml:3: database: has no value`}},
		{"empty value", good + "database: ''\n", []string{`gatebook.yaml:3: database: is empty`}},
		{"twice", good + "url: a\nurl: b\n", []string{`gatebook.yaml:4: url: is there twice, in line 3 too`}},
		{"alias", "secrets: &x [a]\nproviders: [{id: github}]\ntrustedProxies: *x\n", []string{`gatebook.yaml:3: trustedProxies: aliases are not supported`}},
		{"missing variable", "secrets:\n  - ${NOT_THERE}\nproviders: [{id: github}]\n", []string{"gatebook.yaml:2: secrets[0]: the environment has no NOT_THERE"}},
		{"missing secret variable", "secrets: ['${AUTH_SECRET}']\nproviders: [{id: github}]\n", []string{"the environment has no AUTH_SECRET: export AUTH_SECRET=$(gatebook secret)"}},
		{"odd variable", good + "url: ${a b}\n", []string{"gatebook.yaml:3: url: ${a b} is no name of a variable; write $${a b} for the text itself"}},
		{"variable without quotes", "secrets: [${A}]\nproviders: [{id: github}]\n", []string{`a variable needs quotes: "${NAME}"`}},
		{"no secret", "providers: [{id: github}]\n", []string{"gatebook.yaml: secrets: is missing: set AUTH_SECRET; `gatebook secret` makes one"}},
		{"no provider", "secrets: [a]\n", []string{"gatebook.yaml: providers: is missing"}},
		{"no such provider", "secrets: [a]\nproviders: [{id: githb}]\n", []string{`gatebook.yaml:2: providers[0].id: the catalog has no "githb": did you mean github?`}},
		{"no provider like it", "secrets: [a]\nproviders: [{id: somewhere}]\n", []string{`the catalog has no "somewhere": it has`, "any other provider needs a type"}},
		{"no such type", "secrets: [a]\nproviders: [{id: a, type: saml}]\n", []string{`providers[0].type: "saml" is none of oidc, oauth, email, passkey`}},
		{"passwords", "secrets: [a]\nproviders: [{id: a, type: credentials}]\n", []string{`providers[0].type: passwords are checked by the application`}},
		{"issuer missing", "secrets: [a]\nproviders: [{id: a, type: oidc, clientId: b}]\n", []string{`gatebook.yaml:2: providers[0].issuer: is missing`}},
		{"a mail service", "secrets: [a]\nproviders:\n  - {type: email, from: a@b.example}\n  - {type: email, from: a@b.example, smtp: 'smtp://c', service: resend, key: d}\n" +
			"  - {type: email, from: a@b.example, service: postmrk, key: d}\n  - {type: email, from: a@b.example, service: fax, key: d}\n" +
			"  - {type: email, from: a@b.example, service: mailgun}\n  - {type: email, from: a@b.example, smtp: 'smtp://c', domain: d.example}\n  - {id: github, clientId: a, service: resend, key: d}\n",
			[]string{`:3: providers[0].smtp: is missing; or name a service: forwardemail, loops`, `:4: providers[1].service: stands beside smtp`,
				`:5: providers[2].service: "postmrk" is not known: did you mean postmark?`, `:6: providers[3].service: "fax" is not known: it is none of forwardemail`,
				`:7: providers[4].key: is missing: set it or AUTH_MAILGUN_KEY`, `:8: providers[5].service: is missing, and key, domain`,
				`:9: providers[6].service: does not belong`, `:9: providers[6].key: does not belong`}},
		{"what does not belong", "secrets: [a]\nproviders: [{type: email, from: a@b.example, smtp: 'smtp://c', issuer: d}]\n", []string{`providers[0].issuer: does not belong to a provider of type email`}},
		{"what does not belong to passkeys", "secrets: [a]\nproviders: [{type: passkey, clientId: d, from: e}]\n",
			[]string{`providers[0].clientId: does not belong to a provider of type passkey`, `providers[0].from: does not belong`}},
		{"what belongs to passkeys", "secrets: [a]\nproviders: [{id: github, rpId: d, signUp: true}]\n",
			[]string{`providers[0].rpId: does not belong to a provider of type catalog`, `providers[0].signUp: does not belong`}},
		{"key id without a key", "secrets: [a]\nproviders: [{id: apple, keyId: a}]\n", []string{`gatebook.yaml:2: providers[0].keyId: belongs to a privateKey, which is missing`}},
		{"key of a mail provider", "secrets: [a]\nproviders: [{type: email, from: a, smtp: b, privateKey: k}]\n", []string{`providers[0].privateKey: does not belong to a provider of type email`}},
		{"catalog with an endpoint", "secrets: [a]\nproviders: [{id: github, tokenUrl: a}]\n", []string{`providers[0].tokenUrl: does not belong to a provider of type catalog`}},
		{"url without scheme", good + "url: app.example.com\n", []string{`gatebook.yaml:3: url: must be an address such as https://app.example.com`}},
		{"a cache that is none", good + "redis: 'localhost:6379'\n", []string{`gatebook.yaml:3: redis: must be an address such as redis://:password@localhost:6379/0`}},
		{"scheme", good + "database: postgre://a/b\n", []string{`gatebook.yaml:3: database: the scheme "postgre" is not known: did you mean postgres://?`}},
		{"no scheme like it", good + "database: mongodb://a/b\n", []string{`the scheme "mongodb" is not known: known are postgres and mysql; SQLite takes a path`}},
		{"keywords", good + "database: host=db.example user=app password=pw\n", []string{`gatebook.yaml:3: database: neither an address nor the path of a file: write postgres://`}},
		{"another program's address", good + "database: 'jdbc:postgresql://db.example/app?password=pw'\n", []string{`gatebook.yaml:3: database: neither an address nor the path`}},
		{"another program's path", good + "database: 'file:./dev.db'\n", []string{`gatebook.yaml:3: database: neither an address nor the path`}},
		{"no file", good + "database: ':memory:'\n", []string{`gatebook.yaml:3: database: neither an address nor the path`}},
		{"no scheme", good + "database: {url: 'app:pw@db.example/app'}\n", []string{`gatebook.yaml:3: database.url: an address has an @ but no scheme: write postgres://`}},
		{"no database's address", good + "database: 'postgres://a:b/c@d/e'\n", []string{`gatebook.yaml:3: database: cannot be read as an address: write the special characters`}},
		{"no layout", good + "database: {url: a.db, layout: drizle}\n", []string{`gatebook.yaml:3: database.layout: "drizle" is none of own, drizzle, pg, prisma`}},
		{"a layout of nothing", good + "database: {layout: drizzle}\n", []string{`database.url: is missing`}},
		{"users", good + "database: {url: a.db, users: {idType: number, extra: [a, a]}}\n", []string{
			`database.users.idType: "number" is none of text, uuid, integer`, `database.users.table: is missing`, `database.users.extra: the column "a" is named twice`}},
		{"unknown key of a database", good + "database: {url: a.db, tables: b}\n", []string{`gatebook.yaml:3: database.tables: unknown key; the keys here are url, layout, users`}},
		{"strategy", good + "session: {strategy: cookie}\n", []string{`gatebook.yaml:3: session.strategy: "cookie" is none of database, jwt`}},
		{"several at once", "secrets: [a]\nproviders: [{id: github}]\nurll: a\ntrustHost: 1\n", []string{"gatebook.yaml:3: urll", "gatebook.yaml:4: trustHost"}},
		{"no YAML", "a: [\n", []string{"gatebook.yaml:"}},
		{"two documents", good + "---\n" + good, []string{"gatebook.yaml:3: a second document"}},
		{"empty", "", []string{"the file is empty: `gatebook init`"}},
		{"comments only", "# nothing\n", []string{"the file is empty"}},
		{"a list", "- a\n", []string{"gatebook.yaml:1: the file: wants keys with values, not a list"}},
		{"key that is a list", good + "[a, b]: c\n", []string{"gatebook.yaml:3: unknown key"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := load(t, test.text, env{})
			if err == nil {
				t.Fatal("Load accepted it")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("Load = %q, want %q in it", err, want)
				}
			}
		})
	}
}

func TestNoFile(t *testing.T) {
	_, err := config.Load(filepath.Join(t.TempDir(), "gatebook.yaml"), env{}.lookup)
	if err == nil || !strings.Contains(err.Error(), "gatebook init") {
		t.Errorf("Load = %v, want one that names `gatebook init`", err)
	}
}

// Database looks at its own key only, so that it needs no secrets.
func TestDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gatebook.yaml")
	if err := os.WriteFile(path, []byte("database: a.db\nsecrets: ['${NOT_THERE}']\nunknown: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := config.DatabaseOf(path, "", env{}.lookup)
	if got.URL != "a.db" || err != nil {
		t.Errorf("DatabaseOf = %+v, %v, want a.db", got, err)
	}
	for _, text := range []string{"database: ${NOT_THERE}\n", "database: {url: '${NOT_THERE}', layout: prisma}\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := config.DatabaseOf(path, "", env{}.lookup); err == nil {
			t.Errorf("DatabaseOf of %q succeeded without the variable", text)
		}
		if got, err := config.DatabaseOf(path, "b.db", env{}.lookup); got.URL != "b.db" || err != nil || got.Layout != "prisma" && strings.Contains(text, "layout") {
			t.Errorf("DatabaseOf of %q with another URL = %+v, %v", text, got, err)
		}
	}
}

const ownUsers = `
secrets: ["${SECRET}"]
providers: [{id: github}]
database:
  url: postgres://app:${PW}@db.example/app
  layout: drizzle
  users: {table: app.people, id: person_id, email: mail, image: "-", idType: uuid, extra: [plan]}
redis: redis://:${PW}@cache.example:6379
`

func TestDatabaseKeys(t *testing.T) {
	c, err := load(t, ownUsers, env{"SECRET": "s", "PW": "hunter2"})
	if err != nil {
		t.Fatal(err)
	}
	u := c.Database.Users
	if c.Database.URL != "postgres://app:hunter2@db.example/app" || c.Database.Layout != "drizzle" || u == nil || u.Table != "app.people" ||
		u.ID != "person_id" || u.Email != "mail" || u.Image != "-" || u.IDType != "uuid" || len(u.Extra) != 1 {
		t.Errorf("database: %+v %+v", c.Database, u)
	}
	if c.Redis != "redis://:hunter2@cache.example:6379" {
		t.Errorf("redis: %q", c.Redis)
	}
	if c.Literal {
		t.Error("passwords that come from variables are taken for secrets in the file")
	}
}

// A database's address is a secret in the file when it holds a password.
func TestDatabaseLiteral(t *testing.T) {
	for text, want := range map[string]bool{
		"a.db": false, "postgres://db.example/app": false, "postgres://app@db.example/app": false, "app@tcp(db.example)/app": false,
		"postgres://app:pw@db.example/app": true, "postgres://db.example/app?password=pw": true, "app:pw@tcp(db.example)/app": true,
	} {
		c, err := load(t, "secrets: ['${SECRET}']\nproviders: [{id: github}]\ndatabase: "+text+"\n", env{"SECRET": "s"})
		if err != nil || c.Literal != want {
			t.Errorf("%s: Literal = %v, %v, want %v", text, c.Literal, err, want)
		}
	}
}

func TestKind(t *testing.T) {
	for _, tt := range []struct{ url, kind, name string }{
		{"book.db", config.SQLite, "book.db"},
		{"/var/lib/gatebook/a@b.db", config.SQLite, "/var/lib/gatebook/a@b.db"},
		{"./a@b.db", config.SQLite, "./a@b.db"},
		{"./a:b.db", config.SQLite, "./a:b.db"},
		{`C:\book.db`, config.SQLite, `C:\book.db`},
		{"postgres://app:hunter2@db.example:5433/app?password=hunter2", config.Postgres, "PostgreSQL at db.example:5433/app"},
		{"postgresql:///app?host=/run/postgresql", config.Postgres, "PostgreSQL at /app"},
		{"mysql://app:hunter2@db.example/app", config.MySQL, "MySQL at db.example/app"},
		{"mariadb://app@db.example/app", config.MySQL, "MySQL at db.example/app"},
		{"app:hunter2@tcp(db.example:3306)/app?tls=true", config.MySQL, "MySQL at tcp(db.example:3306)/app"},
		{"app:hunt@er2@unix(/run/mysqld.sock)/app", config.MySQL, "MySQL at unix(/run/mysqld.sock)/app"},
		{"tcp(db.example)/app", config.MySQL, "MySQL at tcp(db.example)/app"},
	} {
		d := config.Database{URL: tt.url}
		if kind, err := d.Kind(); kind != tt.kind || err != nil || d.Name() != tt.name {
			t.Errorf("%s is %q %q, %v, want %q %q", tt.url, kind, d.Name(), err, tt.kind, tt.name)
		}
	}
}

// A variable may hold a secret, so an error shows the file's own text.
func TestErrorsHoldNoValues(t *testing.T) {
	_, err := load(t, "secrets: [a]\nproviders: [{id: github}]\nsession: {maxAge: '${MARKER}'}\n", env{"MARKER": "s3cr3t"})
	if err == nil || strings.Contains(err.Error(), "s3cr3t") || !strings.Contains(err.Error(), `not "${MARKER}"`) {
		t.Errorf("Load = %v, want an error that shows the variable's name", err)
	}
}

// FuzzLoad: whatever the file holds, it is read, or refused in lines that name
// it.
func FuzzLoad(f *testing.F) {
	f.Add(whole)
	f.Add("secrets: [a]\nproviders: [{id: github}]\n")
	f.Add("a: &a [*a]\n")
	f.Add("secrets: ['${NEW}', {a: b}]\n? [x]\n: y\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := load(t, text, env{"NEW": "n", "GITHUB": "g", "SMTP": "smtp://localhost"})
		if (c == nil) == (err == nil) {
			t.Fatalf("Load = %v, %v, want one of them", c, err)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "gatebook.yaml:") {
			t.Errorf("Load = %q, want the name of the file first", err)
		}
	})
}
