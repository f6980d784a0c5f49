package adapters

import (
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/gatebook/gatebook/adapter/sqlstore"
)

// layout is what Gatebook calls the kind.
func (k *kind) layout(t *testing.T) sqlstore.Layout {
	t.Helper()
	name, _, _ := strings.Cut(k.name, "-")
	if k.users != nil {
		name = "drizzle"
	}
	l, err := sqlstore.Named(k.dialect, name)
	if err != nil {
		t.Fatal(err)
	}
	if k.users != nil {
		l = l.WithUsers(*k.users)
	}
	return l
}

// newStore is Gatebook's adapter on the place, over connections that are far from
// UTC, as Node.js is.
func (p *place) newStore() *sqlstore.Store {
	p.t.Helper()
	db, err := sql.Open(drivers[p.dialect], far(p.t, p.dialect, p.dsn))
	if err != nil {
		p.t.Fatal(err)
	}
	p.home.Cleanup(func() { db.Close() })
	return sqlstore.New(db, p.layout(p.t))
}

// far is dsn with another time zone than UTC.
func far(t *testing.T, dialect, dsn string) string {
	t.Helper()
	switch dialect {
	case "postgres":
		return withQuery(t, dsn, "timezone", "Asia/Kolkata")
	case "mysql":
		cfg, err := mysql.ParseDSN(dsn)
		if err != nil {
			t.Fatal(err)
		}
		if cfg.Loc, err = time.LoadLocation("Asia/Kolkata"); err != nil {
			t.Fatal(err)
		}
		return cfg.FormatDSN()
	}
	return dsn
}

// migrate makes Gatebook's own tables beside the others.
func (p *place) migrate() {
	p.t.Helper()
	p.store = p.newStore()
	if err := p.store.Migrate(p.t.Context()); err != nil {
		p.t.Fatalf("migrate: %v", err)
	}
}
