package cli

import (
	"crypto/rand"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
)

type secretCommand struct{}

// Run prints a secret: 32 random bytes in base64url.
func (secretCommand) Run(env *environment) error {
	var b [32]byte
	rand.Read(b[:])
	_, err := fmt.Fprintln(env.stdout, base64.RawURLEncoding.EncodeToString(b[:]))
	return err
}

type initCommand struct {
	Path string `arg:"" optional:"" default:"gatebook.yaml" help:"File to write."`
}

//go:embed gatebook.yaml
var template string

// Run writes the file, for its owner alone: people put secrets into it.
func (c *initCommand) Run(env *environment) error {
	f, err := os.OpenFile(c.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s exists already and is left as it is", c.Path)
	}
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, template)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(env.stdout, "%s is written. Edit it, then: gatebook doctor --config %s\n", c.Path, c.Path)
	return err
}

type versionCommand struct{}

// Run prints the version of the program and of Go.
func (versionCommand) Run(env *environment) error {
	version, revision := "(devel)", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		version = info.Main.Version
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = " " + s.Value[:min(len(s.Value), 12)]
			}
		}
	}
	_, err := fmt.Fprintf(env.stdout, "gatebook %s%s %s %s/%s\n", version, revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
