package sqlite_test

import (
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/record"
)

const benchUsers = 10_000

func benchDB(b *testing.B) (db gatebook.Adapter, p *sql.DB, tokens []gatebook.Secret) {
	b.Helper()
	d := open(b, filepath.Join(b.TempDir(), "bench.db"))
	var writes []gatebook.Write
	for i := range benchUsers {
		u := user(i)
		token := fmt.Sprintf("0b5e0f1e-3c1f-4a64-9d4e-%012d", i)
		writes = append(writes, u, session(u, token))
		tokens = append(tokens, gatebook.Secret(token))
	}
	commit(b, d, writes...)
	return d, d.SQL(), tokens
}

// BenchmarkSession isolates what the adapter adds to its one query: bare runs
// the same statement through database/sql and scans the same columns.
func BenchmarkSession(b *testing.B) {
	db, p, tokens := benchDB(b)
	ctx := b.Context()
	b.Run("adapter", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if _, err := db.Session(ctx, tokens[i%benchUsers]); err != nil {
				b.Fatal(err)
			}
			i += 7919
		}
	})
	b.Run("bare", func(b *testing.B) {
		stmt, err := p.Prepare(`SELECT s."sessionToken", s."expires", coalesce(g.sid, ''), g.begun, coalesce(g.provider, ''),
			u."id", coalesce(u."name", ''), coalesce(u."email", ''), u."emailVerified", coalesce(u."image", ''), k.key
			FROM "session" s JOIN "user" u ON u."id" = s."userId"
			LEFT JOIN gatebook_sessions g ON g.digest = s."sessionToken"
			LEFT JOIN gatebook_subjects k ON k.user_id = u."id"
			WHERE s."sessionToken" = ?`)
		if err != nil {
			b.Fatal(err)
		}
		defer stmt.Close()
		digests := make([]string, len(tokens))
		for i, token := range tokens {
			sum := sha256.Sum256([]byte(token))
			digests[i] = hex.EncodeToString(sum[:])
		}
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			var token, sid, provider, id, name, email, image string
			var expires, begun, verified int64
			var key []byte
			err := stmt.QueryRowContext(ctx, digests[i%benchUsers]).
				Scan(&token, &expires, &sid, &begun, &provider, &id, &name, &email, &verified, &image, &key)
			if err != nil {
				b.Fatal(err)
			}
			i += 7919
		}
	})
}

// BenchmarkFind is what a callback asks before it decides.
func BenchmarkFind(b *testing.B) {
	db, _, tokens := benchDB(b)
	ctx := b.Context()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		_, err := db.Find(ctx, gatebook.Query{
			Session: tokens[i%benchUsers], Email: user(i % benchUsers).User.Email,
			Account: gatebook.AccountKey{Provider: "github", ProviderAccountID: "1"}, Check: [32]byte{1, byte(i)},
		})
		if err != nil {
			b.Fatal(err)
		}
		i += 7919
	}
}

// BenchmarkSignIn is the act of a known user's sign-in, with and without its
// entry, beside a bare commit of the same rows of the shared table.
func BenchmarkSignIn(b *testing.B) {
	db, p, _ := benchDB(b)
	ctx := b.Context()
	n := 0
	signIn := func(b *testing.B, entries func() []record.Entry) {
		b.Helper()
		for b.Loop() {
			n++
			u := user(n % benchUsers)
			err := db.Commit(ctx, &gatebook.Act{
				Writes:  []gatebook.Write{session(u, fmt.Sprintf("bench-%d", n))},
				Entries: entries(),
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("entry", func(b *testing.B) {
		e := entry(b, db, 1)
		b.ReportAllocs()
		signIn(b, func() []record.Entry {
			e.ID = fmt.Sprintf("01900000-0000-7000-8000-%012x", n)
			return []record.Entry{e}
		})
		if err := db.Book().Drain(ctx); err != nil {
			b.Fatal(err)
		}
	})
	b.Run("no entry", func(b *testing.B) {
		b.ReportAllocs()
		signIn(b, func() []record.Entry { return nil })
	})
	b.Run("bare", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			n++
			u := user(n % benchUsers)
			s := session(u, fmt.Sprintf("bench-%d", n)).Session
			tx, err := p.BeginTx(ctx, nil)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := tx.ExecContext(ctx, `INSERT INTO "session" ("sessionToken", "userId", "expires") VALUES (?, ?, ?)`,
				string(s.Token), s.UserID, s.Expires.UnixMilli()); err != nil {
				b.Fatal(err)
			}
			if _, err := tx.ExecContext(ctx, `INSERT INTO gatebook_sessions (digest, sid, user_id, begun, provider) VALUES (?, ?, ?, ?, ?)`,
				string(s.Token), s.ID, s.UserID, s.Begun.UnixMilli(), s.Provider); err != nil {
				b.Fatal(err)
			}
			if err := tx.Commit(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
