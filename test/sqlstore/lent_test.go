package sqlstore_test

import (
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/adaptertest"
	"github.com/gatebook/gatebook/adapter/sqlstore"
)

// lent is opts with what only the tests of a layout can do.
func lent(l sqlstore.Layout, opts *adaptertest.Options) *adaptertest.Options {
	var o adaptertest.Options
	if opts != nil {
		o = *opts
	}
	o.Foreign = func(t *testing.T, a gatebook.Adapter, s gatebook.StoredSession) {
		t.Helper()
		foreign(t, a.(adaptertest.SQL).SQL(), l, s)
	}
	o.Account = func(t *testing.T, a gatebook.Adapter, k gatebook.AccountKey) *gatebook.Account {
		t.Helper()
		return stored(t, a.(adaptertest.SQL).SQL(), l, k)
	}
	return &o
}

// name quotes the name of a table or column.
func name(l sqlstore.Layout, s string) string {
	if l.Database() == "mysql" {
		return "`" + s + "`"
	}
	return `"` + s + `"`
}

// foreign inserts a session as another program does.
func foreign(t *testing.T, db *sql.DB, l sqlstore.Layout, s gatebook.StoredSession) {
	t.Helper()
	table := name(l, tables[l.Name()][2])
	token := string(s.Token)
	if !l.Shared() {
		sum := sha256.Sum256([]byte(token))
		token = hex.EncodeToString(sum[:])
	}
	expires := fmt.Sprintf("'%s'", s.Expires.UTC().Format("2006-01-02 15:04:05.000"))
	switch l.Database() {
	case "postgres":
		expires = strings.TrimSuffix(expires, "'") + "+00'"
	case "sqlite":
		expires = fmt.Sprint(s.Expires.UnixMilli())
	}
	columns := []string{"sessionToken", "userId", "expires"}
	values := []string{"'" + token + "'", "'" + s.UserID + "'", expires}
	rows, err := db.QueryContext(t.Context(), "SELECT * FROM "+table+" WHERE 1 = 0")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	has, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	rows.Close()              // the pool may have no other connection
	if l.Name() == "prisma" { // which fills these itself
		for column, value := range map[string]string{"id": "'" + token + "'", "updatedAt": expires} {
			if slices.Contains(has, column) {
				columns, values = append(columns, column), append(values, value)
			}
		}
	}
	for i := range columns {
		columns[i] = name(l, columns[i])
	}
	exec(t, db, "INSERT INTO "+table+" ("+strings.Join(columns, ", ")+") VALUES ("+strings.Join(values, ", ")+")")
}

// stored reads an account with its tokens, nil when there is none.
func stored(t *testing.T, db *sql.DB, l sqlstore.Layout, k gatebook.AccountKey) *gatebook.Account {
	t.Helper()
	var columns []string
	for _, c := range []string{
		"userId", "type", "provider", "providerAccountId", "access_token", "refresh_token", "id_token", "expires_at", "token_type",
		"scope", "session_state",
	} {
		columns = append(columns, name(l, c))
	}
	rows, err := db.QueryContext(t.Context(), "SELECT "+strings.Join(columns, ", ")+" FROM "+name(l, tables[l.Name()][1]))
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var found *gatebook.Account
	for rows.Next() {
		var a gatebook.Account
		var access, refresh, id, kind, scope, state sql.NullString
		var expires sql.NullInt64
		if err := rows.Scan(&a.UserID, &a.Type, &a.Provider, &a.ProviderAccountID, &access, &refresh, &id, &expires, &kind, &scope, &state); err != nil {
			t.Fatal(err)
		}
		if a.Provider != k.Provider || a.ProviderAccountID != k.ProviderAccountID {
			continue
		}
		a.AccessToken, a.RefreshToken, a.IDToken = gatebook.Secret(access.String), gatebook.Secret(refresh.String), gatebook.Secret(id.String)
		a.ExpiresAt, a.TokenType, a.Scope, a.SessionState = expires.Int64, kind.String, scope.String, state.String
		found = &a
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return found
}
