package adapters

import (
	"database/sql"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/gatebook/gatebook/adapter/sqlstore"
)

// layouts are Gatebook's names of what the kinds are.
var layouts = map[string]sqlstore.Layout{
	"pg":               sqlstore.AuthJSPostgres,
	"drizzle-postgres": sqlstore.DrizzlePostgres, "drizzle-mysql": sqlstore.DrizzleMySQL, "drizzle-sqlite": sqlstore.DrizzleSQLite,
	"prisma-postgres": sqlstore.PrismaPostgres, "prisma-mysql": sqlstore.PrismaMySQL, "prisma-sqlite": sqlstore.PrismaSQLite,
}

// newStore is Gatebook's adapter on the place, over connections that are far from
// UTC, as Node.js is.
func (p *place) newStore() *sqlstore.Store {
	p.t.Helper()
	db, err := sql.Open(drivers[p.dialect], far(p.t, p.dialect, p.dsn))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { db.Close() })
	return sqlstore.New(db, layouts[p.name])
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
