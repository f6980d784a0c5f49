// Package crash_test kills servers in the middle of sign-ins and looks at what
// is left.
package crash_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/mysql"
	"github.com/gatebook/gatebook/adapter/postgres"
	"github.com/gatebook/gatebook/adapter/sqlite"
)

// serverEnv makes this test binary a server: its value is the address of the
// database. strategyEnv and dieEnv say how it behaves.
const (
	serverEnv   = "GATEBOOK_CRASH_SERVER"
	strategyEnv = "GATEBOOK_CRASH_STRATEGY"
	// dieEnv names where the server kills itself: "jwt", between the two
	// commits of a token sign-in.
	dieEnv = "GATEBOOK_CRASH_DIE"

	secret = "a secret of more than thirty-two characters"
)

func TestMain(m *testing.M) {
	if address := os.Getenv(serverEnv); address != "" {
		if err := serve(address); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// provider proves that a visitor is whoever the code says. What is tested is
// what happens to that afterwards.
type provider struct{}

func (provider) Info() gatebook.ProviderInfo {
	return gatebook.ProviderInfo{ID: "idp", Name: "IdP", Type: gatebook.TypeOIDC}
}

func (provider) Begin(_ context.Context, b *gatebook.Begin) (*gatebook.Redirection, error) {
	return &gatebook.Redirection{URL: "https://idp.example/?" + b.State, CodeVerifier: "verifier", Nonce: "nonce"}, nil
}

func (provider) Complete(_ context.Context, c *gatebook.Complete) (*gatebook.Proof, error) {
	id := c.Params["code"]
	return &gatebook.Proof{User: gatebook.User{Name: id, Email: id + "@example.com"},
		Account:       gatebook.Account{Type: gatebook.TypeOIDC, Provider: "idp", ProviderAccountID: id, AccessToken: "token"},
		EmailVerified: true}, nil
}

func (provider) Checks() []string  { return []string{"state", "pkce", "nonce"} }
func (provider) FormPost() bool    { return false }
func (provider) LinkByEmail() bool { return false }

// store is the adapter on any of the databases.
type store interface {
	gatebook.Adapter
	SQL() *sql.DB
	Close() error
}

// open opens a database by its address: the folder of a SQLite file, a URL of
// PostgreSQL, or a data source name of MariaDB.
func open(address string) (store, error) {
	ctx := context.Background()
	switch database(address) {
	case "postgres":
		return postgres.Open(ctx, address)
	case "mysql":
		return mysql.Open(ctx, address)
	default:
		return sqlite.Open(filepath.Join(address, "site.db"))
	}
}

func database(address string) string {
	switch {
	case strings.HasPrefix(address, "postgres://"):
		return "postgres"
	case strings.Contains(address, "@tcp("):
		return "mysql"
	default:
		return "sqlite"
	}
}

func config(db store, strategy string) gatebook.Config {
	return gatebook.Config{Secrets: []gatebook.Secret{secret}, URL: "http://localhost", Adapter: db,
		Providers: []gatebook.Provider{provider{}}, Session: gatebook.SessionConfig{Strategy: strategy}}
}

// serve serves until it is killed or told to end. It prints its address
// and its process id.
func serve(address string) error {
	db, err := open(address)
	if err != nil {
		return err
	}
	defer db.Close()
	cfg := config(db, os.Getenv(strategyEnv))
	cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	if os.Getenv(dieEnv) == "jwt" {
		cfg.Callbacks.JWT = func(_ context.Context, p *gatebook.JWTParams) (*gatebook.Claims, error) {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // the signal is on its way
		}
	}
	auth, err := gatebook.New(cfg)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: auth}
	go func() { <-ctx.Done(); srv.Close() }()
	ran := make(chan error, 1)
	go func() { ran <- auth.Run(ctx) }()
	fmt.Println(ln.Addr(), os.Getpid())
	srv.Serve(ln)
	if err := <-ran; err != nil {
		return err
	}
	return auth.Close(context.Background())
}
