package need

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"

	"github.com/gatebook/gatebook/test/dbserver"
)

// The environment variables by which the command test/servers, or a person,
// names database servers: a URL or data source name of a user who may make
// databases, or "missing: " and the reason. Without one, the first test of a
// process that asks starts a server, which the other tests of that process
// share and which ends with it.
const (
	PostgresEnv = "GATEBOOK_TEST_POSTGRES" // postgres://user:password@host:port/postgres
	MySQLEnv    = "GATEBOOK_TEST_MYSQL"    // user:password@tcp(host:port)/
	RedisEnv    = "GATEBOOK_TEST_REDIS"    // redis://:password@host:port
)

// timeout is how long making or dropping a database may take.
const timeout = time.Minute

// shared starts the servers that a process has without the variables.
var shared = struct {
	postgres, mysql, redis func() (*dbserver.Server, error)
}{
	sync.OnceValues(dbserver.Postgres), sync.OnceValues(dbserver.MySQL), sync.OnceValues(dbserver.Redis),
}

// Postgres returns the URL of a fresh PostgreSQL database, whose user may do
// everything, or skips or fails t. It is dropped when t ends, with the
// connections to it.
func Postgres(t testing.TB) string {
	t.Helper()
	server := address(t, PostgresEnv, shared.postgres)
	name := databaseName()
	postgresExec(t, t.Context(), server, `CREATE DATABASE "`+name+`"`)
	t.Cleanup(func() {
		postgresExec(t, context.Background(), server, `DROP DATABASE IF EXISTS "`+name+`" WITH (FORCE)`)
	})
	u, err := url.Parse(server)
	if err != nil {
		t.Fatalf("%s is no URL", PostgresEnv)
	}
	u.Path = "/" + name
	return u.String()
}

func postgresExec(t testing.TB, ctx context.Context, server, statement string) { //nolint:revive // t comes first in helpers of tests
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		t.Fatalf("connect to PostgreSQL: %v", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// MySQL returns the data source name (go-sql-driver/mysql, without options that
// matter) of a fresh MariaDB database, whose user may do everything, or skips or
// fails t. It is dropped when t ends.
func MySQL(t testing.TB) string {
	t.Helper()
	server := address(t, MySQLEnv, shared.mysql)
	name := databaseName()
	mysqlExec(t, t.Context(), server, "CREATE DATABASE `"+name+"`")
	t.Cleanup(func() { mysqlExec(t, context.Background(), server, "DROP DATABASE IF EXISTS `"+name+"`") })
	c, err := mysql.ParseDSN(server)
	if err != nil {
		t.Fatalf("%s is no data source name", MySQLEnv)
	}
	c.DBName = name
	return c.FormatDSN()
}

func mysqlExec(t testing.TB, ctx context.Context, server, statement string) { //nolint:revive // t comes first in helpers of tests
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	db, err := sql.Open("mysql", server)
	if err != nil {
		t.Fatalf("%s is no data source name", MySQLEnv)
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// Redis returns the URL of an empty Redis database with a number of its own, or
// skips or fails t. It is emptied when t ends. What works on the whole server,
// such as FLUSHALL, needs [RedisServer].
func Redis(t testing.TB) string {
	t.Helper()
	server := strings.TrimSuffix(address(t, RedisEnv, shared.redis), "/")
	// Database 0 counts the numbers given away; after the last begins the first.
	n, err := strconv.Atoi(redisCommand(t, server+"/0", "INCR gatebook:need"))
	if err != nil {
		t.Fatalf("INCR: %v", err)
	}
	own := fmt.Sprintf("%s/%d", server, 1+n%(redisDatabases(t, server)-1))
	redisCommand(t, own, "FLUSHDB")
	t.Cleanup(func() { redisCommand(t, own, "FLUSHDB") })
	return own
}

// redisDatabases tells how many databases a server has: ours, or the usual 16
// of one that was named.
func redisDatabases(t testing.TB, server string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if _, err := dbserver.RedisCommand(ctx, server+"/"+strconv.Itoa(dbserver.RedisDatabases-1), "PING"); err != nil {
		return 16
	}
	return dbserver.RedisDatabases
}

func redisCommand(t testing.TB, address, command string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	answer, err := dbserver.RedisCommand(ctx, address, command)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// PostgresServer starts a PostgreSQL server of t's own, which t may kill,
// restart, stop or fill, or skips or fails t. It ends with t.
func PostgresServer(t testing.TB) *dbserver.Server {
	t.Helper()
	return ownServer(t, dbserver.Postgres)
}

// MySQLServer is [PostgresServer] for MariaDB. It has no database yet.
func MySQLServer(t testing.TB) *dbserver.Server { t.Helper(); return ownServer(t, dbserver.MySQL) }

// SmallMySQLServer is [MySQLServer] with room for 40 MB.
func SmallMySQLServer(t testing.TB) *dbserver.Server {
	t.Helper()
	return ownServer(t, dbserver.SmallMySQL)
}

// RedisServer is [PostgresServer] for Redis.
func RedisServer(t testing.TB) *dbserver.Server { t.Helper(); return ownServer(t, dbserver.Redis) }

func ownServer(t testing.TB, start func() (*dbserver.Server, error)) *dbserver.Server {
	t.Helper()
	s, err := start()
	if err != nil {
		notStarted(t, err)
		return nil
	}
	t.Cleanup(s.Close)
	return s
}

// address returns the address in the variable env or that of the server that
// start starts.
func address(t testing.TB, env string, start func() (*dbserver.Server, error)) string {
	t.Helper()
	value := os.Getenv(env)
	if why, ok := strings.CutPrefix(value, "missing: "); ok {
		without(t, why)
	}
	if value != "" {
		return value
	}
	s, err := start()
	if err != nil {
		notStarted(t, err)
		return ""
	}
	return s.URL("")
}

// notStarted skips t where a server is not installed. One that is there and does
// not start is a failure.
func notStarted(t testing.TB, err error) {
	t.Helper()
	if !errors.Is(err, dbserver.ErrMissing) {
		t.Fatal(err)
	}
	without(t, err.Error())
}

func databaseName() string { return "gatebook_" + strings.ToLower(rand.Text()) }
