package postgres

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/gatebook/gatebook/adapter/sqlstore"
)

// Conn returns the connection on which the transaction of an act runs, in a
// handler of gatebook.Config.InTx with the handler's context: for what is written
// for pgx, such as CopyFrom or the code of sqlc. What it does is committed and
// rolled back with the act. It must not begin or end a transaction, but for a
// savepoint, and must not be kept.
//
// Elsewhere, and where the transaction is of another driver, it panics: that is a
// mistake in the program that no input brings about.
func Conn(ctx context.Context) *pgx.Conn {
	tx := sqlstore.Tx(ctx)
	if tx == nil {
		panic("postgres: Conn: the context is not that of an InTx handler")
	}
	var catch catcher
	_, err := tx.ExecContext(ctx, "", &catch)
	if catch.conn == nil {
		panic(fmt.Sprintf("postgres: Conn: the transaction is not on a connection of pgx: %v", err))
	}
	return catch.conn
}

// catcher is a first argument to which pgx shows its connection before it sends
// a statement, and which then stops it: the way to the connection from a *sql.Tx.
// Nothing is sent.
type catcher struct{ conn *pgx.Conn }

var errCaught = errors.New("postgres: nothing to send")

// RewriteQuery implements [pgx.QueryRewriter].
func (c *catcher) RewriteQuery(_ context.Context, conn *pgx.Conn, _ string, _ []any) (string, []any, error) {
	c.conn = conn
	return "", nil, errCaught
}

// refusing is a connector that does not connect.
type refusing struct {
	driver.Connector
	why error
}

// Connect implements [driver.Connector].
func (r refusing) Connect(context.Context) (driver.Conn, error) { return nil, r.why }
