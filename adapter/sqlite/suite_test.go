package sqlite_test

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the machine may have no zones

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/adaptertest"
	"github.com/gatebook/gatebook/adapter/sqlite"
	"github.com/gatebook/gatebook/adapter/sqlstore"
)

// The process is as far from UTC as one can be, with hours that come twice and
// never, so that no time is right by chance.
func init() {
	var err error
	if time.Local, err = time.LoadLocation("Pacific/Chatham"); err != nil {
		panic(err)
	}
}

// faultVariable makes the test program run the suite on an adapter with that
// fault instead.
const faultVariable = "GATEBOOK_TEST_FAULT"

func TestAdapter(t *testing.T) {
	spoil := faults[os.Getenv(faultVariable)].spoil
	adaptertest.Run(t, func(t *testing.T) gatebook.Adapter {
		t.Helper()
		path := filepath.Join(t.TempDir(), "test.db")
		addColumns(t, open(t, path).SQL())
		db := openLayout(t, path, extra)
		if spoil != nil {
			return broken{db, spoil}
		}
		return db
	}, options)
}

// TestNewAdapter runs the suite on an application's own pool, whose
// transactions are deferred.
func TestNewAdapter(t *testing.T) {
	adaptertest.Run(t, func(t *testing.T) gatebook.Adapter {
		t.Helper()
		db := sqlite.New(pool(t, filepath.Join(t.TempDir(), "test.db"), good), extra)
		if err := db.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		addColumns(t, db.SQL())
		return db
	}, options)
}

// extra is the layout with the columns that the suite needs, and those of all
// the types that SQLite has.
var extra = sqlstore.SQLite.WithUsers(sqlstore.Users{Extra: []string{
	adaptertest.TextColumn, adaptertest.NumberColumn, "photo", "ratio", "vip", "select",
}})

func addColumns(t testing.TB, db *sql.DB) {
	t.Helper()
	for _, column := range []string{
		adaptertest.TextColumn + " text", adaptertest.NumberColumn + " integer", "photo blob", "ratio real", "vip boolean", `"select" text`,
	} {
		run(t, db, `ALTER TABLE "user" ADD COLUMN `+column)
	}
	run(t, db, `ALTER TABLE "user" ADD COLUMN password text DEFAULT 'a hash'`) // declared by nobody
}

// options read and write the tables as another program does.
var options = &adaptertest.Options{
	Columns: map[string][]any{
		"photo": {[]byte{0, 0xff, 0xfe}, []byte("x")}, "ratio": {1.5, -0.25}, "vip": {int64(1), int64(0)}, "select": {"'", "\u00e9\u0301 "},
	},
	Account: func(t *testing.T, a gatebook.Adapter, k gatebook.AccountKey) *gatebook.Account {
		t.Helper()
		row := gatebook.Account{Provider: k.Provider, ProviderAccountID: k.ProviderAccountID}
		err := a.(adaptertest.SQL).SQL().QueryRow(`SELECT "userId", "type", coalesce("access_token", ''), coalesce("refresh_token", ''),
				coalesce("id_token", ''), coalesce("expires_at", 0), coalesce("token_type", ''), coalesce("scope", ''),
				coalesce("session_state", '')
			FROM "account" WHERE "provider" = ? AND "providerAccountId" = ?`, k.Provider, k.ProviderAccountID).Scan(
			&row.UserID, &row.Type, &row.AccessToken, &row.RefreshToken, &row.IDToken, &row.ExpiresAt, &row.TokenType,
			&row.Scope, &row.SessionState)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			t.Fatal(err)
		}
		return &row
	},
	Foreign: func(t *testing.T, a gatebook.Adapter, s gatebook.StoredSession) {
		t.Helper()
		token := sha256.Sum256([]byte(s.Token))
		run(t, a.(adaptertest.SQL).SQL(), `INSERT INTO "session" ("sessionToken", "userId", "expires") VALUES (?, ?, ?)`,
			hex.EncodeToString(token[:]), s.UserID, s.Expires.UnixMilli())
	},
	Unready: func(t *testing.T) []adaptertest.Unready {
		t.Helper()
		none := sqlite.New(pool(t, filepath.Join(t.TempDir(), "none.db"), good), sqlstore.SQLite)
		half := sqlite.New(pool(t, filepath.Join(t.TempDir(), "half.db"), good), sqlstore.SQLite)
		if err := half.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		run(t, half.SQL(), `DELETE FROM gatebook_migrations WHERE version = (SELECT max(version) FROM gatebook_migrations)`)
		unready := func(name string, db *sqlite.DB) adaptertest.Unready {
			return adaptertest.Unready{Name: name, Adapter: db, Says: "gatebook migrate", Repair: func(t *testing.T) {
				t.Helper()
				if err := db.Migrate(t.Context()); err != nil {
					t.Fatal(err)
				}
			}}
		}
		return []adaptertest.Unready{unready("no tables", none), unready("half migrated", sqlite.New(half.SQL(), sqlstore.SQLite))}
	},
}

// broken is the adapter with a fault in how it carries out acts.
type broken struct {
	*sqlite.DB
	spoil func(*sqlite.DB, context.Context, *gatebook.Act) error
}

// Commit implements [gatebook.Adapter].
func (b broken) Commit(ctx context.Context, act *gatebook.Act) error { return b.spoil(b.DB, ctx, act) }

// faults are such faults, with the rule that finds each.
var faults = map[string]struct {
	says  string
	spoil func(*sqlite.DB, context.Context, *gatebook.Act) error
}{
	"InTx after the commit": {"An error of InTx rolls everything back", func(db *sqlite.DB, ctx context.Context, act *gatebook.Act) error {
		if act.InTx == nil || act.Tx != nil {
			return db.Commit(ctx, act)
		}
		plain := *act
		plain.InTx = nil
		if err := db.Commit(ctx, &plain); err != nil {
			return err
		}
		tx, err := db.SQL().BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if err := act.InTx(ctx, tx); err != nil {
			return err
		}
		return tx.Commit()
	}},
	"an error of InTx is wrapped": {"want InTx's own error", func(db *sqlite.DB, ctx context.Context, act *gatebook.Act) error {
		err := db.Commit(ctx, act)
		if act.InTx != nil && err != nil {
			return errors.Join(err)
		}
		return err
	}},
	"panics are errors": {"A panic of InTx rolls everything back and goes on to the caller.", func(db *sqlite.DB, ctx context.Context, act *gatebook.Act) (err error) {
		defer func() {
			if v := recover(); v != nil {
				err = errors.New("panic")
			}
		}()
		return db.Commit(ctx, act)
	}},
	"no savepoint": {"After an act that failed the application's transaction goes on", func(db *sqlite.DB, ctx context.Context, act *gatebook.Act) error {
		if act.Tx == nil {
			return db.Commit(ctx, act)
		}
		for _, w := range act.Writes {
			if err := db.Commit(ctx, &gatebook.Act{Writes: []gatebook.Write{w}, Tx: act.Tx}); err != nil {
				return err
			}
		}
		return db.Commit(ctx, &gatebook.Act{Entries: act.Entries, InTx: act.InTx, Tx: act.Tx})
	}},
	"entries after the commit": {"Entries are numbered under the locks of the rows", func(db *sqlite.DB, ctx context.Context, act *gatebook.Act) error {
		if len(act.Entries) == 0 || act.Tx != nil || len(act.Writes) == 0 {
			return db.Commit(ctx, act)
		}
		if act.InTx == nil {
			return db.Commit(ctx, act)
		}
		entries := act.Entries
		late := *act
		late.Entries = nil
		if err := db.Commit(ctx, &late); err != nil {
			return err
		}
		<-time.After(200 * time.Millisecond) // those that waited are done by then
		return db.Commit(ctx, &gatebook.Act{Entries: entries})
	}},
	"deaf while it waits": {"An act that waits for a row of another returns when its context ends", func(db *sqlite.DB, ctx context.Context, act *gatebook.Act) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		return db.Commit(ctx, act)
	}},
}

// TestFaults wants the suite to find what only an adapter on database/sql can do
// wrong; package adaptertest has the other faults.
func TestFaults(t *testing.T) {
	if os.Getenv(faultVariable) != "" {
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestAdapter$/^(Tx|Context|Order)$")
			cmd.Env = append(os.Environ(), faultVariable+"="+name)
			out, err := cmd.CombinedOutput()
			if !strings.Contains(string(out), fault.says) || err == nil {
				t.Errorf("the suite on an adapter with this fault: %v, want a failure that says %q; it says:\n%.3000s", err, fault.says, out)
			}
		})
	}
}
