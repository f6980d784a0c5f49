package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gatebook/gatebook/adapter/redis"
	"github.com/gatebook/gatebook/adapter/sqlstore"
	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/cmd/gatebook/internal/config"
	"github.com/gatebook/gatebook/cmd/gatebook/internal/database"
)

// examineDatabase looks at the database: whether it answers, what it is, whether
// its tables and settings are right, and whether the book is kept.
func (c *doctorCommand) examineDatabase(ctx context.Context, d *diagnosis, where config.Database, cache string) {
	if where.URL == "" {
		where.URL = config.DefaultDatabase
	}
	kind, err := where.Kind()
	if err != nil {
		d.Fault("database", "%v", err)
		return
	}
	name := where.Name()
	if kind == config.SQLite && !examineFile(d, where.URL) {
		return
	}
	db, err := database.Existing(where)
	if err != nil {
		d.Fault("database", "%v", err)
		return
	}
	defer func() { _ = db.Close() }() // it was only read
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	about, err := describe(ctx, db, kind)
	if err != nil {
		d.Fault("database", "%s: it does not answer: %v", name, err)
		return
	}
	if err := db.Check(ctx); err != nil {
		d.Fault("database", "%s, %s: %v", name, about, err)
		examinePlan(ctx, d, db)
		return
	}
	if why := readOnly(ctx, db, kind, where.URL); why != "" {
		d.Fault("database", "%s, %s: it can only be read (%s): sessions are read, and whatever is to be recorded fails", name, about, why)
		return
	}
	d.OK("database", "%s, %s, tables up to date", name, about)
	examinePlan(ctx, d, db)
	examineLayout(d, where)
	examineBook(ctx, d, db.Book())
	if cache != "" {
		examineCache(ctx, d, db, cache)
	}
}

// examineCache asks the cache of sessions. Without it all works, and slower.
func examineCache(ctx context.Context, d *diagnosis, db database.Store, address string) {
	cache, err := redis.Open(db, address, &redis.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		d.Fault("redis", "%v", err)
		return
	}
	defer func() { _ = cache.Close() }() // it was only asked
	if err := cache.Ping(ctx); err != nil {
		d.Warn("redis", "sessions are read from the database until it answers: %v", err)
		return
	}
	d.OK("redis", "it caches sessions")
}

// examineFile says what is unwise about a SQLite file; false when there is none.
func examineFile(d *diagnosis, path string) bool {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		folder := filepath.Dir(path)
		if dir, err := os.Stat(folder); err != nil || !dir.IsDir() {
			d.Fault("database", "%s: there is no folder %s", path, folder)
			return false
		}
		d.Warn("database", "%s does not exist yet: `gatebook serve` or `gatebook migrate` makes it", path)
		return false
	}
	if err != nil {
		d.Fault("database", "%v", err)
		return false
	}
	if info.Mode().Perm()&0o077 != 0 {
		d.Warn("database", "others can read %s (%s): chmod 600 %s", path, info.Mode().Perm(), path)
	}
	return true
}

// describe returns which database it is, in its own words.
func describe(ctx context.Context, db database.Store, kind string) (string, error) {
	ask := func(query string) (string, error) {
		var answer string
		err := db.SQL().QueryRowContext(ctx, query).Scan(&answer)
		return answer, err
	}
	switch kind {
	case config.Postgres:
		v, err := ask("SHOW server_version")
		return "PostgreSQL " + v, err
	case config.MySQL:
		v, err := ask("SELECT VERSION()")
		if strings.Contains(v, "MariaDB") {
			return "MariaDB " + v, err
		}
		return "MySQL " + v, err
	}
	v, err := ask("SELECT sqlite_version()")
	if err != nil {
		return "", err
	}
	journal, err := ask("PRAGMA journal_mode")
	if err == nil && journal != "wal" {
		journal += " (serving changes it to wal)"
	}
	return fmt.Sprintf("SQLite %s, journal %s", v, journal), err
}

// readOnly says why nothing can be written; empty when it can, or cannot be told.
func readOnly(ctx context.Context, db database.Store, kind, path string) string {
	query, why := "", ""
	switch kind {
	case config.Postgres:
		query, why = "SELECT current_setting('transaction_read_only') = 'on'", "a standby, or default_transaction_read_only is on"
	case config.MySQL:
		query, why = "SELECT @@GLOBAL.read_only", "a replica, or read_only is on"
	default:
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return "by this user: " + err.Error()
		}
		_ = f.Close() // nothing was written
		return ""
	}
	var on bool
	if err := db.SQL().QueryRowContext(ctx, query).Scan(&on); err != nil || !on {
		return ""
	}
	return why
}

// examinePlan says when the database knows more than this program.
func examinePlan(ctx context.Context, d *diagnosis, db database.Store) {
	all, err := db.Plan(ctx)
	if err != nil {
		return // Check has said it
	}
	for _, s := range all {
		if newer(s) {
			d.Warn("database", "a newer version has migrated it (%s %s): this one serves it, and refuses to migrate it", s.Part, s.Name)
			return
		}
	}
}

// examineLayout says what tables of another's making cannot hold.
func examineLayout(d *diagnosis, where config.Database) {
	l, err := database.Layout(&where)
	if err != nil {
		d.Fault("database", "%v", err)
		return
	}
	if !l.Shared() {
		return
	}
	d.OK("layout", "%s: the tables are shared with Auth.js, and session tokens stand in them as they are", l.Name())
	for _, lack := range l.Lacks() {
		if text := lacking(lack); text != "" {
			d.Warn("layout", "%s", text)
		}
	}
}

func lacking(l sqlstore.Lack) string {
	var parts []string
	if l.Column == "" {
		parts = append(parts, "there is none: what needs it is refused")
	}
	if l.MaxChars > 0 {
		parts = append(parts, fmt.Sprintf("holds %d characters", l.MaxChars))
	}
	if l.WholeSeconds {
		parts = append(parts, "keeps whole seconds")
	}
	if l.Before > 0 {
		parts = append(parts, fmt.Sprintf("holds times before %d", l.Before))
	}
	if len(parts) == 0 {
		return "" // a key that Migrate adds, and Check looks for
	}
	return strings.Trim(l.Table+"."+l.Column, ".") + ": as its maker makes it, " + strings.Join(parts, ", ")
}

func examineBook(ctx context.Context, d *diagnosis, b *book.Book) {
	head, err := b.Head(ctx)
	if err != nil {
		d.Fault("book", "%v", err)
		return
	}
	n, oldest, err := b.Pending(ctx)
	switch {
	case err != nil:
		d.Fault("book", "%v", err)
	case n > 0 && time.Since(oldest) > 10*time.Second:
		d.Warn("book", "%d entries, and %d wait to be numbered since %s: is a server running?", head.Seq, n, oldest.UTC().Format(time.RFC3339))
	default:
		d.OK("book", "%d entries", head.Seq)
	}
}
