// Package server is `gatebook serve`: the sign-in routes over HTTP, as a
// configuration file says.
package server

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/redis"
	"github.com/gatebook/gatebook/cmd/gatebook/internal/config"
	"github.com/gatebook/gatebook/cmd/gatebook/internal/database"
	"github.com/gatebook/gatebook/mail/httpmail"
	"github.com/gatebook/gatebook/mail/smtp"
	"github.com/gatebook/gatebook/passkey"
	"github.com/gatebook/gatebook/provider/catalog"
	"github.com/gatebook/gatebook/provider/email"
	"github.com/gatebook/gatebook/provider/oauth"
)

// DefaultListen is where a server listens whose file does not say it.
const DefaultListen = "127.0.0.1:3000"

// DrainTime is how long a server that is told to end waits for the requests it
// has, and for what they left to be recorded.
const DrainTime = 20 * time.Second

// Server serves. Make one with [New].
type Server struct {
	log      *slog.Logger
	db       database.Store
	cache    *redis.Cache // nil without one
	auth     *gatebook.Auth
	base     string
	listener net.Listener
	web      *http.Server
	draining atomic.Bool
	unready  atomic.Bool // the last look at the store failed
	closing  sync.Once
}

// New opens the database and listens; ctx may break that off. Run the Server, or
// Close it.
func New(ctx context.Context, cfg *config.Config, log *slog.Logger) (*Server, error) {
	s := &Server{log: log}
	if err := s.open(ctx, cfg); err != nil {
		s.release()
		return nil, err
	}
	return s, nil
}

func (s *Server) open(ctx context.Context, cfg *config.Config) error {
	settings, err := Settings(cfg)
	if err != nil {
		return err
	}
	if s.db, err = database.Open(ctx, cfg.Database); err != nil {
		return err
	}
	settings.Adapter, settings.Logger = s.db, s.log
	if cfg.Redis != "" {
		if s.cache, err = redis.Open(s.db, cfg.Redis, &redis.Options{Logger: s.log}); err != nil {
			return fmt.Errorf("%s: %w", cfg.Path, err)
		}
		settings.Adapter = s.cache
	}
	if s.auth, err = gatebook.New(*settings); err != nil {
		return fmt.Errorf("%s: %w", cfg.Path, err)
	}
	s.base = strings.TrimRight(settings.BasePath, "/")
	listen := cfg.Listen
	if listen == "" {
		listen = DefaultListen
	}
	if s.listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", listen); err != nil {
		return fmt.Errorf("listen on %s: %w", listen, err)
	}
	s.web = &http.Server{
		Handler: s.routes(), ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second,
		WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
		// Cookies that are too long for us get an answer of ours.
		MaxHeaderBytes: 256 << 10,
	}
	return nil
}

// Settings returns what the library is configured with; the adapter, which
// needs the database, is missing. It uses no network.
func Settings(cfg *config.Config) (*gatebook.Config, error) {
	g := &gatebook.Config{
		URL: cfg.URL, BasePath: basePath(cfg), TrustHost: cfg.TrustHost, TrustedProxies: cfg.TrustedProxies,
		TrustedOrigins: cfg.TrustedOrigins, CookieDomain: cfg.CookieDomain, UseSecureCookies: cfg.UseSecureCookies,
		Cookies: cookies(cfg.Cookies), RedirectProxyURL: cfg.RedirectProxyURL, RedirectProxyOrigins: cfg.RedirectProxyOrigins,
		Session: session(cfg.Session), Pages: gatebook.Pages(cfg.Pages), Theme: gatebook.Theme(cfg.Theme),
	}
	for _, secret := range cfg.Secrets {
		g.Secrets = append(g.Secrets, gatebook.Secret(secret))
	}
	for _, p := range cfg.Providers {
		provider, err := provide(p)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: provider %q: %w", cfg.Path, p.Line, p.ID, err)
		}
		g.Providers = append(g.Providers, provider)
	}
	return g, nil
}

func cookies(c config.Cookies) gatebook.Cookies {
	return gatebook.Cookies{
		SessionToken:      gatebook.CookieConfig(c.SessionToken),
		CallbackURL:       gatebook.CookieConfig(c.CallbackURL),
		CSRFToken:         gatebook.CookieConfig(c.CSRFToken),
		State:             gatebook.CookieConfig(c.State),
		PKCECodeVerifier:  gatebook.CookieConfig(c.PKCECodeVerifier),
		Nonce:             gatebook.CookieConfig(c.Nonce),
		WebAuthnChallenge: gatebook.CookieConfig(c.WebAuthnChallenge),
	}
}

func session(s config.Session) gatebook.SessionConfig {
	return gatebook.SessionConfig{Strategy: s.Strategy, MaxAge: s.MaxAge, UpdateAge: s.UpdateAge, TokenMaxAge: s.TokenMaxAge,
		Revocable: s.Revocable}
}

// basePath is the library's rule for Config.BasePath: the server has to know
// where to mount the handler.
func basePath(cfg *config.Config) string {
	if cfg.BasePath != "" {
		return cfg.BasePath
	}
	if u, err := url.Parse(cfg.URL); err == nil && strings.Trim(u.Path, "/") != "" {
		return u.Path
	}
	return "/auth"
}

func newMailer(p config.Provider) (email.Mailer, error) {
	if p.Service == "" {
		return smtp.New(smtp.Config{URL: gatebook.Secret(p.SMTP)})
	}
	return httpmail.New(p.Service, httpmail.Config{Key: gatebook.Secret(p.Key), Domain: p.Domain, Region: p.Region, TransactionalID: p.TransactionalID})
}

func provide(p config.Provider) (gatebook.Provider, error) {
	switch p.Type {
	case "email":
		mailer, err := newMailer(p)
		if err != nil {
			return nil, err
		}
		return email.New(email.Config{ID: p.ID, Name: p.Name, From: p.From, Mailer: mailer, MaxAge: p.MaxAge})
	case "passkey":
		return passkey.New(passkey.Config{ID: p.ID, Name: p.Name, RPID: p.RPID, RPName: p.RPName, Origins: p.Origins,
			SignUp: p.SignUp, SecurityKeys: p.SecurityKeys})
	case "":
		return fromCatalog(p)
	}
	key, err := clientKey(p)
	if err != nil {
		return nil, err
	}
	return oauth.New(oauth.Config{
		ID: p.ID, Name: p.Name, BrandColor: p.BrandColor, Type: p.Type, Issuer: p.Issuer,
		AuthURL: p.AuthorizationURL, TokenURL: p.TokenURL, UserinfoURL: p.UserinfoURL,
		ClientID: p.ClientID, ClientSecret: gatebook.Secret(p.ClientSecret), ClientAuth: oauth.ClientAuth(p.ClientAuth), ClientKey: key,
		Scopes: p.Scopes, LinkByVerifiedEmail: p.LinkByVerifiedEmail,
	})
}

func fromCatalog(p config.Provider) (gatebook.Provider, error) {
	c := catalog.Client{ID: p.ClientID, Secret: gatebook.Secret(p.ClientSecret), Issuer: p.Issuer, Auth: oauth.ClientAuth(p.ClientAuth),
		Scopes: p.Scopes, LinkByVerifiedEmail: p.LinkByVerifiedEmail}
	if p.TeamID != "" {
		c.SecretKey = &catalog.SecretKey{TeamID: p.TeamID, KeyID: p.KeyID, PrivateKey: gatebook.Secret(p.PrivateKey)}
		return catalog.New(p.ID, c)
	}
	var err error
	if c.Key, err = clientKey(p); err != nil {
		return nil, err
	}
	return catalog.New(p.ID, c)
}

// clientKey returns the key with which a client proves who it is, or nil.
func clientKey(p config.Provider) (*oauth.ClientKey, error) {
	if p.PrivateKey == "" {
		return nil, nil
	}
	signer, err := oauth.ParseKey(gatebook.Secret(p.PrivateKey))
	if err != nil {
		return nil, fmt.Errorf("privateKey: %w", err)
	}
	k := &oauth.ClientKey{ID: p.KeyID, Signer: signer}
	if p.Certificate != "" {
		block, _ := pem.Decode([]byte(p.Certificate))
		if block == nil {
			return nil, errors.New("certificate: it is no PEM block")
		}
		if k.Certificate, err = x509.ParseCertificate(block.Bytes); err != nil {
			return nil, fmt.Errorf("certificate: %w", err)
		}
	}
	return k, nil
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", s.ready)
	mux.Handle(s.base+"/", s.auth)
	return mux
}

// readyTime is how long the store may take to answer.
const readyTime = 2 * time.Second

// ready answers whether requests can be served: the store is read.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if s.draining.Load() {
		http.Error(w, "draining", http.StatusServiceUnavailable)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), readyTime)
	defer cancel()
	_, err := s.auth.Book().Head(ctx)
	if err == nil {
		_, err = s.db.Find(ctx, gatebook.Query{UserID: "readyz"})
	}
	if err != nil {
		if !s.unready.Swap(true) {
			s.log.Error("not ready: the store cannot be read", "error", err)
		}
		http.Error(w, "the store cannot be read", http.StatusServiceUnavailable)
		return
	}
	if s.unready.Swap(false) {
		s.log.Info("ready again")
	}
	io.WriteString(w, "ok\n")
}

// Addr returns the address that the Server listens on.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Run serves until ctx ends. Then it takes no more connections, finishes the
// requests it has, numbers what they recorded, and lets go of everything.
func (s *Server) Run(ctx context.Context) error {
	defer s.release()
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	numbered := make(chan error, 1)
	go func() { numbered <- s.auth.Run(running) }()
	failed := make(chan error, 1)
	go func() { failed <- s.web.Serve(s.listener) }()
	s.log.Info("serving", "address", s.Addr(), "base", s.base+"/")

	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
		s.log.Info("ending: finishing the requests that are under way")
	}
	s.draining.Store(true)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), DrainTime)
	defer cancel()
	err = errors.Join(err, s.web.Shutdown(drain))
	stop()
	err = errors.Join(err, <-numbered, s.auth.Close(drain))
	if err == nil {
		s.log.Info("ended")
	}
	return err
}

// Close lets go of everything when the Server was not Run.
func (s *Server) Close() error { s.release(); return nil }

func (s *Server) release() {
	s.closing.Do(func() {
		if s.listener != nil {
			_ = s.listener.Close() // Run has closed it already
		}
		if s.cache != nil {
			if err := s.cache.Close(); err != nil {
				s.log.Error("close the cache", "error", err)
			}
		}
		if s.db != nil {
			if err := s.db.Close(); err != nil {
				s.log.Error("close the database", "error", err)
			}
		}
	})
}
