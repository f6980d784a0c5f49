package demo

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/sqlite"
	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/provider/credentials"
	"github.com/gatebook/gatebook/provider/email"
	"github.com/gatebook/gatebook/provider/oauth"
	"github.com/gatebook/gatebook/record"
)

// Ids of the site's providers, which are parts of its routes.
const (
	providerID = "demo"
	emailID    = "email"
	passwordID = "password"
)

// The person who has a password. Their address is none of the provider's
// people, so that each way to sign in begins as a user of its own.
const (
	typistID    = "5f0c7f0e-6d0b-4b59-9a53-1f6f0a0b5c11"
	typistName  = "ada"
	typistWord  = "password" // the demo says so on its page
	typistEmail = "ada@gatebook.example"
)

// RunSite is the process of the site: it serves on the socket it inherited as
// the first file after standard error, as its standard input says, until that
// ends or ctx does.
func RunSite(ctx context.Context) error {
	// The terminal sends an interrupt to both processes; the parent ends this one.
	signal.Ignore(os.Interrupt)
	socket := os.NewFile(3, "listener")
	ln, err := net.FileListener(socket)
	if err != nil {
		return fmt.Errorf("the site is started by `gatebook demo` only: %w", err)
	}
	_ = socket.Close() // the listener has a copy of its own
	input := json.NewDecoder(os.Stdin)
	var first command
	if err := input.Decode(&first); err != nil || first.Start == nil {
		return errors.New("the site is started by `gatebook demo` only")
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("pid", os.Getpid())
	slog.SetDefault(log)
	s, err := newServer(*first.Start, newLine(os.Stdout), log)
	if err != nil {
		return err
	}
	return errors.Join(s.run(ctx, ln, input), s.db.Close())
}

// server is the site.
type server struct {
	start  start
	origin *url.URL
	log    *slog.Logger
	parent *line
	db     *sqlite.DB
	auth   *gatebook.Auth
	mails  mailbox
	trap   *trap
	page   *page
	begun  time.Time
	ending chan struct{} // closed when streams are to end
}

func newServer(in start, parent *line, log *slog.Logger) (*server, error) {
	origin, err := url.Parse(in.URL)
	if err != nil {
		return nil, err
	}
	db, err := sqlite.Open(filepath.Join(in.Dir, "site.db"))
	if err != nil {
		return nil, err
	}
	s := &server{start: in, origin: origin, log: log, parent: parent, db: db,
		mails: mailbox{filepath.Join(in.Dir, mailFolder)}, trap: &trap{parent: parent}, ending: make(chan struct{})}
	if s.auth, err = s.newAuth(); err == nil {
		s.page, err = newPage(in.Issuer)
	}
	if err == nil {
		err = s.seed(context.Background())
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

func (s *server) newAuth() (*gatebook.Auth, error) {
	provider, err := oauth.New(oauth.Config{ID: providerID, Name: "Demo identity provider", Issuer: s.start.Issuer,
		ClientID: s.start.ClientID, ClientSecret: gatebook.Secret(s.start.ClientSecret)})
	if err != nil {
		return nil, err
	}
	links, err := email.New(email.Config{ID: emailID, Name: "E-mail", From: "Gatebook demo <demo@gatebook.example>", Mailer: s.mails})
	if err != nil {
		return nil, err
	}
	passwords, err := credentials.New(credentials.Config{ID: passwordID, Name: "Password", Authorize: s.authorize,
		Fields: []gatebook.Field{{Name: "username", Label: "Name"}, {Name: "password", Label: "Password", Type: "password"}}})
	if err != nil {
		return nil, err
	}
	return gatebook.New(gatebook.Config{
		Secrets:   []gatebook.Secret{gatebook.Secret(s.start.Secret)},
		URL:       s.start.URL,
		Providers: []gatebook.Provider{provider, links, passwords},
		Adapter:   s.db,
		Pages:     gatebook.Pages{SignIn: "/", SignOut: "/", Error: "/", VerifyRequest: "/?sent=yes"},
		Events: gatebook.Events{SignIn: func(ctx context.Context, e *gatebook.SignInEvent) error {
			s.trap.stand(ctx, afterCommit, e.User.Email)
			return nil
		}},
		InTx: gatebook.InTx{SignIn: func(ctx context.Context, _ *sql.Tx, e *gatebook.SignInEvent) error {
			s.trap.stand(ctx, insideCommit, e.User.Email)
			return nil
		}},
		Logger: s.log,
	})
}

// seed makes the person who has a password.
func (s *server) seed(ctx context.Context) error {
	_, err := s.auth.CreateUser(ctx, gatebook.User{ID: typistID, Name: "Ada Lovelace", Email: typistEmail})
	if errors.Is(err, gatebook.ErrConflict) {
		return nil // there since an earlier start
	}
	return err
}

// authorize checks the one password there is. What is wrong is for the book;
// both mistakes take the same time and get the same answer.
func (s *server) authorize(ctx context.Context, typed map[string]string, _ *http.Request) (*gatebook.User, error) {
	known := same(typed["username"], typistName)
	right := same(typed["password"], typistWord)
	found, err := s.db.Find(ctx, gatebook.Query{UserID: typistID})
	if err != nil {
		return nil, err
	}
	switch {
	case known&right == 1 && found.ByID != nil:
		return &found.ByID.User, nil
	case known == 1 && found.ByID != nil:
		return nil, &gatebook.CredentialsError{Reason: record.ReasonBadCredentials, Target: typistEmail}
	}
	return nil, &gatebook.CredentialsError{Reason: record.ReasonUnknownUser}
}

func same(typed, right string) int {
	a, b := sha256.Sum256([]byte(typed)), sha256.Sum256([]byte(right))
	return subtle.ConstantTimeCompare(a[:], b[:])
}

// trap makes an armed sign-in stand still at a moment, where it is then killed.
type trap struct {
	parent *line
	mu     sync.Mutex
	armed  arm // guarded by mu
}

func (t *trap) arm(a arm) { t.mu.Lock(); t.armed = a; t.mu.Unlock() }

// trapTime is how long a sign-in stands still if nobody kills it.
const trapTime = 4 * time.Second

func (t *trap) stand(ctx context.Context, moment, address string) {
	t.mu.Lock()
	armed := t.armed
	t.mu.Unlock()
	if armed.Address == "" || armed.Address != address || armed.Moment != moment {
		return
	}
	if err := t.parent.send(note{Reached: true}); err != nil {
		return
	}
	timer := time.NewTimer(trapTime)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// run serves on ln and carries out commands until they end.
func (s *server) run(ctx context.Context, ln net.Listener, commands *json.Decoder) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	numbered := make(chan error, 1)
	go func() { numbered <- s.auth.Run(ctx) }()

	web := &http.Server{Handler: s.routes(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 256 << 10, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn)}
	web.RegisterOnShutdown(func() { close(s.ending) })
	failed := make(chan error, 1)
	go func() { failed <- web.Serve(ln) }()

	s.begun = time.Now()
	if err := s.parent.send(note{Ready: true}); err != nil {
		return err
	}
	debug.FreeOSMemory() // what starting took is not needed again

	ended := make(chan error, 1)
	go func() { ended <- s.obey(commands) }()
	var err error
	select {
	case err = <-failed:
	case err = <-ended:
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.Background(), stopTime-2*time.Second)
	defer cancel()
	err = errors.Join(err, web.Shutdown(drain))
	stop()
	return errors.Join(err, <-numbered, s.auth.Close(drain))
}

// obey carries out commands until there are no more.
func (s *server) obey(commands *json.Decoder) error {
	for {
		var c command
		err := commands.Decode(&c)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read a command: %w", err)
		}
		if c.Arm != nil {
			s.trap.arm(*c.Arm)
		}
	}
}

// maxForm is the largest body of the site's own forms.
const maxForm = 16 << 10

func (s *server) routes() http.Handler {
	own := http.NewCrossOriginProtection()
	form := func(h http.HandlerFunc) http.Handler {
		return http.MaxBytesHandler(own.Handler(s.auth.Middleware(h)), maxForm)
	}
	mux := http.NewServeMux()
	mux.Handle("/auth/", s.auth)
	mux.Handle("GET /{$}", s.auth.Middleware(http.HandlerFunc(s.home)))
	mux.HandleFunc("GET /mailbox", s.mailboxPage)
	mux.HandleFunc("GET /mailbox/{id}", s.mailPage)
	mux.HandleFunc("GET /mailbox/{id}/html", s.mailHTML)
	mux.HandleFunc("GET /live", s.live)
	mux.Handle("POST /crash", form(s.askCrash))
	mux.Handle("POST /unlink", form(s.unlink))
	mux.Handle("POST /revoke", form(s.revoke))
	mux.Handle("POST /elsewhere", form(s.endElsewhere))
	mux.Handle("POST /delete", form(s.deleteUser))
	mux.HandleFunc("GET /icon.svg", icon)
	return s.atHome(mux)
}

// atHome answers for the site's own host only: a page elsewhere whose name was
// pointed at this machine comes with its own name. Other names of this machine
// are sent to the one that the cookies are for.
func (s *server) atHome(next http.Handler) http.Handler {
	port := s.origin.Port()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		switch strings.ToLower(r.Host) {
		case s.origin.Host:
			next.ServeHTTP(w, r)
		case "127.0.0.1:" + port, "[::1]:" + port:
			http.Redirect(w, r, s.start.URL+r.URL.RequestURI(), http.StatusTemporaryRedirect)
		default:
			http.Error(w, "This is the Gatebook demo. Its address is "+s.start.URL+".", http.StatusMisdirectedRequest)
		}
	})
}

// csrfToken returns the token for a form on a page of our own, as a client gets
// it: from the csrf route, whose cookies are passed on.
func (s *server) csrfToken(w http.ResponseWriter, r *http.Request) (string, error) {
	inner, err := http.NewRequestWithContext(r.Context(), http.MethodGet, "/auth/csrf", nil)
	if err != nil {
		return "", err
	}
	inner.Host, inner.RemoteAddr = r.Host, r.RemoteAddr
	inner.Header["Cookie"] = r.Header["Cookie"]
	rec := &recorder{header: http.Header{}}
	s.auth.ServeHTTP(rec, inner)
	for _, c := range rec.header["Set-Cookie"] {
		w.Header().Add("Set-Cookie", c)
	}
	var out struct{ CSRFToken string }
	if err := json.Unmarshal(rec.body, &out); err != nil {
		return "", fmt.Errorf("the csrf route's answer: %w", err)
	}
	return out.CSRFToken, nil
}

// recorder keeps an answer.
type recorder struct {
	header http.Header
	body   []byte
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(int)             {}
func (r *recorder) Write(b []byte) (int, error) { r.body = append(r.body, b...); return len(b), nil }

// askCrash asks the parent to kill this server in the middle of a sign-in.
func (s *server) askCrash(w http.ResponseWriter, r *http.Request) {
	moment := r.FormValue("moment")
	if moment != insideCommit {
		moment = afterCommit
	}
	if err := s.parent.send(note{Crash: moment}); err != nil {
		s.fail(w, fmt.Errorf("ask for a kill: %w", err))
		return
	}
	w.Header().Set("Connection", "close")
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprintf(w, "{\"pid\":%d}\n", os.Getpid())
		return
	}
	// Without scripts: the next request waits in the socket's queue until a
	// server takes it.
	w.Header().Set("Refresh", "2; url=/#crash")
	s.page.write(w, http.StatusAccepted, "killing", struct{ PID int }{os.Getpid()})
}

// The visitor's own writes go through acts, each with its event.

func (s *server) unlink(w http.ResponseWriter, r *http.Request) {
	s.act(w, r, func(ctx context.Context, u *gatebook.User) error {
		return s.auth.UnlinkAccount(ctx, u.ID, gatebook.AccountKey{Provider: r.FormValue("provider"), ProviderAccountID: r.FormValue("account")})
	})
}

func (s *server) revoke(w http.ResponseWriter, r *http.Request) {
	s.act(w, r, func(ctx context.Context, u *gatebook.User) error {
		_, err := s.auth.RevokeSessions(ctx, u.ID)
		return err
	})
}

// endElsewhere ends one session, or all but the one that asks.
func (s *server) endElsewhere(w http.ResponseWriter, r *http.Request) {
	s.act(w, r, func(ctx context.Context, u *gatebook.User) error {
		if sid := r.FormValue("sid"); sid != "" {
			return s.auth.RevokeSession(ctx, u.ID, sid)
		}
		here, err := s.auth.Session(r)
		if err == nil {
			_, err = s.auth.RevokeOtherSessions(ctx, u.ID, here.ID)
		}
		return err
	})
}

func (s *server) deleteUser(w http.ResponseWriter, r *http.Request) {
	s.act(w, r, func(ctx context.Context, u *gatebook.User) error { return s.auth.DeleteUser(ctx, u.ID) })
}

// lastSignIn is the code of what was not removed because it is the last.
const lastSignIn = "LastSignIn"

func (s *server) act(w http.ResponseWriter, r *http.Request, do func(context.Context, *gatebook.User) error) {
	session, err := s.auth.Session(r)
	if err == nil {
		err = do(r.Context(), &session.User)
	}
	switch {
	case err == nil, errors.Is(err, gatebook.ErrNoSession), errors.Is(err, gatebook.ErrNotFound):
	case errors.Is(err, gatebook.ErrLastSignIn):
		http.Redirect(w, r, "/?error="+lastSignIn, http.StatusSeeOther)
		return
	default:
		s.fail(w, err)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// fail logs what went wrong and answers that something did.
func (s *server) fail(w http.ResponseWriter, err error) {
	s.log.Error("request failed", "error", err)
	http.Error(w, "Something went wrong: see "+filepath.Join(s.start.Dir, "demo.log"), http.StatusInternalServerError)
}

// newest returns the newest n entries before the given one (0: of all), oldest
// first.
func (s *server) newest(ctx context.Context, n int, before int64) ([]book.Entry, error) {
	return s.auth.Book().Read(ctx, book.Query{Limit: n, Before: before, Reverse: true})
}
