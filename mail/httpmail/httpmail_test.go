package httpmail_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/mail/httpmail"
	"github.com/gatebook/gatebook/provider/email"
)

// config is a complete configuration of a service at url.
func config(id, url string) httpmail.Config {
	c := httpmail.Config{Key: key, URL: url}
	if id == "loops" {
		c.TransactionalID = "clfn0k1yg001imo0fdeqg30i8"
	}
	return c
}

func newMailer(t *testing.T, id string, c httpmail.Config) *httpmail.Mailer {
	t.Helper()
	m, err := httpmail.New(id, c)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func message() *email.Message {
	return &email.Message{From: "Acme <login@acme.example>", To: "ada@example.com", Subject: "Sign in to acme.example — now",
		Text: "text secret-link", HTML: "<b>html</b> & secret-link", Link: "https://acme.example/?token=secret-link"}
}

func each(t *testing.T, fn func(t *testing.T, id string)) {
	t.Helper()
	ids := httpmail.IDs()
	if len(ids) != len(emulators) || !slices.IsSorted(ids) {
		t.Fatalf("IDs() = %q, and %d are emulated", ids, len(emulators))
	}
	for _, id := range ids {
		t.Run(id, func(t *testing.T) { fn(t, id) })
	}
}

// TestSend: each service takes our mail whole.
func TestSend(t *testing.T) {
	each(t, func(t *testing.T, id string) {
		t.Helper()
		e := newEmulator(t, id)
		m := newMailer(t, id, config(id, e.URL))
		msg := message()
		if err := m.Send(t.Context(), msg); err != nil {
			t.Fatal(err)
		}
		want := got{from: msg.From, to: msg.To, subject: msg.Subject, text: msg.Text, html: msg.HTML, untracked: true}
		if id == "loops" {
			want = got{to: msg.To, link: string(msg.Link), untracked: true}
		}
		if id == "sendgrid" {
			want.from = `"Acme" <login@acme.example>`
		}
		if len(e.mails) != 1 || e.mails[0] != want {
			t.Errorf("mails %+v, want %+v", e.mails, want)
		}
	})
}

// TestFromAProvider: the link that package provider/email makes arrives.
func TestFromAProvider(t *testing.T) {
	each(t, func(t *testing.T, id string) {
		t.Helper()
		e := newEmulator(t, id)
		p, err := email.New(email.Config{From: "login@acme.example", Mailer: newMailer(t, id, config(id, e.URL))})
		if err != nil {
			t.Fatal(err)
		}
		link := &gatebook.MagicLink{Address: "ada@example.com", Host: "acme.example", URL: "https://acme.example/auth/callback/email?token=secret-link"}
		if err := p.Send(t.Context(), link); err != nil {
			t.Fatal(err)
		}
		if m := e.mails[0]; !strings.Contains(m.text+m.link, string(link.URL)) {
			t.Errorf("mail %+v", m)
		}
	})
}

// TestRefused: what a service refuses is an error that names its codes, and
// nothing of what the service repeats.
func TestRefused(t *testing.T) {
	each(t, func(t *testing.T, id string) {
		t.Helper()
		e := newEmulator(t, id)
		s := e.service
		wrong := config(id, e.URL)
		wrong.Key = "wrong-" + key
		for _, tt := range []struct {
			name   string
			mailer *httpmail.Mailer
			to     string
			status int
			code   string
		}{
			{"key", newMailer(t, id, wrong), "ada@example.com", s.unauthorizedStatus, s.unauthorizedCode},
			{"recipient", newMailer(t, id, config(id, e.URL)), "ada@refused.example", s.invalidStatus, s.invalidCode},
		} {
			msg := message()
			msg.To = tt.to
			err := tt.mailer.Send(t.Context(), msg)
			var me *httpmail.Error
			if !errors.As(err, &me) || me.Status != tt.status || me.Code != tt.code || me.Err != nil || me.Temporary() {
				t.Errorf("%s: %#v, want %d %q", tt.name, err, tt.status, tt.code)
				continue
			}
			checkText(t, err, tt.code)
		}
		if len(e.mails) != 0 {
			t.Errorf("mails %+v", e.mails)
		}
	})
}

// checkText fails when an error says what it must not.
func checkText(t *testing.T, err error, says ...string) {
	t.Helper()
	for _, secret := range []string{key, "secret-link", "refused.example", "ada@"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error says %q: %v", secret, err)
		}
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("the error does not say %q: %v", s, err)
		}
	}
}

// TestAnswers: whatever is at the other end, there is an error and no more.
func TestAnswers(t *testing.T) {
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	t.Cleanup(other.Close)
	for name, tt := range map[string]struct {
		serve     http.HandlerFunc
		status    int
		temporary bool
		code      string
	}{
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		}, 307, false, ""},
		"busy":      {answer(429, `{"name":"rate_limit_exceeded"}`), 429, true, "rate_limit_exceeded"},
		"down":      {answer(503, `<html>secret-link</html>`), 503, true, ""},
		"code text": {answer(400, `{"name":"to ada@refused.example secret-link"}`), 400, false, ""},
		"long code": {answer(400, `{"name":"`+strings.Repeat("x", 65)+`"}`), 400, false, ""},
		"no object": {answer(400, `["name"]`), 400, false, ""},
		"null":      {answer(400, `{"name":null}`), 400, false, ""},
		"endless":   {endless, 400, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(tt.serve)
			t.Cleanup(s.Close)
			err := newMailer(t, "resend", config("resend", s.URL)).Send(t.Context(), message())
			var me *httpmail.Error
			if !errors.As(err, &me) || me.Status != tt.status || me.Code != tt.code || me.Temporary() != tt.temporary || me.Service != "Resend" {
				t.Fatalf("%#v", err)
			}
			checkText(t, err, "Resend answered")
		})
	}
	if n := elsewhere.Load(); n != 0 {
		t.Error("a redirect was followed: the key and the link went elsewhere")
	}
}

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// endless answers for as long as anybody reads.
func endless(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusBadRequest)
	io.WriteString(w, `{"name":"`)
	for {
		if _, err := io.WriteString(w, strings.Repeat("x", 4096)); err != nil {
			return
		}
	}
}

// roundTripper is an http.RoundTripper that is a function.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestGarbage: what answers and is no HTTP is not quoted either.
func TestGarbage(t *testing.T) {
	const said = "ada@refused.example secret-link " + key
	for _, text := range []string{
		said + "\r\n\r\n", "HTTP/1.1 " + said + "\r\n\r\n", "HTTP/1.1 2x0 " + said + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\n" + said + "\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: " + said + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + said + "\r\n\r\n", "HTTP/1.1 307 Moved\r\nLocation: ://" + said + "\r\n\r\n",
	} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		go func() {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				io.WriteString(conn, text)
			}
		}()
		err = newMailer(t, "resend", config("resend", "http://"+ln.Addr().String())).Send(t.Context(), message())
		if err == nil {
			t.Errorf("%q counts as sent", text)
			continue
		}
		checkText(t, err, "httpmail: Resend")
	}
}

// TestNoAnswer: a service that cannot be reached, and one that says nothing.
func TestNoAnswer(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	err = newMailer(t, "mailgun", config("mailgun", "http://"+ln.Addr().String())).Send(t.Context(), message())
	var me *httpmail.Error
	if !errors.As(err, &me) || me.Status != 0 || me.Err == nil {
		t.Fatalf("%#v", err)
	}
	checkText(t, err, "httpmail: Mailgun: ", "connection refused")

	synctest.Test(t, func(t *testing.T) {
		hang := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, context.Cause(r.Context())
		})}
		c := config("resend", "")
		c.Client = hang
		for limit, want := range map[time.Duration]time.Duration{0: 20 * time.Second, 5 * time.Second: 5 * time.Second, time.Hour: 20 * time.Second} {
			hang.Timeout = limit
			begun := time.Now()
			err := newMailer(t, "resend", c).Send(t.Context(), message())
			if took := time.Since(begun); err == nil || took != want {
				t.Errorf("with a timeout of %v: %v after %v, want %v", limit, err, took, want)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := newMailer(t, "resend", c).Send(ctx, message()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Send = %v, want the context's error", err)
		}
	})
}

// TestBadMessages: what is no mail to one address leaves us no sooner than the
// service would refuse it.
func TestBadMessages(t *testing.T) {
	each(t, func(t *testing.T, id string) {
		t.Helper()
		e := newEmulator(t, id)
		m := newMailer(t, id, config(id, e.URL))
		for name, change := range map[string]func(*email.Message){
			"no sender":      func(m *email.Message) { m.From = "" },
			"two senders":    func(m *email.Message) { m.From = "a@b.example, c@d.example" },
			"no recipient":   func(m *email.Message) { m.To = "" },
			"two recipients": func(m *email.Message) { m.To = "ada@example.com, eve@example.com" },
			"a name":         func(m *email.Message) { m.To = "Ada <ada@example.com>" },
			"header":         func(m *email.Message) { m.To = "ada@example.com\r\nBcc: eve@example.com" },
			"subject":        func(m *email.Message) { m.Subject = "a\r\nBcc: eve@example.com" },
		} {
			msg := message()
			change(msg)
			err := m.Send(t.Context(), msg)
			if err == nil {
				t.Errorf("%s: sent", name)
				continue
			}
			checkText(t, err)
		}
		if len(e.mails) != 0 {
			t.Errorf("mails %+v", e.mails)
		}
	})
	msg := message()
	msg.Link = ""
	if err := newMailer(t, "loops", config("loops", "")).Send(t.Context(), msg); err == nil || !strings.Contains(err.Error(), "no Link") {
		t.Errorf("Loops without a link: %v", err)
	}
	msg = message()
	msg.From = `"a@b"@[192.0.2.1]`
	if err := newMailer(t, "mailgun", config("mailgun", "")).Send(t.Context(), msg); err == nil || !strings.Contains(err.Error(), "set Domain") {
		t.Errorf("Mailgun without a domain: %v", err)
	}
}

// TestAddresses: where requests go when nothing else is said.
func TestAddresses(t *testing.T) {
	for id, want := range map[string]string{
		"forwardemail": "https://api.forwardemail.net/v1/emails",
		"loops":        "https://app.loops.so/api/v1/transactional",
		"mailgun":      "https://api.mailgun.net/v3/acme.example/messages",
		"mailgun eu":   "https://api.eu.mailgun.net/v3/mg.acme.example/messages",
		"postmark":     "https://api.postmarkapp.com/email",
		"resend":       "https://api.resend.com/emails",
		"sendgrid":     "https://api.sendgrid.com/v3/mail/send",
	} {
		id, eu := strings.CutSuffix(id, " eu")
		c := config(id, "")
		if eu {
			c.Region, c.Domain = "eu", "mg.acme.example"
		}
		var to string
		c.Client = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			to = r.URL.String()
			return nil, errors.New("stop")
		})}
		_ = newMailer(t, id, c).Send(t.Context(), message())
		if to != want {
			t.Errorf("%s: %s, want %s", id, to, want)
		}
	}
}

func TestNew(t *testing.T) {
	each(t, func(t *testing.T, id string) {
		t.Helper()
		c := config(id, "")
		c.Key = ""
		name := "AUTH_" + strings.ToUpper(id) + "_KEY"
		if _, err := httpmail.New(id, c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without a key: %v, want %s in it", err, name)
		}
		t.Setenv(name, key)
		if _, err := httpmail.New(id, c); err != nil {
			t.Errorf("with the variable: %v", err)
		}
	})
	t.Setenv("AUTH_LOOPS_TRANSACTIONAL_ID", "clfn0k1yg001imo0fdeqg30i8")
	for name, fn := range map[string]func(httpmail.Config) (*httpmail.Mailer, error){
		"ForwardEmail": httpmail.ForwardEmail, "Loops": httpmail.Loops, "Mailgun": httpmail.Mailgun,
		"Postmark": httpmail.Postmark, "Resend": httpmail.Resend, "SendGrid": httpmail.SendGrid,
	} {
		if m, err := fn(httpmail.Config{Key: key}); err != nil || m == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for want, tt := range map[string]struct {
		id     string
		change func(*httpmail.Config)
	}{
		"no service":             {"nobody", func(*httpmail.Config) {}},
		"Key has":                {"resend", func(c *httpmail.Config) { c.Key = key + "\n" }},
		"Domain \"a/b\"":         {"mailgun", func(c *httpmail.Config) { c.Domain = "a/b" }},
		"Domain \"a\"":           {"resend", func(c *httpmail.Config) { c.Domain = "a" }},
		"Region \"mars\"":        {"mailgun", func(c *httpmail.Config) { c.Region = "mars" }},
		"Region \"eu\"":          {"resend", func(c *httpmail.Config) { c.Region = "eu" }},
		"TransactionalID is mis": {"loops", func(c *httpmail.Config) { c.TransactionalID = "a b" }},
		"TransactionalID is not": {"resend", func(c *httpmail.Config) { c.TransactionalID = "a" }},
		"URL must":               {"resend", func(c *httpmail.Config) { c.URL = "http://api.example.com" }},
		"URL must be":            {"resend", func(c *httpmail.Config) { c.URL = "https://u:" + key + "@api.example.com" }},
		"URL must be https":      {"resend", func(c *httpmail.Config) { c.URL = "https://api.example.com/path" }},
	} {
		c := config(tt.id, "")
		tt.change(&c)
		m, err := httpmail.New(tt.id, c)
		if m != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
			continue
		}
		checkText(t, err)
	}
}

// FuzzAnswer: whatever a service answers, the error says no more than its codes.
func FuzzAnswer(f *testing.F) {
	for _, s := range emulators {
		f.Add(s.invalidStatus, s.invalid)
		f.Add(s.unauthorizedStatus, s.unauthorized)
	}
	f.Add(500, `{"error":{"reason":"a b"}}`)
	f.Add(400, `[[{"name":1}]]`)
	said := regexp.MustCompile(`^httpmail: [A-Za-z ]+ answered \d{3}(?: [A-Za-z0-9_.-]{1,64})?$`)
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 200 || status > 599 {
			return
		}
		client := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: status, Header: http.Header{"Location": {"https://evil.example"}}, Request: r,
				Body: io.NopCloser(strings.NewReader(body))}, nil
		})}
		for _, id := range httpmail.IDs() {
			c := config(id, "")
			c.Client = client
			err := newMailer(t, id, c).Send(t.Context(), message())
			if (err == nil) != (status < 300) || err != nil && !said.MatchString(err.Error()) {
				t.Errorf("%s, %d %q: %v", id, status, body, err)
			}
		}
	})
}
