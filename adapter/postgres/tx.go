package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// Tx returns a *sql.Tx that works inside tx, the application's own transaction,
// for gatebook.Auth.InTransaction:
//
//	sqlTx, done, err := postgres.Tx(ctx, tx)
//	if err != nil {
//		return err
//	}
//	defer done()
//	own := auth.InTransaction(sqlTx)
//
// Committing or rolling back the *sql.Tx does nothing: tx is committed by whoever
// began it, after done, which the caller calls when the *sql.Tx has served. It is
// over as well when ctx ends. Like tx, it is for one goroutine at a time.
func Tx(ctx context.Context, tx pgx.Tx) (sqlTx *sql.Tx, done func(), err error) {
	if tx == nil {
		return nil, nil, errors.New("postgres: Tx: the transaction is nil")
	}
	if simple(tx.Conn().Config()) {
		return nil, nil, errSimple
	}
	db := sql.OpenDB(txConnector{tx})
	sqlTx, err = db.BeginTx(ctx, nil)
	if err != nil {
		_ = db.Close()
		return nil, nil, fmt.Errorf("postgres: Tx: %w", err)
	}
	return sqlTx, func() {
		_ = sqlTx.Rollback()
		_ = db.Close()
	}, nil
}

// txConnector gives database/sql one connection, which is a transaction.
type txConnector struct{ tx pgx.Tx }

// Connect implements [driver.Connector].
func (c txConnector) Connect(context.Context) (driver.Conn, error) { return &txConn{c.tx}, nil }

// Driver implements [driver.Connector].
func (c txConnector) Driver() driver.Driver { return txDriver{} }

// txDriver has nothing to open.
type txDriver struct{}

// Open implements [driver.Driver].
func (txDriver) Open(string) (driver.Conn, error) { return nil, errors.ErrUnsupported }

// txConn is a transaction of pgx as a connection of database/sql. It is its own
// transaction too: what it begins and ends is not there.
type txConn struct{ tx pgx.Tx }

var (
	_ driver.ConnBeginTx       = (*txConn)(nil)
	_ driver.ExecerContext     = (*txConn)(nil)
	_ driver.QueryerContext    = (*txConn)(nil)
	_ driver.NamedValueChecker = (*txConn)(nil)
)

// BeginTx implements [driver.ConnBeginTx].
func (c *txConn) BeginTx(context.Context, driver.TxOptions) (driver.Tx, error) { return c, nil }

// Begin implements [driver.Conn].
func (c *txConn) Begin() (driver.Tx, error) { return c, nil }

// Commit implements [driver.Tx]; it does nothing.
func (c *txConn) Commit() error { return nil }

// Rollback implements [driver.Tx]; it does nothing.
func (c *txConn) Rollback() error { return nil }

// Close implements [driver.Conn]; the connection is the application's.
func (c *txConn) Close() error { return nil }

// CheckNamedValue implements [driver.NamedValueChecker]: pgx knows all types.
func (c *txConn) CheckNamedValue(*driver.NamedValue) error { return nil }

// Prepare implements [driver.Conn]. pgx prepares by itself.
func (c *txConn) Prepare(query string) (driver.Stmt, error) { return txStmt{c, query}, nil }

// ExecContext implements [driver.ExecerContext].
func (c *txConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	tag, err := c.tx.Exec(ctx, query, values(args)...)
	if err != nil {
		return nil, err
	}
	return driver.RowsAffected(tag.RowsAffected()), nil
}

// QueryContext implements [driver.QueryerContext].
func (c *txConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := c.tx.Query(ctx, query, append([]any{binary}, values(args)...)...)
	if err != nil {
		return nil, err
	}
	// The columns are known only with the first row.
	first := rows.Next()
	if err := rows.Err(); err != nil {
		rows.Close()
		return nil, err
	}
	return &txRows{Rows: rows, types: c.tx.Conn().TypeMap(), ahead: true, more: first}, nil
}

func values(args []driver.NamedValue) []any {
	out := make([]any, len(args))
	for i, a := range args {
		out[i] = a.Value
	}
	return out
}

// txStmt is a statement that is sent as it is each time.
type txStmt struct {
	conn  *txConn
	query string
}

var (
	_ driver.StmtExecContext   = txStmt{}
	_ driver.StmtQueryContext  = txStmt{}
	_ driver.NamedValueChecker = txStmt{}
)

// Close implements [driver.Stmt].
func (s txStmt) Close() error { return nil }

// NumInput implements [driver.Stmt]: the server counts.
func (s txStmt) NumInput() int { return -1 }

// CheckNamedValue implements [driver.NamedValueChecker].
func (s txStmt) CheckNamedValue(*driver.NamedValue) error { return nil }

// Exec implements [driver.Stmt]; database/sql calls ExecContext.
func (s txStmt) Exec([]driver.Value) (driver.Result, error) { return nil, errors.ErrUnsupported }

// Query implements [driver.Stmt]; database/sql calls QueryContext.
func (s txStmt) Query([]driver.Value) (driver.Rows, error) { return nil, errors.ErrUnsupported }

// ExecContext implements [driver.StmtExecContext].
func (s txStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return s.conn.ExecContext(ctx, s.query, args)
}

// QueryContext implements [driver.StmtQueryContext].
func (s txStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.conn.QueryContext(ctx, s.query, args)
}

// binary are the types that database/sql has values for; all others come as
// text, as through pgx's own database/sql driver.
var binary = pgx.QueryResultFormatsByOID{
	pgtype.BoolOID: pgx.BinaryFormatCode, pgtype.ByteaOID: pgx.BinaryFormatCode,
	pgtype.Int2OID: pgx.BinaryFormatCode, pgtype.Int4OID: pgx.BinaryFormatCode, pgtype.Int8OID: pgx.BinaryFormatCode,
	pgtype.Float4OID: pgx.BinaryFormatCode, pgtype.Float8OID: pgx.BinaryFormatCode,
	pgtype.OIDOID: pgx.BinaryFormatCode, pgtype.XIDOID: pgx.BinaryFormatCode, pgtype.CIDOID: pgx.BinaryFormatCode,
	pgtype.DateOID: pgx.BinaryFormatCode, pgtype.TimestampOID: pgx.BinaryFormatCode, pgtype.TimestamptzOID: pgx.BinaryFormatCode,
}

// txRows are rows of pgx as rows of database/sql.
type txRows struct {
	pgx.Rows
	types       *pgtype.Map
	ahead, more bool // the next row is there already; more tells whether there is one
}

// Columns implements [driver.Rows].
func (r *txRows) Columns() []string {
	fields := r.FieldDescriptions()
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Name
	}
	return names
}

// Close implements [driver.Rows].
func (r *txRows) Close() error {
	r.Rows.Close()
	return r.Err()
}

// Next implements [driver.Rows].
func (r *txRows) Next(dest []driver.Value) error {
	if !r.ahead {
		r.more = r.Rows.Next()
	}
	r.ahead = false
	if !r.more {
		if err := r.Err(); err != nil {
			return err
		}
		return io.EOF
	}
	fields := r.FieldDescriptions()
	for i, raw := range r.RawValues() {
		var err error
		if dest[i], err = value(r.types, fields[i], raw); err != nil {
			return fmt.Errorf("column %q: %w", fields[i].Name, err)
		}
	}
	return nil
}

// value returns what database/sql has for a value of a column.
func value(m *pgtype.Map, f pgconn.FieldDescription, raw []byte) (driver.Value, error) {
	if raw == nil {
		return nil, nil
	}
	switch f.DataTypeOID {
	case pgtype.BoolOID:
		return scan[bool](m, f, raw)
	case pgtype.ByteaOID:
		return scan[[]byte](m, f, raw)
	case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID:
		return scan[int64](m, f, raw)
	case pgtype.Float4OID, pgtype.Float8OID:
		return scan[float64](m, f, raw)
	case pgtype.OIDOID, pgtype.XIDOID, pgtype.CIDOID:
		return valuer[pgtype.Uint32](m, f, raw)
	case pgtype.DateOID:
		return valuer[pgtype.Date](m, f, raw)
	case pgtype.TimestampOID:
		return valuer[pgtype.Timestamp](m, f, raw)
	case pgtype.TimestamptzOID:
		return valuer[pgtype.Timestamptz](m, f, raw)
	default:
		return string(raw), nil // asked for as text
	}
}

func scan[T any](m *pgtype.Map, f pgconn.FieldDescription, raw []byte) (driver.Value, error) {
	var v T
	err := m.Scan(f.DataTypeOID, f.Format, raw, &v)
	return v, err
}

// valuer is scan for types that may hold what time.Time cannot, such as
// infinity, and say themselves how database/sql has it.
func valuer[T driver.Valuer](m *pgtype.Map, f pgconn.FieldDescription, raw []byte) (driver.Value, error) {
	var v T
	if err := m.Scan(f.DataTypeOID, f.Format, raw, &v); err != nil {
		return nil, err
	}
	return v.Value()
}
