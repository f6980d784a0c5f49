package gatebook

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/internal/csrf"
	"github.com/gatebook/gatebook/internal/jwe"
	"github.com/gatebook/gatebook/internal/pages"
	"github.com/gatebook/gatebook/internal/redirect"
)

// Auth signs people in and records it. It is an [http.Handler] for the routes
// under the base path, and middleware for the rest of the application. All
// methods may be called concurrently.
type Auth struct {
	cfg       Config
	origin    string // of Config.URL, or empty
	base      string // "/auth"; "" when mounted at the root
	trustHost bool
	proxies   []netip.Prefix
	trusted   []string // origins, of Config.TrustedOrigins
	// plain and secure are the cookies where visitors know the site by http and
	// by https.
	plain, secure *cookieSet
	log           *slog.Logger
	now           func() time.Time

	providers map[string]Provider
	adapter   Adapter
	book      *book.Book
	keys      atomic.Pointer[bookKeys]
	met       metSet
	uuids     atomic.Pointer[bool] // whether users' ids are UUIDs, once known

	codecs map[string]*jwe.Codec // by salt: cookie names and a few words
	// tokenSalts are the salts of session tokens: the names of their cookie.
	tokenSalts []string
	csrf       *csrf.Signer
	pages      *pages.Pages
	// mailTheme is Config.Theme as mails get it.
	mailTheme Theme

	handlers *dispatcher
	counts   *counts
	holder   string // by which the adapter knows who does the housekeeping
}

// New returns an Auth for cfg. It starts nothing and dials nothing; its errors
// name the field that is wrong.
func New(cfg Config) (*Auth, error) {
	cfg.Secrets = slices.Clone(cfg.Secrets)
	cfg.Providers = slices.Clone(cfg.Providers)
	cfg.TrustedProxies = slices.Clone(cfg.TrustedProxies)
	cfg.NativeRedirects = slices.Clone(cfg.NativeRedirects)
	cfg.TrustedOrigins = slices.Clone(cfg.TrustedOrigins)
	cfg.RedirectProxyOrigins = slices.Clone(cfg.RedirectProxyOrigins)
	cfg.Session.TokenSecrets = slices.Clone(cfg.Session.TokenSecrets)
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	a := &Auth{
		cfg: cfg, base: cfg.BasePath, trustHost: cfg.TrustHost, proxies: cfg.TrustedProxies, trusted: cfg.TrustedOrigins,
		log: cfg.Logger, now: cfg.Now, adapter: cfg.Adapter, book: cfg.Book,
		providers: make(map[string]Provider, len(cfg.Providers)),
	}
	if a.adapter != nil {
		a.book = a.adapter.Book()
	}
	if cfg.URL != "" {
		a.origin, _, _ = redirect.ParseBase(cfg.URL)
	}
	for _, p := range cfg.Providers {
		a.providers[p.Info().ID] = p
	}
	if err := a.makeCodecs(); err != nil {
		return nil, err
	}
	var err error
	theme := pages.Theme(cfg.Theme)
	if a.pages, err = pages.New(theme); err != nil {
		return nil, fmt.Errorf("gatebook: Config.Theme: %w", err)
	}
	if c := theme.Contrast(); c < 4.5 { // WCAG 2.2, 1.4.3
		a.log.Warn("Config.Theme.ButtonText is hard to read on the brand colour: leave it empty for the better of black and white",
			"contrast", fmt.Sprintf("%.1f", c), "wanted", 4.5)
	}
	a.mailTheme = cfg.Theme
	a.mailTheme.ButtonText = theme.ReadableText()
	a.handlers = newDispatcher(cfg.Events, a.log, a.now)
	a.handlers.record = a.recordHandlers
	a.book.SetLogger(a.log)
	a.counts = newCounts(a.now())
	a.holder = newID()
	return a, nil
}

// makeCodecs makes what seals cookies and tokens: a codec for each name that a
// sealed cookie has.
func (a *Auth) makeCodecs() (err error) {
	if a.plain, a.secure, err = a.cfg.cookieSets(); err != nil {
		return err
	}
	if fixed := a.cfg.UseSecureCookies; fixed != nil && *fixed != strings.HasPrefix(a.origin, "https:") && a.origin != "" {
		a.log.Warn("UseSecureCookies is not what the scheme of the site's address asks for", "secure", *fixed, "origin", a.origin)
	}
	a.csrf = csrf.New(strings.Join(a.texts("secret", a.cfg.Secrets), ","))
	secrets := a.texts("token secret", a.cfg.Session.TokenSecrets)
	a.codecs = map[string]*jwe.Codec{}
	salts := []string{stateSalt, challengeSalt, nativeSalt}
	for _, set := range []*cookieSet{a.plain, a.secure} {
		for _, kind := range []cookieKind{sessionCookie, stateCookie, pkceCookie, nonceCookie, challengeCookie} {
			salts = append(salts, set[kind].name)
		}
		if name := set[sessionCookie].name; !slices.Contains(a.tokenSalts, name) {
			a.tokenSalts = append(a.tokenSalts, name)
		}
	}
	for _, salt := range salts {
		if a.codecs[salt] != nil {
			continue
		}
		if a.codecs[salt], err = jwe.New(secrets, salt); err != nil {
			return fmt.Errorf("gatebook: Config.Secrets: %w", err)
		}
	}
	return nil
}

// texts returns the secrets as text, and warns of short ones.
func (a *Auth) texts(what string, secrets []Secret) []string {
	out := make([]string, len(secrets))
	for i, s := range secrets {
		out[i] = string(s)
		if len(s) < 32 {
			a.log.Warn("secret is short: use at least 32 random characters, `gatebook secret` makes them", what, i)
		}
	}
	return out
}

// Book returns the book in which this Auth records.
func (a *Auth) Book() *book.Book { return a.book }

// Run numbers the entries of the book, records counts of sessions, and cleans
// up what has expired, until ctx ends; then it returns nil. Of several servers
// on one database each calls Run, and one at a time does the numbering and one the
// cleaning. Where sessions are rows, those that expired five minutes ago are ended
// with session.expired; magic links and the like that expired an hour ago are deleted.
// Errors of the database are logged and tried again.
func (a *Auth) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop() // also when the book stops first
	wg.Go(func() { a.writeCounts(ctx) })
	if a.adapter != nil {
		wg.Go(func() { a.keepHouse(ctx) })
	}
	if r, ok := a.adapter.(Runner); ok {
		wg.Go(func() {
			if err := r.Run(ctx); err != nil && ctx.Err() == nil {
				a.log.Error("the adapter's work stopped", "error", err.Error())
			}
		})
	}
	if err := a.book.Run(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("gatebook: run the book: %w", err)
	}
	return nil
}

// Close waits for detached handlers, writes the counts that are left and numbers
// the entries that wait, for as long as ctx allows. Call it when the server
// takes no more requests and Run has returned. Closing twice is harmless.
func (a *Auth) Close(ctx context.Context) error {
	err := a.handlers.drain(ctx)
	a.flushCounts(ctx, true)
	return errors.Join(err, a.book.Drain(ctx))
}

// commit carries out act so that it outlives the visitor's hang-up, and finds
// out what became of it when the connection was lost meanwhile.
func (a *Auth) commit(ctx context.Context, act *Act) error {
	if ctx.Value(inTxKey{}) != nil {
		return errInTx
	}
	outer := ctx
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitBudget)
	defer cancel()
	var err error
	if a.adapter != nil {
		err = a.adapter.Commit(ctx, act)
	} else if len(act.Writes) > 0 {
		return errors.New("gatebook: writes without an adapter")
	} else {
		err = a.book.Append(ctx, act.Entries...)
	}
	if errors.Is(err, ErrCommitUnknown) || errors.Is(err, book.ErrCommitUnknown) {
		err = a.lookUp(outer, act, err)
	}
	if err != nil || act.Tx != nil {
		return err
	}
	a.book.Wake()
	return nil
}

// A commit has 10 seconds, and finding out what became of it 5 more.
const (
	commitBudget  = 10 * time.Second
	resolveBudget = 5 * time.Second
)

// lookUp looks the entries of an act up by their ids after its commit's
// outcome was lost. Finding them proves that it happened; not finding them
// proves nothing, for it may still be under way.
func (a *Auth) lookUp(ctx context.Context, act *Act, lost error) error {
	if len(act.Entries) == 0 {
		return lost
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), resolveBudget)
	defer cancel()
	ids := make([]string, len(act.Entries))
	for i, e := range act.Entries {
		ids[i] = e.ID
	}
	wait := 10 * time.Millisecond
	for {
		found, err := a.book.Recorded(ctx, ids...)
		if err == nil && found {
			a.log.Warn("connection lost at commit; the entries are there, so it happened", "entries", len(ids))
			return nil
		}
		if err == nil {
			return lost
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return lost
		case <-timer.C:
		}
		wait = min(2*wait, time.Second)
	}
}

// bookKeys is the book's id and search key, with the key derived from it for the
// sids of sessions that other programs began.
type bookKeys struct {
	book.Identity
	sids []byte
	macs sync.Pool // of hash.Hash under sids
}

// bookKeys returns the book's keys, read once.
func (a *Auth) bookKeys(ctx context.Context) (*bookKeys, error) {
	if k := a.keys.Load(); k != nil {
		return k, nil
	}
	id, err := a.book.Identity(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the book's identity: %w", err)
	}
	k := &bookKeys{Identity: id}
	if k.sids, err = deriveKey(id.SearchKey, "foreign session", "", sha256.Size); err != nil {
		return nil, err
	}
	a.keys.Store(k)
	return k, nil
}

// find asks the adapter. What is no text in any database is asked of none: it is
// not there.
func (a *Auth) find(ctx context.Context, q Query) (*Found, error) {
	for _, s := range [...]*string{&q.UserID, &q.Email, &q.Account.Provider, &q.Account.ProviderAccountID, &q.Verification,
		&q.Credential, &q.TokenSession, &q.LinksTo} {
		if !plainText(*s) {
			*s = ""
		}
	}
	if !plainText(string(q.Session)) {
		q.Session = ""
	}
	if q.Account.Provider == "" || q.Account.ProviderAccountID == "" {
		q.Account = AccountKey{}
	}
	if q == (Query{Tx: q.Tx}) {
		return &Found{}, nil
	}
	return a.adapter.Find(ctx, q)
}
