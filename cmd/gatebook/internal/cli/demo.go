package cli

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/gatebook/gatebook/cmd/gatebook/internal/demo"
)

type demoCommand struct {
	Addr    string `default:"127.0.0.1:8080" help:"Where the site listens; port 0 for a free one."`
	IDPAddr string `name:"idp-addr" default:"127.0.0.1:8081" help:"Where the OpenID provider listens."`
	Dir     string `default:"gatebook-demo" type:"path" help:"Folder for the database, the mails and the log."`
}

// Help is shown below the flags.
func (*demoCommand) Help() string {
	return "Nothing is reached from outside this machine, and nothing leaves it. Delete the folder to begin anew."
}

// Run starts the demo and prints one line when it is ready.
func (c *demoCommand) Run(env *environment) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	d, err := demo.New(demo.Config{Addr: c.Addr, ProviderAddr: c.IDPAddr, Dir: c.Dir, Site: []string{self, "demo-site"}})
	if err != nil {
		return err
	}
	return d.Run(env.ctx, func() error {
		_, err := fmt.Fprintf(env.stdout, "Gatebook demo: %s (its data is in %s; Ctrl-C ends it)\n", d.URL(), shorten(d.Dir()))
		return err
	})
}

// shorten returns a path as it is seen from here, if it is below.
func shorten(path string) string {
	wd, err := os.Getwd()
	if err != nil {
		return path
	}
	rel, err := filepath.Rel(wd, path)
	if err != nil || !filepath.IsLocal(rel) {
		return path
	}
	return "." + string(filepath.Separator) + rel
}

type siteCommand struct{}

// Run is the demo's site.
func (siteCommand) Run(env *environment) error { return demo.RunSite(env.ctx) }
