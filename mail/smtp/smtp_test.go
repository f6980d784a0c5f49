package smtp_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"strings"
	"testing"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/mail/smtp"
	"github.com/gatebook/gatebook/provider/email"
)

func message() *email.Message {
	return &email.Message{
		From: "Acmé <login@acme.example>", To: "ada@example.com", Subject: "Sign in to café.example",
		Text: "Open\n\nhttps://app.example/?token=s3cret&" + strings.Repeat("x", 200) + "\n.\nBye",
		HTML: `<p><a href="https://app.example/?token=s3cret">Sign in</a></p>`,
	}
}

// newMailer makes a mailer for s; with host, one that believes to talk to host.
func newMailer(t *testing.T, s *server, c smtp.Config) *smtp.Mailer {
	t.Helper()
	if c.TLS == nil {
		c.TLS = &tls.Config{RootCAs: s.roots}
	}
	if c.DialContext == nil {
		c.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.addr)
		}
	}
	m, err := smtp.New(c)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return m
}

func TestNew(t *testing.T) {
	for _, url := range []string{"smtp://mail.example", "smtps://user:pass@mail.example:4650", "smtp://[::1]:25/", "smtp://u%40x:p%2Fw@h"} {
		if _, err := smtp.New(smtp.Config{URL: gatebook.Secret(url)}); err != nil {
			t.Errorf("New(%q): %v", url, err)
		}
	}
	for _, url := range []string{"", "mail.example:25", "http://mail.example", "smtp://", "smtp://h:0", "smtp://h:70000", "smtp://h:x",
		"smtp://user:s3cret@", "smtp://user:s3cret@h/path", "smtp://user:s3cret@h?tls=no", "smtp://us er:s3cret@h\n", "://s3cret"} {
		_, err := smtp.New(smtp.Config{URL: gatebook.Secret(url)})
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("New(%q): error %v, want one without the password", url, err)
		}
	}
}

func TestSend(t *testing.T) {
	tests := []struct {
		name              string
		server            server
		config            func(*server) smtp.Config
		wantTLS, wantAuth bool
	}{
		{"loopback in the clear", server{}, func(s *server) smtp.Config {
			return smtp.Config{URL: gatebook.Secret(s.url("smtp", ""))}
		}, false, false},
		{"loopback with STARTTLS", server{starttls: true}, func(s *server) smtp.Config {
			return smtp.Config{URL: gatebook.Secret(s.url("smtp", ""))}
		}, true, false},
		{"loopback in the clear with password", server{login: "ada\x00p@ss/"}, func(s *server) smtp.Config {
			return smtp.Config{URL: gatebook.Secret(s.url("smtp", "ada:p%40ss%2F"))}
		}, false, true},
		{"STARTTLS with password", server{starttls: true, login: "ada\x00pass"}, func(*server) smtp.Config {
			return smtp.Config{URL: "smtp://ada:pass@mail.test:587"}
		}, true, true},
		{"TLS from the start", server{implicit: true, login: "ada\x00pass"}, func(*server) smtp.Config {
			return smtp.Config{URL: "smtps://ada:pass@mail.test"}
		}, true, true},
		{"plaintext allowed", server{}, func(*server) smtp.Config {
			return smtp.Config{URL: "smtp://mail.test", InsecurePlaintext: true}
		}, false, false},
		{"plaintext allowed, TLS offered", server{starttls: true}, func(*server) smtp.Config {
			return smtp.Config{URL: "smtp://mail.test", InsecurePlaintext: true}
		}, true, false},
		{"server hangs up after taking it", server{answers: map[string]string{"QUIT": "-", "RSET": "-"}}, func(s *server) smtp.Config {
			return smtp.Config{URL: gatebook.Secret(s.url("smtp", ""))}
		}, false, false},
	}
	for i := range tests {
		tt := &tests[i]
		t.Run(tt.name, func(t *testing.T) {
			s := &tt.server
			s.serve(t)
			m := newMailer(t, s, tt.config(s))
			if err := m.Send(t.Context(), message()); err != nil {
				t.Fatalf("Send: %v", err)
			}
			got := s.received(t)
			if got.tls != tt.wantTLS || got.auth != tt.wantAuth {
				t.Errorf("sent with TLS %v and authentication %v, want %v and %v", got.tls, got.auth, tt.wantTLS, tt.wantAuth)
			}
			if !strings.HasPrefix(got.from, "FROM:<login@acme.example>") || !strings.HasPrefix(got.to, "TO:<ada@example.com>") {
				t.Errorf("envelope = %q, %q", got.from, got.to)
			}
			checkContent(t, got.data)
		})
	}
}

func checkContent(t *testing.T, data string) {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(data))
	if err != nil {
		t.Fatalf("message is malformed: %v\n%s", err, data)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil || subject != message().Subject {
		t.Errorf("Subject = %q, %v", subject, err)
	}
	from, err := m.Header.AddressList("From")
	if err != nil || len(from) != 1 || from[0].Name != "Acmé" || from[0].Address != "login@acme.example" {
		t.Errorf("From = %v, %v", from, err)
	}
	if to := m.Header.Get("To"); to != "<ada@example.com>" {
		t.Errorf("To = %q", to)
	}
	for name, want := range map[string]bool{"Date": true, "Message-Id": true, "Auto-Submitted": true, "X-Mailer": false, "User-Agent": false} {
		if got := m.Header.Get(name) != ""; got != want {
			t.Errorf("header %s: %v, want %v", name, got, want)
		}
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("Content-Type = %q, %v", kind, err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for _, want := range []struct{ kind, body string }{{"text/plain", message().Text}, {"text/html", message().HTML}} {
		part, err := parts.NextRawPart()
		if err != nil {
			t.Fatalf("part %s: %v", want.kind, err)
		}
		if got := part.Header.Get("Content-Type"); !strings.HasPrefix(got, want.kind) {
			t.Errorf("part is %q, want %s", got, want.kind)
		}
		body, err := io.ReadAll(quotedprintable.NewReader(part))
		if got := strings.ReplaceAll(string(body), "\r\n", "\n"); err != nil || strings.TrimRight(got, "\n") != want.body {
			t.Errorf("part %s = %q, %v; want %q", want.kind, got, err, want.body)
		}
	}
}

func TestRefuses(t *testing.T) {
	const secret = "s3cret" // also the link's token
	reply := func(verb, text string) server { return server{answers: map[string]string{verb: text}} }
	loopback := func(s *server) smtp.Config { return smtp.Config{URL: gatebook.Secret(s.url("smtp", ""))} }
	tests := []struct {
		name   string
		server server
		config func(*server) smtp.Config
		want   string
	}{
		{"no STARTTLS elsewhere", server{}, func(*server) smtp.Config { return smtp.Config{URL: "smtp://mail.test"} },
			"smtp: connect: server offers no STARTTLS, and its address is not on this machine"},
		{"password in the clear elsewhere", server{login: "ada\x00" + secret}, func(*server) smtp.Config {
			return smtp.Config{URL: "smtp://ada:s3cret@mail.test", InsecurePlaintext: true}
		}, "smtp: connect: a password would be sent in the clear"},
		{"wrong password", server{login: "ada\x00other"}, func(s *server) smtp.Config {
			return smtp.Config{URL: gatebook.Secret(s.url("smtp", "ada:s3cret"))}
		}, "smtp: connect: server answered 535 5.7.8"},
		{"server without AUTH", server{}, func(s *server) smtp.Config {
			return smtp.Config{URL: gatebook.Secret(s.url("smtp", "ada:s3cret"))}
		}, "smtp: connect: server offers none of SCRAM-SHA-256, PLAIN, LOGIN over this connection"},
		{"another certificate", server{starttls: true}, func(*server) smtp.Config {
			return smtp.Config{URL: "smtp://other.test"}
		}, "certificate is valid for mail.test, not other.test"},
		{"smtps at a server in the clear", server{}, func(*server) smtp.Config {
			return smtp.Config{URL: "smtps://mail.test"}
		}, "smtp: connect: server answered with no valid SMTP or TLS"},
		{"busy", reply("", "421 4.3.2 "+secret), loopback, "smtp: connect: server answered 421 4.3.2"},
		{"no SMTP", reply("", "HTTP/1.1 400 "+secret), loopback, "smtp: connect: server answered with no valid SMTP or TLS"},
		{"hangs up", reply("", "-"), loopback, "smtp: connect: server answered with no valid SMTP or TLS"},
		{"sender refused", reply("MAIL", "550 5.7.1 "+secret), loopback, "smtp: from: server answered 550 5.7.1"},
		{"recipient refused", reply("RCPT", "550 5.1.1 <ada@example.com> "+secret), loopback, "smtp: to: server answered 550 5.1.1"},
		{"recipient later", reply("RCPT", "451 4.7.1 greylisted"), loopback, "smtp: to: server answered 451 4.7.1"},
		{"data refused", reply("DATA", "554 "+secret), loopback, "smtp: data: server answered 554"},
		{"content refused", reply(".", "554 5.7.1 message has https://app.example/?token="+secret), loopback, "smtp: data: server answered 554 5.7.1"},
		{"hangs up at the end", reply(".", "-"), loopback, "smtp: data: connection broke"},
	}
	for i := range tests {
		tt := &tests[i]
		t.Run(tt.name, func(t *testing.T) {
			s := &tt.server
			s.serve(t)
			err := newMailer(t, s, tt.config(s)).Send(t.Context(), message())
			var e *smtp.Error
			if !errors.As(err, &e) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("Send: error %v, want %q", err, tt.want)
			}
			for e := err; e != nil; e = errors.Unwrap(e) {
				if text := fmt.Sprintf("%v %+v", e, e); strings.Contains(text, secret) || strings.Contains(text, "ada@") {
					t.Errorf("the error tells a secret or the address: %s", text)
				}
			}
			if e.Temporary() != (e.Code == 421 || e.Code == 451) {
				t.Errorf("Temporary() = %v for %d", e.Temporary(), e.Code)
			}
			if tt.server.said("AUTH") && tt.name == "password in the clear elsewhere" {
				t.Error("the password was sent")
			}
			if len(s.mails) != 0 && tt.name != "hangs up at the end" {
				t.Error("the mail came in all the same")
			}
		})
	}
}

func TestServerDown(t *testing.T) {
	s := &server{}
	s.serve(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	m, err := smtp.New(smtp.Config{URL: gatebook.Secret("smtp://" + l.Addr().String())})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Send(t.Context(), message()); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("Send: error %v, want connection refused", err)
	}
}

// TestInjection sends what would become headers or recipients of its own.
func TestInjection(t *testing.T) {
	tests := map[string]func(*email.Message){
		"subject with CRLF":   func(m *email.Message) { m.Subject = "Hi\r\nBcc: eve@evil.example" },
		"subject with LF":     func(m *email.Message) { m.Subject = "Hi\nBcc: eve@evil.example" },
		"subject with NUL":    func(m *email.Message) { m.Subject = "Hi\x00" },
		"recipient with CRLF": func(m *email.Message) { m.To = "ada@example.com\r\nBcc: eve@evil.example" },
		"command by the way":  func(m *email.Message) { m.To = "ada@example.com>\r\nRCPT TO:<eve@evil.example" },
		"two recipients":      func(m *email.Message) { m.To = "ada@example.com, eve@evil.example" },
		"no recipient":        func(m *email.Message) { m.To = "" },
		"sender with CRLF":    func(m *email.Message) { m.From = "\"A\r\nBcc: eve@evil.example\" <login@acme.example>" },
		"sender with folding": func(m *email.Message) { m.From = "A\r\n B <login@acme.example>" },
		"no sender":           func(m *email.Message) { m.From = "" },
		"no text":             func(m *email.Message) { m.Text = "" },
		"quoted line break":   func(m *email.Message) { m.To = "\"a\\\r\nb\"@example.com" },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			s := &server{}
			s.serve(t)
			msg := message()
			change(msg)
			err := newMailer(t, s, smtp.Config{URL: gatebook.Secret(s.url("smtp", ""))}).Send(t.Context(), msg)
			var e *smtp.Error
			if !errors.As(err, &e) || e.Step != "message" {
				t.Errorf("Send: error %v, want one of step message", err)
			}
			if err != nil && strings.Contains(err.Error(), "evil") {
				t.Errorf("the error quotes the message: %v", err)
			}
			if s.sessions != 0 {
				t.Error("the server was spoken to")
			}
		})
	}
}

func TestContextEnds(t *testing.T) {
	// The server takes the connection and says nothing at all.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			accepted <- conn
		}
	}()
	m, err := smtp.New(smtp.Config{URL: gatebook.Secret("smtp://" + l.Addr().String())})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- m.Send(ctx, message()) }()
	conn := <-accepted
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Send: error %v, want context.Canceled in its chain", err)
	}
	// The connection is given back, not left open.
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is still open")
	}
	conn.Close()
}

func TestConcurrentUse(t *testing.T) {
	s := &server{starttls: true, login: "ada\x00pass"}
	s.serve(t)
	m := newMailer(t, s, smtp.Config{URL: "smtp://ada:pass@mail.test"})
	const n = 8
	errs := make(chan error, n)
	for range n {
		go func() { errs <- m.Send(t.Context(), message()) }()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Errorf("Send: %v", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.mails) != n {
		t.Errorf("%d mails came in, want %d", len(s.mails), n)
	}
}
