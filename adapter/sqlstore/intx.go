package sqlstore

import (
	"context"
	"database/sql"
)

type txKey struct{}

// Tx returns the transaction of the act in whose InTx handler ctx is, nil
// elsewhere. It is the one that the handler is given, for what has only a
// context, such as postgres.Conn.
func Tx(ctx context.Context) *sql.Tx {
	tx, _ := ctx.Value(txKey{}).(*sql.Tx)
	return tx
}
