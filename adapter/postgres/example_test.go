package postgres_test

import (
	"context"
	"database/sql"
	"log"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/postgres"
	"github.com/gatebook/gatebook/adapter/sqlstore"
)

func ExampleOpen() {
	db, err := postgres.Open(context.Background(), os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	auth, err := gatebook.New(gatebook.Config{Adapter: db})
	if err != nil {
		log.Fatal(err)
	}
	_ = auth
}

// The application has a pool already; Gatebook makes its tables there.
func ExampleNew() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	db := postgres.New(pool, sqlstore.Postgres)
	if err := db.Migrate(ctx); err != nil {
		log.Fatal(err)
	}
}

// A user and the application's own row, in the application's own transaction.
func ExampleTx() {
	invite := func(ctx context.Context, auth *gatebook.Auth, pool *pgxpool.Pool, email string) error {
		tx, err := pool.Begin(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback(ctx) }()
		sqlTx, done, err := postgres.Tx(ctx, tx)
		if err != nil {
			return err
		}
		defer done()
		own := auth.InTransaction(sqlTx)
		user, err := own.CreateUser(ctx, gatebook.User{Email: email})
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "INSERT INTO member (user_id) VALUES ($1)", user.ID); err != nil {
			return err
		}
		if err := tx.Commit(ctx); err != nil {
			return err
		}
		own.Committed(ctx)
		return nil
	}
	_ = invite
}

// Rows copied in the commit that makes the user.
func ExampleConn() {
	config := gatebook.Config{InTx: gatebook.InTx{CreateUser: func(ctx context.Context, _ *sql.Tx, e *gatebook.CreateUserEvent) error {
		_, err := postgres.Conn(ctx).CopyFrom(ctx, pgx.Identifier{"page"}, []string{"owner", "title"},
			pgx.CopyFromRows([][]any{{e.User.ID, "Welcome"}, {e.User.ID, "Notes"}}))
		return err
	}}}
	_ = config
}
