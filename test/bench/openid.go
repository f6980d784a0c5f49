//go:build linux

package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/sqlite"
	"github.com/gatebook/gatebook/provider/oauth"
)

const (
	maxCallback  = 1.3
	issuer       = "https://idp.example.com"
	clientID     = "bench"
	clientSecret = "the client's secret"
)

// openID is an OpenID provider in this process. It answers at once: what it has
// to sign it signs before the code is brought to it.
type openID struct {
	signer         jose.Signer
	metadata, keys []byte

	mu      sync.Mutex // guards what follows
	replies map[string][]byte
}

func newOpenID() (*openID, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	p := &openID{replies: map[string][]byte{}}
	if p.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "k1")); err != nil {
		return nil, err
	}
	if p.keys, err = json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k1", Algorithm: "RS256", Use: "sig"}}}); err != nil {
		return nil, err
	}
	p.metadata, err = json.Marshal(map[string]any{
		"issuer": issuer, "authorization_endpoint": issuer + "/authorize", "token_endpoint": issuer + "/token", "jwks_uri": issuer + "/keys",
		"id_token_signing_alg_values_supported": []string{"RS256"},
	})
	return p, err
}

// RoundTrip answers the client.
func (p *openID) RoundTrip(r *http.Request) (*http.Response, error) {
	body := p.metadata
	switch r.URL.Path {
	case "/keys":
		body = p.keys
	case "/token":
		sent, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		form, err := url.ParseQuery(string(sent))
		if err != nil {
			return nil, err
		}
		p.mu.Lock()
		body = p.replies[form.Get("code")]
		delete(p.replies, form.Get("code"))
		p.mu.Unlock()
		if body == nil || form.Get("code_verifier") == "" {
			return nil, errors.New("no such code")
		}
	}
	return &http.Response{StatusCode: http.StatusOK, Status: "200 OK", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, ContentLength: int64(len(body)),
		Body: io.NopCloser(strings.NewReader(string(body))), Request: r}, nil
}

// issue returns a code for the user number i.
func (p *openID) issue(i int, nonce string) (string, error) {
	u := person(i)
	access := string(account(i).AccessToken)
	sum := sha256.Sum256([]byte(access))
	now := time.Now()
	claims, err := json.Marshal(map[string]any{
		"iss": issuer, "aud": clientID, "azp": clientID, "sub": strconv.Itoa(i), "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"nonce": nonce, "at_hash": base64.RawURLEncoding.EncodeToString(sum[:16]),
		"name": u.Name, "given_name": "Person", "family_name": "Example", "email": u.Email, "email_verified": true, "picture": u.Image,
	})
	if err != nil {
		return "", err
	}
	jws, err := p.signer.Sign(claims)
	if err != nil {
		return "", err
	}
	token, err := jws.CompactSerialize()
	if err != nil {
		return "", err
	}
	reply, err := json.Marshal(map[string]any{
		"access_token": access, "token_type": "Bearer", "expires_in": 3600, "scope": "openid profile email", "id_token": token,
	})
	if err != nil {
		return "", err
	}
	code := rand.Text()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.replies[code] = reply
	return code, nil
}

// comeBack begins a sign-in of the user number i at h, goes to the provider, and
// returns the request with which the browser comes back.
func (p *openID) comeBack(h http.Handler, i int) ([]byte, error) {
	b := newBrowser(h)
	b.do(b.request("GET", "/auth/csrf", ""))
	w := b.post("/auth/signin/instant", url.Values{})
	to, err := url.Parse(w.Header().Get("Location"))
	if err != nil || !strings.HasPrefix(to.String(), issuer) {
		return nil, fmt.Errorf("a sign-in begins with %d, Location %q", w.Code, w.Header().Get("Location"))
	}
	code, err := p.issue(i, to.Query().Get("nonce"))
	if err != nil {
		return nil, err
	}
	q := url.Values{"code": {code}, "state": {to.Query().Get("state")}}
	return wire("/auth/callback/instant?"+q.Encode(), b.header()), nil
}

// turn signs in people one after the other and returns the median time of their
// callbacks.
func (p *openID) turn(h http.Handler, v *visitor, acts, users int, next *int) (float64, error) {
	requests := make([][]byte, acts)
	for i := range requests {
		var err error
		if requests[i], err = p.comeBack(h, *next%users); err != nil {
			return 0, err
		}
		*next += 7919
	}
	took := make([]float64, acts)
	for i, request := range requests {
		var err error
		if took[i], err = v.send(request); err != nil {
			return 0, err
		}
	}
	return median(took), nil
}

// callbacks measures all that is done when somebody comes back from an OpenID
// provider: the exchange of the code, the ID token, the look-up, the commit. The
// floor is a handler that calls x/oauth2 and go-oidc and has the same SQL done.
func callbacks(ctx context.Context, r *runner) error {
	for _, s := range []struct{ strategy, name string }{{gatebook.StrategyDatabase, "database"}, {gatebook.StrategyJWT, "token"}} {
		if err := r.callback(ctx, s.strategy, s.name); err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) callback(ctx context.Context, strategy, name string) (err error) {
	op, err := newOpenID()
	if err != nil {
		return err
	}
	provider, err := oauth.New(oauth.Config{ID: "instant", Issuer: issuer, ClientID: clientID, ClientSecret: clientSecret, Client: &http.Client{Transport: op}})
	if err != nil {
		return err
	}
	t := &tap{}
	site, err := r.newGate(ctx, "openid-"+name, strategy, func(a gatebook.Adapter) gatebook.Adapter { t.Adapter = a; return t }, provider)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, site.stop()) }()
	if _, err := op.turn(site.auth, site.visitor, 1, r.users, &site.next); err != nil {
		return err
	}
	plain, err := r.newPlainCallback(ctx, "plain-"+name, op, t.last)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plain.close()) }()
	stop, err := r.startProfile("openid-" + name)
	if err != nil {
		return err
	}
	defer stop()
	figure, floor, err := alternate(r.turns,
		func() (float64, error) {
			v, err := op.turn(site.auth, site.visitor, r.acts, r.users, &site.next)
			return v, errors.Join(err, site.db.Book().Drain(ctx))
		},
		func() (float64, error) {
			v, err := op.turn(plain, plain.visitor, r.acts, r.users, &plain.next)
			return v, errors.Join(err, plain.db.Book().Drain(ctx))
		})
	if err != nil {
		return err
	}
	r.atMost("OpenID callback, "+name+" session", figure, floor, micros, maxCallback,
		"p50 against a handler with x/oauth2, go-oidc and the same SQL; provider in this process, sequencer running")
	return nil
}

// startProfile writes a CPU profile of this process, if asked for, until stop is
// called.
func (r *runner) startProfile(name string) (stop func(), err error) {
	if r.profile == "" {
		return func() {}, nil
	}
	f, err := os.Create(filepath.Join(r.profile, name+".pprof"))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { pprof.StopCPUProfile(); _ = f.Close() }, nil
}

// plainCallback is what somebody would write without us: the same library calls
// and the same rows, and nothing recorded, checked or handled beside.
type plainCallback struct {
	*visitor
	db       *sqlite.DB
	conf     oauth2.Config
	client   *http.Client
	verifier *oidc.IDTokenVerifier
	act      *gatebook.Act // of a sign-in of ours, whose rows it writes
	next     int           // user
	n        int
}

func (r *runner) newPlainCallback(ctx context.Context, name string, op *openID, act *gatebook.Act) (*plainCallback, error) {
	p := &plainCallback{act: act, client: &http.Client{Transport: op}}
	found, err := oidc.NewProvider(oidc.ClientContext(ctx, p.client), issuer)
	if err != nil {
		return nil, err
	}
	p.verifier = found.Verifier(&oidc.Config{ClientID: clientID})
	p.conf = oauth2.Config{ClientID: clientID, ClientSecret: clientSecret, RedirectURL: origin + "/auth/callback/instant",
		Endpoint: found.Endpoint(), Scopes: []string{"openid", "profile", "email"}}
	p.conf.Endpoint.AuthStyle = oauth2.AuthStyleInHeader
	if p.db, err = r.usersFile(ctx, name); err != nil {
		return nil, err
	}
	if p.visitor, err = newVisitor(p); err != nil {
		return nil, errors.Join(err, p.db.Close())
	}
	return p, nil
}

func (p *plainCallback) close() error {
	p.visitor.close()
	return p.db.Close()
}

// ServeHTTP begins a sign-in or completes it; its checks are in cookies as they
// are.
func (p *plainCallback) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/auth/signin/instant":
		state, nonce, verifier := rand.Text(), rand.Text(), oauth2.GenerateVerifier()
		for name, value := range map[string]string{"state": state, "nonce": nonce, "verifier": verifier} {
			http.SetCookie(w, &http.Cookie{Name: name, Value: value, Path: "/", HttpOnly: true, Secure: true})
		}
		http.Redirect(w, r, p.conf.AuthCodeURL(state, oidc.Nonce(nonce), oauth2.S256ChallengeOption(verifier)), http.StatusFound)
	case "/auth/callback/instant":
		session, err := p.callback(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		http.SetCookie(w, &http.Cookie{Name: "session", Value: session, Path: "/", HttpOnly: true, Secure: true, MaxAge: 30 * 86400})
		w.Header().Set("Location", origin)
		w.WriteHeader(http.StatusFound)
	}
}

func (p *plainCallback) callback(r *http.Request) (session string, err error) {
	values := map[string]string{}
	for _, name := range []string{"state", "nonce", "verifier"} {
		c, err := r.Cookie(name)
		if err != nil {
			return "", err
		}
		values[name] = c.Value
	}
	q := r.URL.Query()
	if q.Get("state") != values["state"] {
		return "", errors.New("state is another")
	}
	ctx := oidc.ClientContext(r.Context(), p.client)
	token, err := p.conf.Exchange(ctx, q.Get("code"), oauth2.VerifierOption(values["verifier"]))
	if err != nil {
		return "", err
	}
	raw, _ := token.Extra("id_token").(string)
	id, err := p.verifier.Verify(ctx, raw)
	if err != nil {
		return "", err
	}
	if err := id.VerifyAccessToken(token.AccessToken); err != nil || id.Nonce != values["nonce"] {
		return "", errors.Join(err, errors.New("nonce or at_hash is another"))
	}
	var profile struct {
		Name, Email, Picture string
		EmailVerified        bool `json:"email_verified"`
	}
	if err := id.Claims(&profile); err != nil {
		return "", err
	}
	return p.store(ctx, id.Subject, profile.Email)
}

// store looks the user up and writes the rows of a sign-in.
func (p *plainCallback) store(ctx context.Context, subject, email string) (session string, err error) {
	p.n++
	digest := sha256.Sum256(strconv.AppendInt(nil, int64(p.n), 10))
	found, err := p.db.Find(ctx, gatebook.Query{Account: gatebook.AccountKey{Provider: "instant", ProviderAccountID: subject}, Email: email, Check: digest})
	if err != nil {
		return "", err
	}
	if found.ByAccount == nil || found.CheckUsed {
		return "", errors.New("no such user")
	}
	session = rand.Text()
	act := &gatebook.Act{}
	for _, w := range p.act.Writes {
		switch row := w.(type) {
		case gatebook.UseCheck:
			row.Digest = digest
			w = row
		case gatebook.CreateSession:
			row.Session.Token, row.Session.ID, row.Session.UserID = gatebook.Secret(session), session[:22], found.ByAccount.User.ID
			w = row
		case gatebook.NoteSession:
			row.Session.ID, row.Session.UserID = session[:22], found.ByAccount.User.ID
			w = row
		}
		act.Writes = append(act.Writes, w)
	}
	for i, e := range p.act.Entries {
		e.ID = fmt.Sprintf("01900000-0000-7000-%04x-%012x", 0x8000+i, p.n)
		act.Entries = append(act.Entries, e)
	}
	return session, p.db.Commit(ctx, act)
}
