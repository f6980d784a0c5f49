package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/cmd/gatebook/internal/config"
	"github.com/gatebook/gatebook/cmd/gatebook/internal/database"
	"github.com/gatebook/gatebook/cmd/gatebook/internal/importing"
	"github.com/gatebook/gatebook/cmd/gatebook/internal/userfile"
	"github.com/gatebook/gatebook/provider/credentials"
)

type importCommand struct {
	store
	File   string   `arg:"" optional:"" help:"users.csv, users.json or users.ndjson."`
	From   string   `name:"from-database" env:"GATEBOOK_IMPORT_DATABASE" placeholder:"FILE|URL" help:"Read them from this database instead; it is not changed."`
	Layout string   `placeholder:"NAME" help:"Whose tables it has: drizzle, pg, prisma, or own (Gatebook's)." default:"drizzle"`
	DryRun bool     `help:"Say what would become of each user, and write nothing."`
	Ignore []string `placeholder:"NAME" help:"Leave these columns or keys out."`
	State  string   `placeholder:"FILE" help:"Where to keep how far the import is; without it, beside the file, and for a database here."`
}

// Help is shown below the flags.
func (*importCommand) Help() string {
	return "Columns and keys are named as Auth.js names them: id, name, email, emailVerified, image; and of an account provider, " +
		"providerAccountId, type and its tokens. In CSV the rows of a user follow each other, one for each account; in JSON a user has a list accounts. " +
		"Users who are there already are left alone, and users that contradict what is there are refused and named; the rest goes on. " +
		"An import that was interrupted goes on where it was: type the same command again. The status is 1 when a user was refused."
}

// Validate is called when the command was read.
func (c *importCommand) Validate() error {
	if (c.File == "") == (c.From == "") {
		return errors.New("name a file of users, or a database with --from-database")
	}
	return nil
}

// Run imports.
func (c *importCommand) Run(env *environment) (err error) {
	where, err := c.database()
	if err != nil {
		return err
	}
	source, end, err := c.source(env.ctx, where)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	db, err := c.open(env.ctx, where)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	auth, err := importer(db, env)
	if err != nil {
		return err
	}
	defer func() {
		if !c.DryRun {
			err = errors.Join(err, db.SkipIDs(context.WithoutCancel(env.ctx)))
		}
	}()
	x := &importing.Import{Auth: auth, Source: source, DryRun: c.DryRun}
	if !c.DryRun {
		x.State = c.stateFile()
	}
	return c.carryOut(env, x)
}

// source opens where the users come from; end closes it.
func (c *importCommand) source(ctx context.Context, to config.Database) (source importing.Source, end func() error, err error) {
	if c.From == "" {
		options := userfile.Options{Ignore: c.Ignore}
		if to.Users != nil {
			options.Extra = to.Users.Extra
		}
		f, err := importing.OpenFile(c.File, options)
		if err != nil {
			return nil, nil, err
		}
		return f, f.Close, nil
	}
	from := config.Database{URL: c.From, Layout: c.Layout}
	pool, export, err := database.Export(ctx, from)
	if err != nil {
		return nil, nil, fmt.Errorf("--from-database: %w", err)
	}
	db, err := importing.FromDatabase(ctx, export, from.Name(), from.Name()+" "+from.Layout)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("--from-database: %w", err), pool.Close())
	}
	return db, pool.Close, nil
}

func (c *importCommand) open(ctx context.Context, where config.Database) (database.Store, error) {
	if c.DryRun {
		return database.Existing(where)
	}
	return database.Open(ctx, where)
}

func (c *importCommand) stateFile() string {
	if c.State != "" {
		return c.State
	}
	if c.From != "" {
		return "gatebook.import"
	}
	return filepath.Clean(c.File) + ".import"
}

// importer returns an Auth that nobody can sign in with.
func importer(db gatebook.Adapter, env *environment) (*gatebook.Auth, error) {
	none, err := credentials.New(credentials.Config{Authorize: func(context.Context, map[string]string, *http.Request) (*gatebook.User, error) {
		return nil, gatebook.ErrBadCredentials
	}})
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.NewTextHandler(env.stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	return gatebook.New(gatebook.Config{Secrets: []gatebook.Secret{gatebook.Secret(rand.Text() + rand.Text())}, Adapter: db,
		Providers: []gatebook.Provider{none}, Session: gatebook.SessionConfig{Strategy: gatebook.StrategyJWT}, Logger: log})
}

// numberTime is how long is waited for the last entries to be numbered, which
// another server may be doing.
const numberTime = 30 * time.Second

// carryOut runs x and says what became of the users. Meanwhile entries are
// numbered, for they would fill the outbox.
func (c *importCommand) carryOut(env *environment, x *importing.Import) error {
	watch := newProgress(env.stderr, x.Source)
	x.Progress = watch.show
	x.Note = watch.line
	x.Refused = func(place, why string) { watch.line(place + ": " + why) }

	running, stop := context.WithCancel(context.WithoutCancel(env.ctx))
	numbered := make(chan error, 1)
	if x.DryRun {
		numbered <- nil
	} else {
		go func() { numbered <- x.Auth.Run(running) }()
	}
	counts, err := x.Run(env.ctx)
	watch.end()
	if !x.DryRun {
		// Run goes on meanwhile: it gives the lease back when it ends.
		err = errors.Join(err, drain(env.ctx, x.Auth.Book(), watch.line))
	}
	stop()
	err = errors.Join(err, <-numbered)
	return errors.Join(err, c.say(env, x, counts, err))
}

func drain(ctx context.Context, b *book.Book, note func(string)) error {
	ctx = context.WithoutCancel(ctx)
	budget, cancel := context.WithTimeout(ctx, numberTime)
	defer cancel()
	err := b.Drain(budget)
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	n, _, err := b.Pending(ctx)
	if n > 0 {
		note(fmt.Sprintf("%d entries wait for their number in the book: a server gives it to them", n))
	}
	return err
}

// say prints the summary.
func (c *importCommand) say(env *environment, x *importing.Import, n importing.Counts, failed error) error {
	verb := "imported"
	if x.DryRun {
		verb = "to import"
	}
	_, err := fmt.Fprintf(env.stdout, "%s: %s %s with %s; %d there already; %d refused\n", clean(x.Source.Name()),
		count(n.Imported, "user"), verb, count(n.Accounts, "account"), n.Known, n.Refused)
	switch {
	case failed != nil && !x.DryRun:
		err = errors.Join(err, errors.New("the import is not complete: the same command goes on from here"))
	case failed != nil:
	case n.Refused > 0:
		err = errors.Join(err, fmt.Errorf("%s refused, as said above", count(n.Refused, "user")))
	}
	return err
}

func count(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// progress shows how far an import is: a bar on a terminal, and elsewhere a line
// now and then.
type progress struct {
	w      *os.File
	source importing.Source
	bar    *progressbar.ProgressBar
	last   time.Time
}

// progressEvery is how often a line is written where there is no terminal.
const progressEvery = 10 * time.Second

func newProgress(w *os.File, source importing.Source) *progress {
	p := &progress{w: w, source: source, last: time.Now()}
	if terminal(w) {
		_, total := source.Progress()
		p.bar = progressbar.NewOptions64(max(total, 1), progressbar.OptionSetWriter(w), progressbar.OptionSetPredictTime(true),
			progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetWidth(30))
	}
	return p
}

func (p *progress) show(n importing.Counts) {
	done, total := p.source.Progress()
	users := count(n.Imported+n.Known+n.Refused, "user")
	if p.bar != nil {
		p.bar.Describe(users)
		_ = p.bar.Set64(min(done, max(total, 1))) // a bar that cannot be drawn is no reason to stop
		return
	}
	if now := time.Now(); now.Sub(p.last) >= progressEvery {
		p.last = now
		part := ""
		if total > 0 {
			part = fmt.Sprintf(", %d %%", 100*done/total)
		}
		p.line(users + part)
	}
}

// line prints a line above the bar.
func (p *progress) line(text string) {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
	complain(p.w, strings.TrimSpace(text))
}

func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}
