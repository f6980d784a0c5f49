package adapters

import (
	"crypto/rand"
	"database/sql"
	"net/url"
	"strings"
	"testing"

	"github.com/gatebook/gatebook/test/oidcprovider"
)

// TestRights: each side has a user of its own in the database, with no more
// rights than docs/share-a-database.md says, and Auth.js's none on the book.
func TestRights(t *testing.T) {
	for _, k := range kinds {
		if k.dialect != "postgres" || k.users != nil {
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t, k)
			p.migrate()
			theirs := []string{p.user, p.account, p.session, p.link}
			if p.authenticator != "" {
				theirs = append(theirs, p.authenticator)
			}
			npm, ours := p.role(), p.role()
			p.grant("SELECT, INSERT, UPDATE, DELETE ON", theirs, npm, ours)
			if p.name == "pg" {
				p.grant("USAGE ON SEQUENCE", []string{"users_id_seq", "accounts_id_seq", "sessions_id_seq"}, npm, ours)
			}
			p.grant("SELECT, INSERT, UPDATE, DELETE ON", p.ownTables(), ours)
			p.npm = startNode(t, p.name, npm.url)
			p.dsn = ours.url
			p.store = p.newStore()
			s := newSites(p)
			v := s.visitor()
			v.signIn(s.authjs, oidcprovider.Ada)
			if v.session(s.gatebook) == nil {
				t.Error("Gatebook shows no session that began at Auth.js")
			}
			v.signOut(s.gatebook)
			v.signIn(s.gatebook, oidcprovider.Grace)
			if v.session(s.authjs) == nil {
				t.Error("Auth.js shows no session that began at Gatebook")
			}
			s.wantRecorded(map[string]int{"session.adopted": 1, "signOut": 1, "signIn": 1})
		})
	}
}

// role is a user of the server who may do nothing yet, and where they connect.
type role struct{ name, url string }

func (p *place) role() role {
	p.t.Helper()
	name, password := "gatebook_"+strings.ToLower(rand.Text()), rand.Text()
	p.exec("CREATE ROLE " + name + " LOGIN PASSWORD '" + password + "'")
	db, err := sql.Open("pgx", p.dsn) // p.db is closed when this is used
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		defer db.Close()
		for _, statement := range []string{"DROP OWNED BY " + name, "DROP ROLE " + name} {
			if _, err := db.Exec(statement); err != nil {
				p.t.Errorf("%s: %v", statement, err)
			}
		}
	})
	u, err := url.Parse(p.dsn)
	if err != nil {
		p.t.Fatal(err)
	}
	u.User = url.UserPassword(name, password)
	return role{name, u.String()}
}

func (p *place) grant(what string, names []string, to ...role) {
	p.t.Helper()
	for _, name := range names {
		for _, r := range to {
			p.exec("GRANT " + what + ` "` + name + `" TO ` + r.name)
		}
	}
}

// ownTables are the tables that Gatebook made.
func (p *place) ownTables() (names []string) {
	p.t.Helper()
	rows, err := p.db.QueryContext(p.t.Context(), map[string]string{
		"postgres": `SELECT tablename FROM pg_tables WHERE tablename LIKE 'gatebook%'`,
		"mysql":    `SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name LIKE 'gatebook%'`,
		"sqlite":   `SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'gatebook%'`,
	}[p.dialect])
	if err != nil {
		p.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			p.t.Fatal(err)
		}
		names = append(names, name)
	}
	if err := rows.Err(); err != nil || len(names) == 0 {
		p.t.Fatalf("Gatebook's tables are %v, %v", names, err)
	}
	return names
}
