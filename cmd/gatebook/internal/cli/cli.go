// Package cli is the command line of gatebook: what `gatebook --help` lists.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

// commands are the commands, in the order of the help.
type commands struct {
	Demo    demoCommand    `cmd:"" help:"Start a site, an OpenID provider and a mailbox on this machine, to look at."`
	Init    initCommand    `cmd:"" help:"Write a gatebook.yaml to begin with."`
	Secret  secretCommand  `cmd:"" help:"Print a fresh secret for AUTH_SECRET."`
	Doctor  doctorCommand  `cmd:"" help:"Say what is in force and what is wrong."`
	Migrate migrateCommand `cmd:"" help:"Make the tables of the database, or bring them up to date."`
	Import  importCommand  `cmd:"" help:"Import users with their accounts from a file or a database."`
	Serve   serveCommand   `cmd:"" help:"Serve the sign-in routes."`
	Events  eventsCommand  `cmd:"" help:"Show what is in the book."`
	Session sessionCommand `cmd:"" help:"Sessions for tests."`
	Version versionCommand `cmd:"" help:"Print the version."`
	Site    siteCommand    `cmd:"" name:"demo-site" hidden:"" help:"The demo's site; started by demo."`
}

// environment is what commands use of the process.
type environment struct {
	ctx    context.Context
	stdout *os.File
	stderr *os.File
}

// Main runs the command that the arguments of the process name and returns the
// status to exit with: 0, 1 after an error, and 2 when the arguments are wrong.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the program at once.
	context.AfterFunc(ctx, stop)
	env := &environment{ctx: ctx, stdout: os.Stdout, stderr: os.Stderr}
	args := os.Args[1:]
	if len(args) == 0 {
		args = []string{"--help"}
	}
	var c commands
	exited := -1
	parser, err := kong.New(&c, kong.Name("gatebook"),
		kong.Description("Authentication with a book of record."),
		kong.Writers(env.stdout, env.stderr), kong.Exit(func(status int) { exited = status }))
	if err != nil {
		complain(env.stderr, err.Error())
		return 1
	}
	chosen, err := parser.Parse(args)
	if exited >= 0 {
		return exited
	}
	if err != nil {
		complain(env.stderr, err.Error()+" (gatebook --help lists the commands)")
		return 2
	}
	if err := chosen.Run(env); err != nil {
		report(env.stderr, err)
		return 1
	}
	return 0
}

// report prints an error. Joined ones are a line each.
func report(w io.Writer, err error) {
	if several, ok := errors.AsType[interface {
		error
		Unwrap() []error
	}](err); ok && several.Error() == err.Error() {
		for _, e := range several.Unwrap() {
			report(w, e)
		}
		return
	}
	complain(w, err.Error())
}

// complain prints a line. If that fails nowhere is left to say so.
func complain(w io.Writer, text string) { _, _ = fmt.Fprintln(w, "gatebook:", clean(oneLine(text))) }

// oneLine makes one line of a text of several, as drivers have them.
func oneLine(text string) string {
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' })
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.ReplaceAll(strings.Join(lines, "; "), ":; ", ": ")
}

// terminal reports whether f is a terminal, or another device of its kind.
func terminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// newLogger returns the logger for a program that serves: text for people at a
// terminal, JSON for what collects logs elsewhere.
func newLogger(f *os.File, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if level != "" && l.UnmarshalText([]byte(level)) != nil {
		return nil, fmt.Errorf("the log level %q is none of debug, info, warn, error", level)
	}
	options := &slog.HandlerOptions{Level: l}
	if format == "text" || format == "" && terminal(f) {
		return slog.New(slog.NewTextHandler(f, options)), nil
	}
	return slog.New(slog.NewJSONHandler(f, options)), nil
}
