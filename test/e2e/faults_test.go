package e2e_test

import (
	"database/sql"
	"net/url"
	"strings"
	"testing"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/record"
)

// TestDatabaseFails takes the database away from a site: a visitor gets an error
// page and no session, nothing is half done, and all is well again when the
// database is. A full disk and a lock that another process holds are tested in
// the adapter's module.
func TestDatabaseFails(t *testing.T) {
	for _, fault := range []struct{ name, begin, mend string }{
		{"read-only", "PRAGMA query_only = 1", "PRAGMA query_only = 0"},
		{"weak", "PRAGMA synchronous = NORMAL", "PRAGMA synchronous = FULL"},
	} {
		for _, strategy := range []string{gatebook.StrategyJWT, gatebook.StrategyDatabase} {
			t.Run(fault.name+"/"+strategy, func(t *testing.T) {
				s := newSite(t, strategy)
				s.db.SQL().SetMaxOpenConns(1) // the settings belong to a connection
				if _, err := s.auth.CreateUser(t.Context(), gatebook.User{ID: "mary", Email: "mary@example.com"}); err != nil {
					t.Fatal(err)
				}
				s.want("createUser")
				run(t, s.db.SQL(), fault.begin)
				form := func() url.Values { return url.Values{"email": {"mary@example.com"}, "password": {"the right one"}} }
				v := s.visitor()
				to := v.post("/auth/callback/credentials", form())
				if to != s.url+"/auth/error?error=Configuration" {
					t.Errorf("with a %s database a sign-in leads to %q", fault.name, to)
				}
				if got := v.session(); got != "null" {
					t.Errorf("with a %s database the visitor has the session %s", fault.name, got)
				}
				if log := s.log.String(); !strings.Contains(log, record.ReasonStoreError) {
					t.Errorf("the log does not say that the store failed:\n%s", log)
				}
				run(t, s.db.SQL(), fault.mend)
				if to := v.post("/auth/callback/credentials", form()); to != s.url {
					t.Errorf("with the database back a sign-in leads to %q\n%s", to, s.log)
				}
				s.want("signIn")
				if got := v.session(); !strings.Contains(got, "mary@example.com") {
					t.Errorf("with the database back the session is %s", got)
				}
			})
		}
	}
}

func run(t *testing.T, db *sql.DB, query string) {
	t.Helper()
	if _, err := db.Exec(query); err != nil {
		t.Fatal(err)
	}
}
