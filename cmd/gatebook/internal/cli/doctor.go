package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/memory"
	"github.com/gatebook/gatebook/adapter/sqlite"
	"github.com/gatebook/gatebook/cmd/gatebook/internal/config"
	"github.com/gatebook/gatebook/cmd/gatebook/internal/outside"
	"github.com/gatebook/gatebook/cmd/gatebook/internal/server"
	"github.com/gatebook/gatebook/provider/catalog"
)

type doctorCommand struct {
	Config  string        `default:"gatebook.yaml" env:"GATEBOOK_CONFIG" help:"Configuration file."`
	Timeout time.Duration `default:"5s" help:"How long a provider, mail server or site may take to answer."`

	FromOutside string `placeholder:"URL" help:"Look at the running site at this address as its visitors do, and compare it with the configuration."`
}

// Help is shown below the flags.
func (*doctorCommand) Help() string {
	return "It changes nothing. The status is 1 when something is wrong; what is only unwise does not count.\n\n" +
		"--from-outside asks the site over the network, as often as a visitor who looks around, and signs nobody in. " +
		"It can be run from anywhere: without a configuration it says what anybody can see."
}

var errWrong = errors.New("something is wrong: see above")

// Run looks at everything and says what it found.
func (c *doctorCommand) Run(env *environment) error {
	d := &diagnosis{w: env.stdout}
	if c.FromOutside != "" {
		c.lookFromOutside(env.ctx, d)
	} else {
		c.examine(env.ctx, d)
	}
	if d.wrong {
		return errors.Join(errWrong, d.err)
	}
	return d.err
}

// diagnosis prints findings.
type diagnosis struct {
	w     io.Writer
	wrong bool
	err   error // of writing
}

func (d *diagnosis) line(mark, subject, format string, args ...any) {
	_, err := fmt.Fprintf(d.w, "%-5s  %-12s  %s\n", mark, clean(subject), clean(oneLine(fmt.Sprintf(format, args...))))
	d.err = errors.Join(d.err, err)
}

// OK notes what is as it should be.
func (d *diagnosis) OK(subject, format string, args ...any) { d.line("ok", subject, format, args...) }

// Warn notes what is unwise.
func (d *diagnosis) Warn(subject, format string, args ...any) {
	d.line("warn", subject, format, args...)
}

// Fault notes what is wrong.
func (d *diagnosis) Fault(subject, format string, args ...any) {
	d.wrong = true
	d.line("WRONG", subject, format, args...)
}

func (c *doctorCommand) examine(ctx context.Context, d *diagnosis) {
	cfg, err := config.Load(c.Config, os.LookupEnv)
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			d.Fault("config", "%s", strings.TrimSpace(line))
		}
		return
	}
	d.OK("config", "%s", c.Config)
	if info, err := os.Stat(c.Config); err == nil && cfg.Literal && info.Mode().Perm()&0o077 != 0 {
		d.Warn("config", "it holds secrets and others can read it (%s): chmod 600 %s", info.Mode().Perm(), c.Config)
	}
	examineSecrets(d, cfg)
	examineURL(d, cfg)
	settings, err := server.Settings(cfg)
	if err != nil {
		d.Fault("providers", "%v", err)
	}
	c.examineDatabase(ctx, d, cfg.Database, cfg.Redis)
	if settings != nil {
		examineSettings(d, settings)
		c.examineProviders(ctx, d, cfg, settings)
	}
	if w := sqlite.DriverWarning(); w != "" {
		d.Warn("driver", "%s", w)
	}
}

// lookFromOutside compares the running site with the configuration, where there
// is one.
func (c *doctorCommand) lookFromOutside(ctx context.Context, d *diagnosis) {
	site := outside.Site{URL: c.FromOutside, Timeout: c.Timeout}
	cfg, err := config.Load(c.Config, os.LookupEnv)
	switch {
	case errors.Is(err, os.ErrNotExist):
		d.Warn("config", "there is no %s here to compare with", c.Config)
	case err != nil:
		for line := range strings.Lines(err.Error()) {
			d.Fault("config", "%s", strings.TrimSpace(line))
		}
		return
	default:
		settings, err := server.Settings(cfg)
		if err != nil {
			d.Fault("providers", "%v", err)
			return
		}
		site.Want = wanted(settings)
	}
	outside.Look(ctx, d, site)
}

// wanted is what visitors should see.
func wanted(g *gatebook.Config) *outside.Want {
	w := &outside.Want{URL: g.URL, BasePath: g.BasePath, CSRFCookie: g.Cookies.CSRFToken.Name, CallbackCookie: g.Cookies.CallbackURL.Name,
		SecureCookies: g.UseSecureCookies, TrustedOrigins: g.TrustedOrigins}
	for _, p := range g.Providers {
		w.Providers = append(w.Providers, p.Info().ID)
	}
	return w
}

func examineSecrets(d *diagnosis, cfg *config.Config) {
	for i, s := range cfg.Secrets {
		if len(s) < 32 {
			d.Fault("secret", "secret %d of %d has %d characters: use at least 32 random ones, `gatebook secret` makes them", i+1, len(cfg.Secrets), len(s))
			continue
		}
		d.OK("secret", "secret %d of %d has %d characters", i+1, len(cfg.Secrets), len(s))
	}
}

func examineURL(d *diagnosis, cfg *config.Config) {
	if cfg.URL == "" {
		if cfg.TrustHost {
			d.Warn("url", "not set, and trustHost is: whoever chooses the Host header chooses where magic links point")
			return
		}
		d.Warn("url", "not set: only requests to this machine itself are served")
		return
	}
	u, err := url.Parse(cfg.URL)
	if err != nil {
		d.Fault("url", "%v", err)
		return
	}
	local := u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback()
	if u.Scheme == "http" && !local {
		d.Fault("url", "%s is not https: cookies and links can be read on the way", cfg.URL)
		return
	}
	d.OK("url", "%s", cfg.URL)
}

// examineSettings lets the library check what is its own.
func examineSettings(d *diagnosis, settings *gatebook.Config) {
	s := *settings
	s.Adapter = memory.New() // nothing is asked of it
	if _, err := gatebook.New(s); err != nil {
		d.Fault("settings", "%v", err)
		return
	}
	strategy := s.Session.Strategy
	if strategy == "" {
		strategy = gatebook.StrategyDatabase
	}
	var ids []string
	for _, p := range s.Providers {
		ids = append(ids, p.Info().ID)
	}
	d.OK("settings", "%s sessions; ways to sign in: %s", strategy, strings.Join(ids, ", "))
	examineOrigins(d, settings)
}

// examineOrigins says who else has a part in the site.
func examineOrigins(d *diagnosis, g *gatebook.Config) {
	if len(g.TrustedOrigins) > 0 {
		d.OK("origins", "scripts of %s may act for whoever is signed in", strings.Join(g.TrustedOrigins, ", "))
	}
	if g.CookieDomain != "" {
		d.OK("cookies", "every host in %s has the session", strings.TrimPrefix(g.CookieDomain, "."))
	}
	switch {
	case g.RedirectProxyURL == "":
	case len(g.RedirectProxyOrigins) > 0:
		d.OK("proxy", "visitors are sent on to %s", strings.Join(g.RedirectProxyOrigins, ", "))
	default:
		d.OK("proxy", "providers send visitors to %s", g.RedirectProxyURL)
	}
}

// examineProviders asks each provider for what a sign-in asks first, and looks
// whether the mail servers answer.
func (c *doctorCommand) examineProviders(ctx context.Context, d *diagnosis, cfg *config.Config, settings *gatebook.Config) {
	for i, p := range settings.Providers {
		id := p.Info().ID
		ctx, cancel := context.WithTimeout(ctx, c.Timeout)
		switch p := p.(type) {
		case gatebook.RedirectProvider:
			to, err := p.Begin(ctx, &gatebook.Begin{RedirectURI: "https://doctor.invalid/callback", State: "doctor"})
			if err != nil {
				d.Fault(id, "%s", explain(err))
				break
			}
			at := to.URL
			if u, err := url.Parse(to.URL); err == nil {
				at = u.Scheme + "://" + u.Host + u.Path
			}
			d.OK(id, "sign-ins begin at %s", at)
			examineRedirectURI(d, settings, cfg.Providers[i])
		case gatebook.EmailProvider:
			if service := cfg.Providers[i].Service; service != "" {
				d.OK(id, "mails are sent through %s, which is not asked here", service)
				break
			}
			c.examineMail(ctx, d, id, cfg.Providers[i].SMTP)
		}
		cancel()
	}
}

// examineRedirectURI says what has to be registered at a provider.
func examineRedirectURI(d *diagnosis, g *gatebook.Config, p config.Provider) {
	base := g.RedirectProxyURL
	if u, err := url.Parse(g.URL); base == "" && err == nil && u.Host != "" {
		base = u.Scheme + "://" + u.Host + "/" + strings.Trim(g.BasePath, "/")
	}
	if base == "" {
		return // it depends on the request
	}
	uri := strings.TrimRight(base, "/") + "/callback/" + p.ID
	if p.Type == "" && catalog.HTTPSOnly(p.ID) && strings.HasPrefix(uri, "http://") {
		d.Warn(p.ID, "it takes no redirect URI that is http, such as %s", uri)
		return
	}
	d.OK(p.ID, "its redirect URI to register is %s", uri)
}

// explain tells an error with its cause, which a provider's own text leaves to
// the reader.
func explain(err error) string {
	text := err.Error()
	if pe, ok := errors.AsType[*gatebook.ProviderError](err); ok && pe.Err != nil {
		text += ": " + pe.Err.Error()
	}
	return text
}

func (c *doctorCommand) examineMail(ctx context.Context, d *diagnosis, id, smtp string) {
	u, err := url.Parse(smtp)
	if err != nil {
		return // the provider was made, so the library can read it
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"smtp": "587", "smtps": "465"}[u.Scheme]
	}
	at := net.JoinHostPort(u.Hostname(), port)
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", at)
	if err != nil {
		d.Fault(id, "the mail server does not answer: %v", err)
		return
	}
	_ = conn.Close() // nothing was sent
	d.OK(id, "the mail server %s answers", at)
}
