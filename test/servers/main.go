// Command servers runs a command beside database servers started for it:
//
//	servers go test ./test/...
//
// The command finds them in GATEBOOK_TEST_POSTGRES, GATEBOOK_TEST_MYSQL and
// GATEBOOK_TEST_REDIS (package test/need). What one of those names already is
// not started. They are stopped, and their folders removed, when the command
// has ended, and also when this program is interrupted or killed. It exits as the
// command does.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/gatebook/gatebook/test/dbserver"
	"github.com/gatebook/gatebook/test/need"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: servers COMMAND [ARGUMENT]...")
		os.Exit(2)
	}
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "servers:", err)
		os.Exit(1)
	}
	os.Exit(code)
}

// run starts what is not named yet, runs the command and stops it again.
func run(args []string) (code int, err error) {
	// An interrupt from the terminal reaches the command too; when it has ended
	// we end.
	stop := make(chan os.Signal, 8)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	var started []*dbserver.Server
	defer func() {
		for _, s := range started {
			s.Close()
		}
	}()
	for _, s := range []struct {
		env   string
		start func() (*dbserver.Server, error)
	}{
		{need.PostgresEnv, dbserver.Postgres},
		{need.MySQLEnv, dbserver.MySQL},
		{need.RedisEnv, dbserver.Redis},
	} {
		if os.Getenv(s.env) != "" {
			continue
		}
		server, err := s.start()
		if errors.Is(err, dbserver.ErrMissing) {
			err = os.Setenv(s.env, "missing: "+err.Error())
		} else if err == nil {
			started = append(started, server)
			err = os.Setenv(s.env, server.URL(""))
		}
		if err != nil {
			return 0, err
		}
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case sig := <-stop:
			if sig != os.Interrupt {
				_ = cmd.Process.Signal(sig)
			}
		case err := <-ended:
			if exit := new(exec.ExitError); errors.As(err, &exit) {
				return max(exit.ExitCode(), 1), nil
			}
			return 0, err
		}
	}
}
