// Command postgres-chi is a site with a router of chi on PostgreSQL, whose people
// sign in at an OpenID provider. Each gets a workspace in the very commit that
// makes them, and may invite others to it.
//
//	DATABASE_URL=postgres://... AUTH_SECRET=... AUTH_URL=http://localhost:3000 \
//	AUTH_ACME_ISSUER=https://id.acme.example AUTH_ACME_ID=... AUTH_ACME_SECRET=... LISTEN=localhost:3000 postgres-chi
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/postgres"
	"github.com/gatebook/gatebook/adapter/sqlstore"
	"github.com/gatebook/gatebook/provider/oauth"
)

const tables = `
CREATE TABLE IF NOT EXISTS workspace (id bigserial PRIMARY KEY, owner text NOT NULL UNIQUE REFERENCES "user" ON DELETE CASCADE, name text NOT NULL);
CREATE TABLE IF NOT EXISTS page (workspace bigint NOT NULL REFERENCES workspace ON DELETE CASCADE, title text NOT NULL);
CREATE TABLE IF NOT EXISTS member (workspace bigint NOT NULL REFERENCES workspace ON DELETE CASCADE, user_id text NOT NULL REFERENCES "user" ON DELETE CASCADE)`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Getenv("LISTEN")); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, listen string) error {
	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer pool.Close()

	db := postgres.New(pool, sqlstore.Postgres)
	if err := db.Migrate(ctx); err != nil {
		return err
	}
	if _, err := pool.Exec(ctx, tables); err != nil {
		return err
	}

	// AUTH_ACME_ISSUER, AUTH_ACME_ID and AUTH_ACME_SECRET come from the environment.
	acme, err := oauth.New(oauth.Config{ID: "acme", Name: "Acme"})
	if err != nil {
		return err
	}
	auth, err := gatebook.New(gatebook.Config{ // and so do AUTH_SECRET and AUTH_URL
		Adapter:   db,
		Providers: []gatebook.Provider{acme},
		Session:   gatebook.SessionConfig{Strategy: gatebook.StrategyDatabase},
		InTx:      gatebook.InTx{CreateUser: furnish},
	})
	if err != nil {
		return err
	}

	s := &site{auth: auth, pool: pool}
	r := chi.NewRouter()
	r.Use(auth.Middleware)
	r.Handle(auth.BasePath()+"/*", auth)
	r.Get("/", s.home)
	r.With(auth.Require, http.NewCrossOriginProtection().Handler).Post("/invite", s.invite)

	running := make(chan error, 1)
	go func() { running <- auth.Run(ctx) }()
	server := &http.Server{Addr: listen, Handler: r, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return errors.Join(<-running, auth.Close(context.Background()))
}

// furnish gives a new user a workspace, in the commit that makes the user: there
// is never one without the other.
func furnish(ctx context.Context, tx *sql.Tx, e *gatebook.CreateUserEvent) error {
	var workspace int64
	err := tx.QueryRowContext(ctx, "INSERT INTO workspace (owner, name) VALUES ($1, $2) RETURNING id",
		e.User.ID, "Workspace of "+e.User.Email).Scan(&workspace)
	if err != nil {
		return err
	}
	// What database/sql has no words for goes to the connection below.
	_, err = postgres.Conn(ctx).CopyFrom(ctx, pgx.Identifier{"page"}, []string{"workspace", "title"},
		pgx.CopyFromRows([][]any{{workspace, "Welcome"}, {workspace, "Notes"}}))
	return err
}

type site struct {
	auth *gatebook.Auth
	pool *pgxpool.Pool
}

// invite makes a user and a member of the inviter's workspace in a transaction
// of the application's own.
func (s *site) invite(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	session, err := s.auth.Session(r)
	if err != nil { // cannot be behind Require
		http.Error(w, "nobody is signed in", http.StatusUnauthorized)
		return
	}
	err = s.inviteTo(ctx, session.User.ID, r.FormValue("email"))
	switch {
	case errors.Is(err, gatebook.ErrConflict):
		http.Error(w, "this address is a user's already", http.StatusConflict)
	case err != nil:
		log.Printf("invite: %v", err)
		http.Error(w, "this cannot be done at the moment", http.StatusServiceUnavailable)
	default:
		w.WriteHeader(http.StatusCreated)
	}
}

func (s *site) inviteTo(ctx context.Context, owner, email string) error {
	tx, err := s.pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(ctx) }() // after the commit it does nothing
	sqlTx, done, err := postgres.Tx(ctx, tx)
	if err != nil {
		return err
	}
	defer done()
	own := s.auth.InTransaction(sqlTx)
	user, err := own.CreateUser(ctx, gatebook.User{Email: email})
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "INSERT INTO member SELECT id, $2 FROM workspace WHERE owner = $1", owner, user.ID); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return err
	}
	own.Committed(ctx) // handlers of events are told, now that it is so
	return nil
}

func (s *site) home(w http.ResponseWriter, r *http.Request) {
	session, err := s.auth.Session(r)
	switch {
	case errors.Is(err, gatebook.ErrNoSession):
		fmt.Fprintf(w, "nobody is signed in: %s/signin", s.auth.BasePath())
		return
	case err != nil:
		http.Error(w, "sessions cannot be read at the moment", http.StatusServiceUnavailable)
		return
	}
	var name string
	var pages int
	err = s.pool.QueryRow(r.Context(), `SELECT w.name, count(*) FROM workspace w JOIN page p ON p.workspace = w.id WHERE w.owner = $1 GROUP BY w.name`,
		session.User.ID).Scan(&name, &pages)
	if err != nil {
		log.Printf("read workspace: %v", err)
		http.Error(w, "the workspace cannot be read at the moment", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintf(w, "%s, %d pages", name, pages)
}
