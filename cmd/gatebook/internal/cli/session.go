package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/cmd/gatebook/internal/config"
	"github.com/gatebook/gatebook/cmd/gatebook/internal/database"
	"github.com/gatebook/gatebook/cmd/gatebook/internal/server"
)

type sessionCommand struct {
	Mint mintCommand `cmd:"" help:"Print a session of a user, for tests with a browser on this machine."`
}

type mintCommand struct {
	User     string `arg:"" name:"id|address" help:"Id or e-mail address of the user, who must exist."`
	As       string `enum:"cookie,header,playwright" default:"cookie" help:"cookie (NAME=VALUE, for curl --cookie), header (Authorization: Bearer, for curl --header), or playwright (a storageState file)."`
	Config   string `default:"gatebook.yaml" env:"GATEBOOK_CONFIG" help:"Configuration file."`
	Database string `name:"db" env:"GATEBOOK_DATABASE" placeholder:"FILE|URL" help:"SQLite file, or address of a database, above the file's."`
}

// Help is shown below the flags.
func (*mintCommand) Help() string {
	return "The session is as good as one after a sign-in, and is recorded as one: signIn, source app, provider mint. " +
		"It is refused unless the configured url is an address of this machine, such as http://localhost:3000."
}

// mintBudget is how long the store may take.
const mintBudget = 15 * time.Second

// Run begins a session and prints it.
func (c *mintCommand) Run(env *environment) error {
	cfg, err := config.Load(c.Config, os.LookupEnv)
	if err != nil {
		return err
	}
	if err := loopbackOnly(cfg); err != nil {
		return err
	}
	if c.Database != "" {
		cfg.Database.URL = c.Database
	}
	if cfg.Database.URL == "" {
		cfg.Database.URL = config.DefaultDatabase
	}
	ctx, cancel := context.WithTimeout(env.ctx, mintBudget)
	defer cancel()
	cookies, err := mint(ctx, cfg, c.User)
	if err != nil {
		return err
	}
	text, err := show(cookies, cfg.URL, c.As)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(env.stdout, text)
	return err
}

// loopbackOnly refuses what is not a site on this machine. It guards against the
// wrong file: who has a site's secret and database needs no command.
func loopbackOnly(cfg *config.Config) error {
	u, err := url.Parse(cfg.URL)
	if cfg.URL == "" || err != nil {
		return fmt.Errorf("%s: url is not set: a session is minted for a site on this machine, so say at which address, such as http://localhost:3000", cfg.Path)
	}
	host := strings.ToLower(u.Hostname())
	ip, err := netip.ParseAddr(host)
	if host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("%s: the site is %s, and sessions are minted for sites on this machine only (localhost, 127.0.0.1, [::1]): sign in there, or use a configuration for tests",
		cfg.Path, host)
}

// mint begins a session of the user who has this id or address.
func mint(ctx context.Context, cfg *config.Config, user string) (cookies []*http.Cookie, err error) {
	settings, err := server.Settings(cfg)
	if err != nil {
		return nil, err
	}
	db, err := database.Existing(cfg.Database)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	settings.Adapter, settings.Logger = db, slog.New(slog.DiscardHandler)
	auth, err := gatebook.New(*settings)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cfg.Path, err)
	}
	q := gatebook.Query{UserID: user}
	if strings.Contains(user, "@") {
		q = gatebook.Query{Email: strings.ToLower(user)}
	}
	found, err := db.Find(ctx, q)
	if err != nil {
		return nil, err
	}
	who := found.ByID
	if who == nil {
		who = found.ByEmail
	}
	if who == nil {
		return nil, fmt.Errorf("%s has no user %q: sign in once, or let the application create them", cfg.Database.Name(), user)
	}
	// The entry is committed with the session; the server numbers it. Closing
	// auth would do that here, and wait for whoever has the lease.
	return auth.BeginSession(ctx, who.User.ID, "mint")
}

// show writes the cookies of a session in one of the forms.
func show(cookies []*http.Cookie, site, as string) (string, error) {
	var pairs, values []string
	for _, c := range cookies {
		pairs = append(pairs, c.Name+"="+c.Value)
		values = append(values, c.Value)
	}
	switch as {
	case "header":
		return "Authorization: Bearer " + strings.Join(values, ""), nil
	case "playwright":
		return storageState(cookies, site)
	}
	return strings.Join(pairs, "; "), nil
}

// storageState is the form that Playwright's browserContext.storageState has.
func storageState(cookies []*http.Cookie, site string) (string, error) {
	type cookie struct {
		Name     string `json:"name"`
		Value    string `json:"value"`
		Domain   string `json:"domain"`
		Path     string `json:"path"`
		Expires  int64  `json:"expires"` // seconds since 1970
		HTTPOnly bool   `json:"httpOnly"`
		Secure   bool   `json:"secure"`
		SameSite string `json:"sameSite"`
	}
	state := struct {
		Cookies []cookie `json:"cookies"`
		Origins []string `json:"origins"`
	}{Origins: []string{}}
	u, err := url.Parse(site)
	if err != nil {
		return "", err
	}
	sameSite := map[http.SameSite]string{http.SameSiteStrictMode: "Strict", http.SameSiteNoneMode: "None"}
	for _, c := range cookies {
		p := cookie{c.Name, c.Value, c.Domain, c.Path, c.Expires.Unix(), c.HttpOnly, c.Secure, sameSite[c.SameSite]}
		if p.Domain == "" {
			p.Domain = u.Hostname()
		}
		if p.SameSite == "" {
			p.SameSite = "Lax"
		}
		state.Cookies = append(state.Cookies, p)
	}
	b, err := json.MarshalIndent(state, "", "  ")
	return string(b), err
}
