// Package cli is the command line of gatebook: what `gatebook --help` lists.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/gatebook/gatebook/cmd/gatebook/internal/demo"
)

// commands are the commands and their flags.
type commands struct {
	Demo demoCommand `cmd:"" help:"Start a site, an OpenID provider and a mailbox on this machine, to look at."`
	Site siteCommand `cmd:"" name:"demo-site" hidden:"" help:"The demo's site; started by demo."`
}

// environment is what commands use of the process.
type environment struct {
	ctx    context.Context
	stdout io.Writer
	stderr io.Writer
}

// Main runs the command that the arguments of the process name and returns the
// status to exit with: 0, 1 after an error, and 2 when the arguments are wrong.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	env := &environment{ctx: ctx, stdout: os.Stdout, stderr: os.Stderr}
	var c commands
	exited := -1
	parser, err := kong.New(&c, kong.Name("gatebook"), kong.UsageOnError(),
		kong.Description("Authentication with a book of record."),
		kong.Writers(env.stdout, env.stderr), kong.Exit(func(status int) { exited = status }))
	if err != nil {
		fmt.Fprintln(env.stderr, "gatebook:", err)
		return 1
	}
	chosen, err := parser.Parse(os.Args[1:])
	if exited >= 0 {
		return exited
	}
	if err != nil {
		fmt.Fprintln(env.stderr, "gatebook:", err)
		return 2
	}
	err = chosen.Run(env)
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(env.stderr, "gatebook:", err)
		return 1
	}
	return 0
}

type demoCommand struct {
	Addr    string `default:"127.0.0.1:8080" help:"Where the site listens; port 0 for a free one."`
	IDPAddr string `name:"idp-addr" default:"127.0.0.1:8081" help:"Where the OpenID provider listens."`
	Dir     string `default:"gatebook-demo" help:"Folder for the database, the mails and the log."`
}

func (c *demoCommand) Run(env *environment) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	d, err := demo.New(demo.Config{Addr: c.Addr, ProviderAddr: c.IDPAddr, Dir: c.Dir, Site: []string{self, "demo-site"}})
	if err != nil {
		return err
	}
	return d.Run(env.ctx, func() {
		fmt.Fprintf(env.stdout, "Gatebook demo: %s (its data is in %s; Ctrl-C ends it)\n", d.URL(), shorten(d.Dir()))
	})
}

// shorten returns a path as it is seen from here, if that is shorter.
func shorten(path string) string {
	wd, err := os.Getwd()
	if err != nil {
		return path
	}
	rel, err := filepath.Rel(wd, path)
	if err != nil || len(rel) >= len(path) {
		return path
	}
	return "." + string(filepath.Separator) + rel
}

type siteCommand struct{}

func (siteCommand) Run(env *environment) error { return demo.RunSite(env.ctx) }
