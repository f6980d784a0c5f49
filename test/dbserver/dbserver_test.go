package dbserver_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gatebook/gatebook/test/dbserver"
	"github.com/gatebook/gatebook/test/need"
)

var servers = []struct {
	name  string
	start func(testing.TB) *dbserver.Server
	// write and read keep a value over a restart.
	write, read func(context.Context, *dbserver.Server) error
}{
	{"postgres", need.PostgresServer,
		func(ctx context.Context, s *dbserver.Server) error {
			return postgres(ctx, s, "CREATE TABLE kept AS SELECT 1 AS n")
		},
		func(ctx context.Context, s *dbserver.Server) error { return postgres(ctx, s, "SELECT n FROM kept") }},
	{"mariadb", need.MySQLServer,
		func(ctx context.Context, s *dbserver.Server) error {
			return maria(ctx, s, "CREATE DATABASE kept CHARACTER SET utf8mb4")
		},
		func(ctx context.Context, s *dbserver.Server) error { return maria(ctx, s, "USE kept") }},
	{"redis", need.RedisServer,
		func(ctx context.Context, s *dbserver.Server) error { return redis(ctx, s, "SET kept 1") },
		func(ctx context.Context, s *dbserver.Server) error { return redis(ctx, s, "PING") }},
}

func postgres(ctx context.Context, s *dbserver.Server, query string) error {
	conn, err := pgx.Connect(ctx, s.URL(""))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, query)
	return err
}

func maria(ctx context.Context, s *dbserver.Server, query string) error {
	db, err := sql.Open("mysql", s.URL(""))
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.ExecContext(ctx, query)
	return err
}

func redis(ctx context.Context, s *dbserver.Server, command string) error {
	_, err := dbserver.RedisCommand(ctx, s.URL(""), command)
	return err
}

// TestLife kills, restarts and pauses a server, and closes it.
func TestLife(t *testing.T) {
	for _, k := range servers {
		t.Run(k.name, func(t *testing.T) {
			ctx := t.Context()
			s := k.start(t)
			if err := k.write(ctx, s); err != nil {
				t.Fatal(err)
			}
			s.Kill()
			if err := k.read(ctx, s); err == nil {
				t.Fatal("a killed server answers")
			}
			if err := s.Start(); err != nil {
				t.Fatal(err)
			}
			if err := k.read(ctx, s); err != nil {
				t.Fatalf("after a kill: %v", err)
			}
			s.Stop()
			if err := s.Start(); err != nil {
				t.Fatal(err)
			}
			if err := k.read(ctx, s); err != nil {
				t.Fatalf("after a restart: %v", err)
			}
			s.Pause()
			short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
			defer cancel()
			if err := k.read(short, s); err == nil {
				t.Error("a paused server answers")
			}
			s.Resume()
			if err := k.read(ctx, s); err != nil {
				t.Errorf("after a pause: %v", err)
			}
			s.Close()
			if _, err := os.Stat(s.Dir()); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the folder of a closed server: %v, want none", err)
			}
		})
	}
}

// diesEnv makes this test binary start a server, tell its folder and pid, and
// wait to be killed.
const diesEnv = "GATEBOOK_TEST_DIES"

func TestMain(m *testing.M) {
	if os.Getenv(diesEnv) != "" {
		s, err := dbserver.Redis()
		if err != nil {
			panic(err)
		}
		fmt.Println(s.Dir())
		select {}
	}
	os.Exit(m.Run())
}

// TestKilledStarter kills the process that started a server: the server ends
// and its folder goes.
func TestKilledStarter(t *testing.T) {
	need.Redis(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), diesEnv+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	dir := filepath.Dir(strings.TrimSpace(line))
	if err != nil || dir == "." {
		t.Fatalf("the starter says %q: %v", line, err)
	}
	pid, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		_, folder := os.Stat(dir)
		_, process := os.Stat("/proc/" + string(pid))
		if folder != nil && process != nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("20 s after its starter was killed, the server (%v) or its folder (%v) is there", process, folder)
		}
	}
}
