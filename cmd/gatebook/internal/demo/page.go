package demo

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gatebook/gatebook"
)

//go:embed web/page.html
var pageHTML string

//go:embed web/style.css
var styleCSS string

//go:embed web/live.js
var liveJS string

//go:embed web/icon.svg
var iconSVG []byte

// page renders the site's pages. Style and script are in the page itself, and
// the policy names their digests: nothing else can be added or loaded.
type page struct {
	templates *template.Template
	policy    string
}

func newPage(issuer string) (*page, error) {
	t, err := template.New("").Funcs(template.FuncMap{
		"style":  func() template.CSS { return template.CSS(styleCSS) }, //nolint:gosec // G203: our own file
		"script": func() template.JS { return template.JS(liveJS) },     //nolint:gosec // G203: our own file
		"linked": linked,
		"bar":    func(mails int, back bool) barView { return barView{mails, back} },
	}).Parse(pageHTML)
	if err != nil {
		return nil, err
	}
	return &page{templates: t, policy: strings.Join([]string{
		"default-src 'none'",
		"style-src '" + digest(styleCSS) + "'",
		"script-src '" + digest(liveJS) + "'",
		"img-src 'self' " + issuer,
		"connect-src 'self'",
		"frame-src 'self'",             // a mail's HTML
		"form-action 'self' " + issuer, // a form of ours leads to the provider
		"base-uri 'none'",
		"frame-ancestors 'none'",
	}, "; ")}, nil
}

// barView is the top of every page.
type barView struct {
	Mails int
	Back  bool // to the site
}

// digest is a source expression of Content Security Policy Level 3, Section 2.3.1.
func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// render returns a template's output; only a mistake in it can make it fail.
func (p *page) render(name string, data any) []byte {
	var b bytes.Buffer
	if err := p.templates.ExecuteTemplate(&b, name, data); err != nil {
		panic(fmt.Sprintf("demo: template %s: %v", name, err))
	}
	return b.Bytes()
}

func (p *page) write(w http.ResponseWriter, status int, name string, data any) {
	body := p.render(name, data)
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", p.policy)
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(body)
}

// linked splits a text at its addresses, for html/template to escape and link.
func linked(text string) []struct{ Text, Link string } {
	var parts []struct{ Text, Link string }
	for {
		at := linkForm.FindStringIndex(text)
		if at == nil {
			return append(parts, struct{ Text, Link string }{Text: text})
		}
		parts = append(parts, struct{ Text, Link string }{text[:at[0]], text[at[0]:at[1]]})
		text = text[at[1]:]
	}
}

func icon(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "image/svg+xml")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	w.Header().Set("Cache-Control", "max-age=3600")
	w.Write(iconSVG)
}

// homeView is the page with the two panes.
type homeView struct {
	CSRF       string
	IssuerHost string
	Dir        string
	Mails      int
	Notice     string // what the visitor is told
	Sent       bool   // a magic link was sent
	Visitor    *visitorView
	State      audit
	Crash      *crashView
	Acts       []actView
	Cursor     string // of the newest entry
	Seq        int64
	Older      int64 // the number before which more entries can be asked for, or 0
	Earlier    bool  // the page shows older entries only
	Inside     bool  // the moment that is offered for the next kill
	Password   struct{ Name, Password string }
}

// visitorView is who is signed in.
type visitorView struct {
	Name, Email, Image, Initial string
	With                        string // the provider of this session
	Since, Expires              string
	SID                         string
	Verified                    bool
	Accounts                    []accountView
	LinkedDemo                  bool
	Elsewhere                   []deviceView
}

type accountView struct{ Provider, Account, Name string }

// deviceView is another session of the visitor.
type deviceView struct{ SID, Browser, Since string }

// shown is how many entries a page has.
const shown = 40

func (s *server) home(w http.ResponseWriter, r *http.Request) {
	v, err := s.homeView(w, r)
	if err != nil {
		s.fail(w, err)
		return
	}
	s.page.write(w, http.StatusOK, "home", v)
}

func (s *server) homeView(w http.ResponseWriter, r *http.Request) (*homeView, error) {
	ctx := r.Context()
	v := &homeView{IssuerHost: strings.TrimPrefix(s.start.Issuer, "http://"), Dir: s.start.Dir, Sent: r.URL.Query().Get("sent") != "", Notice: notice(r)}
	v.Password.Name, v.Password.Password = typistName, typistWord
	var err error
	if v.CSRF, err = s.csrfToken(w, r); err != nil {
		return nil, err
	}
	ids, err := s.mails.ids()
	if err != nil {
		return nil, err
	}
	v.Mails = len(ids)
	session, err := s.auth.Session(r)
	switch {
	case err == nil:
		if v.Visitor, err = s.visitorView(ctx, session); err != nil {
			return nil, err
		}
	case !errors.Is(err, gatebook.ErrNoSession):
		return nil, err
	}
	before, _ := strconv.ParseInt(r.URL.Query().Get("before"), 10, 64)
	v.Earlier = before > 0
	entries, err := s.newest(ctx, shown, before)
	if err != nil {
		return nil, err
	}
	if len(entries) > 0 {
		v.Cursor, v.Seq = entries[0].Cursor().String(), entries[0].Seq
		if last := entries[len(entries)-1].Seq; last > 1 {
			v.Older = last
		}
	} else {
		v.Cursor = "0-0000000000000000"
	}
	v.Acts = acts(entries)
	if len(v.Acts) > 0 {
		newest := v.Acts[0].Entries
		newest[len(newest)-1].Open = true
	}
	if v.State, err = newAuditor(s.db).check(ctx); err != nil {
		return nil, err
	}
	if c := s.start.Crash; c != nil {
		cv := s.crashView(ctx, v.State)
		v.Crash = &cv
		v.Inside = c.Moment == afterCommit // offer the other one next
	}
	return v, nil
}

func (s *server) visitorView(ctx context.Context, session *gatebook.Session) (*visitorView, error) {
	u := session.User
	v := &visitorView{Name: u.Name, Email: u.Email, SID: session.ID, Verified: !u.EmailVerified.IsZero(),
		Expires: session.Expires.Local().Format("2 January 2006"), Initial: "?"}
	if strings.HasPrefix(u.Image, s.start.Issuer+"/") {
		v.Image = u.Image
	}
	if v.Name == "" {
		v.Name, v.Email = u.Email, ""
	}
	for _, c := range v.Name {
		v.Initial = strings.ToUpper(string(c))
		break
	}
	if st := session.Stored; st != nil {
		v.With, v.Since = providerName(st.Provider), st.Begun.Local().Format(time.TimeOnly)
	}
	accounts, err := s.auth.Accounts(ctx, u.ID)
	if err != nil {
		return nil, err
	}
	for _, a := range accounts {
		v.Accounts = append(v.Accounts, accountView{a.Provider, a.ProviderAccountID, providerName(a.Provider)})
		v.LinkedDemo = v.LinkedDemo || a.Provider == providerID
	}
	sessions, err := s.auth.Sessions(ctx, u.ID)
	if err != nil {
		return nil, err
	}
	for _, o := range sessions {
		if o.ID != session.ID {
			v.Elsewhere = append(v.Elsewhere, deviceView{o.ID, browserName(o.UserAgent), o.Begun.Local().Format(time.TimeOnly)})
		}
	}
	return v, nil
}

// browserName is what a person calls the browser with this User-Agent: the names
// that others claim to be come last.
func browserName(agent string) string {
	for _, b := range [][2]string{{"Edg/", "Edge"}, {"OPR/", "Opera"}, {"Firefox/", "Firefox"}, {"Chrome/", "Chrome"},
		{"Safari/", "Safari"}, {"curl/", "curl"}} {
		if strings.Contains(agent, b[0]) {
			return b[1]
		}
	}
	return "another program"
}

func providerName(id string) string {
	switch id {
	case providerID:
		return "Demo identity provider"
	case emailID:
		return "a magic link"
	case passwordID:
		return "a password"
	}
	return id
}

// notice is what a visitor is told of an attempt that failed: as much as Auth.js
// tells, which is less than the book knows.
func notice(r *http.Request) string {
	switch r.URL.Query().Get("error") {
	case "":
		return ""
	case "CredentialsSignin":
		return "Sign in failed. Check the details you provided are correct."
	case "OAuthAccountNotLinked":
		return "To confirm your identity, sign in with the same account you used originally."
	case "OAuthCallbackError":
		return "The sign-in was cancelled. Try again, or another way."
	case "AccessDenied":
		return "You do not have permission to sign in."
	case "Verification":
		return "This link no longer works. It may have been used already, or it is too old."
	case lastSignIn:
		return "That is your last way to sign in. Link another first."
	case "MissingCSRF":
		return "That form was too old. Try again."
	case "Configuration":
		return "The server could not do that. Try again, or another way."
	}
	return "Sign in failed. Try again, or another way."
}

func (s *server) mailboxPage(w http.ResponseWriter, r *http.Request) {
	mails, err := s.mails.list(maxMails)
	if err != nil {
		s.fail(w, err)
		return
	}
	s.page.write(w, http.StatusOK, "mailbox", mails)
}

func (s *server) mailPage(w http.ResponseWriter, r *http.Request) {
	if m := s.mail(w, r); m != nil {
		s.page.write(w, http.StatusOK, "mail", m)
	}
}

// mail returns the mail that a request names, or nil after it has answered.
func (s *server) mail(w http.ResponseWriter, r *http.Request) *mail {
	m, err := s.mails.get(r.PathValue("id"))
	switch {
	case errors.Is(err, errNoMail):
		http.NotFound(w, r)
	case err != nil:
		s.fail(w, err)
	}
	return m
}

// mailPolicy lets a mail do what mail programs let it: be looked at, and lead
// somewhere when a person clicks. It holds also where the mail is opened alone.
const mailPolicy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; " +
	"frame-ancestors 'self'; sandbox allow-top-navigation-by-user-activation"

// mailHTML shows a mail as mail programs do, for the frame of its page.
func (s *server) mailHTML(w http.ResponseWriter, r *http.Request) {
	m := s.mail(w, r)
	if m == nil {
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", mailPolicy)
	h.Set("Cache-Control", "no-store")
	// Links lead out of the frame.
	io.WriteString(w, strings.Replace(m.HTML, "<head>", `<head><base target="_top">`, 1))
}

// Ago is how long ago the mail came, in words.
func (m *mail) Ago() string {
	switch d := time.Since(m.At); {
	case d < time.Minute:
		return "just now"
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 24*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	}
	return m.At.Local().Format("2 January 2006")
}
