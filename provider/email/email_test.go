package email_test

import (
	"context"
	"errors"
	"fmt"
	"html"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/provider/email"
)

// outbox is a Mailer that keeps what it is given.
type outbox struct {
	sent []*email.Message
	err  error
}

func (o *outbox) Send(_ context.Context, m *email.Message) error {
	o.sent = append(o.sent, m)
	return o.err
}

func newProvider(t *testing.T, c email.Config) *email.Provider {
	t.Helper()
	p, err := email.New(c)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return p
}

func TestNew(t *testing.T) {
	p := newProvider(t, email.Config{From: "login@acme.example", Mailer: &outbox{}})
	if want := (gatebook.ProviderInfo{ID: "email", Name: "Email", Type: "email"}); p.Info() != want {
		t.Errorf("Info() = %+v, want %+v", p.Info(), want)
	}
	if p.MaxAge() != 24*time.Hour {
		t.Errorf("MaxAge() = %v, want 24h", p.MaxAge())
	}
	p = newProvider(t, email.Config{ID: "nodemailer", Name: "Mail", From: "Acme <login@acme.example>", Mailer: &outbox{}, MaxAge: time.Minute})
	if p.Info().ID != "nodemailer" || p.Info().Name != "Mail" || p.MaxAge() != time.Minute {
		t.Errorf("Info() = %+v, MaxAge() = %v", p.Info(), p.MaxAge())
	}
	for name, c := range map[string]email.Config{
		"From":   {Mailer: &outbox{}},
		"Mailer": {From: "a@b.example"},
		"ID":     {ID: "a/b", From: "a@b.example", Mailer: &outbox{}},
		"MaxAge": {From: "a@b.example", Mailer: &outbox{}, MaxAge: -1},
		"Limits": {From: "a@b.example", Mailer: &outbox{}, Limits: gatebook.LinkLimits{Per: 2 * time.Hour}},
	} {
		if _, err := email.New(c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("New without %s: error %v, want one that names it", name, err)
		}
	}
}

var addresses = []struct {
	in, want string // want is empty for an error
}{
	{"ada@example.com", "ada@example.com"},
	{"Foo@Example.com", "foo@example.com"},
	{" \t\u00a0\ufeffada@example.com\u2003\r\n", "ada@example.com"},
	{"a@b.c,evil.com", "a@b.c"},
	{"ada@localhost", "ada@localhost"},
	{"ada+tag.x_y@sub.example-1.com", "ada+tag.x_y@sub.example-1.com"},
	{"ada@xn--bcher-kva.example", "ada@xn--bcher-kva.example"},
	{strings.Repeat("a", 64) + "@b.c", strings.Repeat("a", 64) + "@b.c"},
	{"", ""}, {" ", ""}, {"@", ""}, {"a@", ""}, {"@b", ""}, {"ada", ""},
	{"x@y@z", ""}, {`"a"@b`, ""}, {"a@b\"", ""}, {"a@,b.c", ""},
	{"a,b@c.d", ""}, {"a@b.c,d@e.f", ""}, {"a@b.c;d@e.f", ""},
	{"ada＠example.com", ""}, {"ada@example.com＠evil.com", ""},
	{"a@b.c\r\nBcc: d@e.f", ""}, {"a\n@b.c", ""}, {"a\x00@b.c", ""}, {"a b@c.d", ""},
	{"<ada@example.com>", ""}, {"Ada <ada@example.com>", ""}, {"a(c)@b.c", ""},
	{"\u212Aate@example.com", ""}, // the Kelvin sign, whose lower case is k
	{"ada@ex\u0430mple.com", ""},  // a Cyrillic letter
	{"ada@ex\u00adample.com", ""}, // a soft hyphen
	{"ada@b..c", ""}, {"ada@-b.c", ""}, {"ada@.b", ""}, {"ada@[127.0.0.1]", ""},
	{strings.Repeat("a", 65) + "@b.c", ""},
	{"a@" + strings.Repeat("b.", 127) + "c", ""},
	{"a@" + strings.Repeat("b", 64) + ".c", ""},
}

func TestNormalize(t *testing.T) {
	p := newProvider(t, email.Config{From: "login@acme.example", Mailer: &outbox{}})
	for _, tt := range addresses {
		got, err := p.Normalize(tt.in)
		if got != tt.want || (tt.want == "") != errors.Is(err, email.ErrAddress) {
			t.Errorf("Normalize(%q) = %q, %v; want %q", tt.in, got, err, tt.want)
		}
	}
}

// TestNormalizeIdentifier: what the application makes of an address is still
// one address.
func TestNormalizeIdentifier(t *testing.T) {
	other := errors.New("not one of us")
	p := newProvider(t, email.Config{From: "login@acme.example", Mailer: &outbox{}, NormalizeIdentifier: func(typed string) (string, error) {
		switch typed {
		case "other":
			return "", other
		case "two":
			return "a@acme.example\r\nBcc: b@acme.example", nil
		}
		local, _, _ := strings.Cut(typed, "+")
		return local + "@ACME.example", nil
	}})
	if got, err := p.Normalize("Ada+news@acme.example"); got != "ada@acme.example" || err != nil {
		t.Errorf("Normalize = %q, %v", got, err)
	}
	if got, err := p.Normalize("other"); got != "" || !errors.Is(err, other) {
		t.Errorf("Normalize = %q, %v, want the application's error", got, err)
	}
	if got, err := p.Normalize("two"); got != "" || !errors.Is(err, email.ErrAddress) {
		t.Errorf("Normalize = %q, %v, want ErrAddress", got, err)
	}
}

func TestGenerateVerificationToken(t *testing.T) {
	c := email.Config{From: "login@acme.example", Mailer: &outbox{}}
	if token, err := newProvider(t, c).VerificationToken(); token != "" || err != nil {
		t.Errorf("without a generator: %q, %v", string(token), err)
	}
	c.GenerateVerificationToken = func() string { return "a token" }
	if token, err := newProvider(t, c).VerificationToken(); token != "a token" || err != nil {
		t.Errorf("%q, %v", string(token), err)
	}
	c.GenerateVerificationToken = func() string { return "" }
	if token, err := newProvider(t, c).VerificationToken(); token != "" || err == nil {
		t.Errorf("an empty token: %q, %v", string(token), err)
	}
}

func FuzzNormalize(f *testing.F) {
	for _, tt := range addresses {
		f.Add(tt.in)
	}
	p, err := email.New(email.Config{From: "login@acme.example", Mailer: &outbox{}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got, err := p.Normalize(in)
		if err != nil {
			if got != "" {
				t.Errorf("Normalize(%q) = %q beside %v", in, got, err)
			}
			return
		}
		if again, err := p.Normalize(got); again != got || err != nil {
			t.Errorf("Normalize(%q) = %q, and of that %q, %v", in, got, again, err)
		}
		if strings.Count(got, "@") != 1 || strings.ContainsFunc(got, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`",;<>()[]\`, r) }) {
			t.Errorf("Normalize(%q) = %q, which is more than one address or no plain one", in, got)
		}
	})
}

func link() *gatebook.MagicLink {
	return &gatebook.MagicLink{
		Address: "ada@example.com",
		URL:     `https://app.example/auth/callback/email?callbackUrl=https%3A%2F%2Fapp.example&token=s3cret&email=ada%40example.com`,
		Host:    "app.example:8080",
		Expires: time.Date(2026, 3, 4, 5, 6, 0, 0, time.FixedZone("", 3600)),
	}
}

func TestSend(t *testing.T) {
	o := &outbox{}
	p := newProvider(t, email.Config{From: "Acme <login@acme.example>", Mailer: o})
	if err := p.Send(t.Context(), link()); err != nil {
		t.Fatalf("Send: %v", err)
	}
	m := o.sent[0]
	if m.From != "Acme <login@acme.example>" || m.To != "ada@example.com" || m.Subject != "Sign in to app.example:8080" {
		t.Errorf("mail = from %q to %q, %q", m.From, m.To, m.Subject)
	}
	url := string(link().URL)
	if !strings.Contains(m.Text, "\n"+url+"\n") {
		t.Errorf("the link does not stand on a line of its own:\n%s", m.Text)
	}
	if !strings.Contains(html.UnescapeString(m.HTML), `href="`+url+`"`) {
		t.Errorf("the button has not the link:\n%s", m.HTML)
	}
	for _, text := range []string{m.Text, m.HTML} {
		if !strings.Contains(text, "4 March 2026, 04:06 UTC") {
			t.Errorf("the end of the link is not told:\n%s", text)
		}
	}
	// Mail programs would make a link of the bare host.
	if strings.Contains(m.HTML, "app.example:8080") || !strings.Contains(m.HTML, "app&#8203;.example&#8203;:8080") {
		t.Errorf("the host is not protected:\n%s", m.HTML)
	}
	if strings.Contains(m.HTML, "src=") || strings.Contains(m.HTML, "<link") {
		t.Errorf("the mail loads something:\n%s", m.HTML)
	}
}

// TestTheme: the mail has the site's colours, in light and dark, and nothing
// else that a theme may say.
func TestTheme(t *testing.T) {
	o := &outbox{}
	p := newProvider(t, email.Config{From: "login@acme.example", Mailer: o})
	for name, tt := range map[string]struct {
		theme gatebook.Theme
		has   []string
		not   []string
	}{
		"default": {gatebook.Theme{}, []string{`content="light dark"`, "prefers-color-scheme: dark", "background:#1f4fd8;color:#ffffff", "background:#ffffff;color:#111827"}, nil},
		"brand":   {gatebook.Theme{BrandColor: "#fc0", ButtonText: "#000000"}, []string{"background:#fc0;color:#000000"}, []string{"#1f4fd8"}},
		"light":   {gatebook.Theme{ColorScheme: "light"}, []string{`content="light"`, "background:#ffffff;color:#111827"}, []string{"prefers-color-scheme"}},
		"dark":    {gatebook.Theme{ColorScheme: "dark"}, []string{`content="dark"`, "background:#111827;color:#f3f4f6"}, []string{"prefers-color-scheme", "#ffffff;color:#111827"}},
		"hostile": {gatebook.Theme{ColorScheme: `"><script>`, BrandColor: "red;background:url(https://evil.example)", ButtonText: `"><script>`, Logo: "https://evil.example"},
			[]string{"background:#1f4fd8;color:#ffffff"}, []string{"<script", "evil"}},
	} {
		l := link()
		l.Theme = tt.theme
		if err := p.Send(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		body := o.sent[len(o.sent)-1].HTML
		for _, part := range tt.has {
			if !strings.Contains(body, part) {
				t.Errorf("%s: no %s in\n%s", name, part, body)
			}
		}
		for _, part := range tt.not {
			if strings.Contains(body, part) {
				t.Errorf("%s: %s in\n%s", name, part, body)
			}
		}
		// Mail programs of right-to-left languages turn what says nothing.
		if !strings.Contains(body, `<table class="page" role="presentation" dir="ltr"`) || !strings.Contains(body, "<bdi>app&#8203;.example") {
			t.Errorf("%s: the direction is left open:\n%s", name, body)
		}
		if strings.Contains(body, "ZgotmplZ") {
			t.Errorf("%s: the template does not trust its own values:\n%s", name, body)
		}
	}
}

func TestSendEscapes(t *testing.T) {
	o := &outbox{}
	p := newProvider(t, email.Config{From: "login@acme.example", Mailer: o})
	l := link()
	l.Host = `<b>"x`
	l.URL = `https://app.example/?a="><script>`
	if err := p.Send(t.Context(), l); err != nil {
		t.Fatalf("Send: %v", err)
	}
	if body := o.sent[0].HTML; strings.Contains(body, "<b>") || strings.Contains(body, "<script>") {
		t.Errorf("HTML is not escaped:\n%s", body)
	}
	for _, host := range []string{"", "a\r\nBcc: b@c", "a b"} {
		l.Host = host
		if err := p.Send(t.Context(), l); err == nil {
			t.Errorf("a mail for host %q was sent", host)
		}
	}
	if len(o.sent) != 1 {
		t.Errorf("%d mails sent, want 1", len(o.sent))
	}
}

func TestCompose(t *testing.T) {
	o := &outbox{}
	fail := errors.New("no template")
	c := email.Config{From: "login@acme.example", Mailer: o,
		Compose: func(l *gatebook.MagicLink) (*email.Message, error) {
			return &email.Message{Subject: "Hallo", Text: string(l.URL)}, nil
		}}
	if err := newProvider(t, c).Send(t.Context(), link()); err != nil {
		t.Fatalf("Send: %v", err)
	}
	want := &email.Message{From: "login@acme.example", To: "ada@example.com", Subject: "Hallo", Text: string(link().URL)}
	if diff := cmp.Diff(want.Text+want.From+want.To+want.Subject, o.sent[0].Text+o.sent[0].From+o.sent[0].To+o.sent[0].Subject); diff != "" {
		t.Errorf("mail (-want +got):\n%s", diff)
	}
	c.Compose = func(*gatebook.MagicLink) (*email.Message, error) { return nil, fail }
	if err := newProvider(t, c).Send(t.Context(), link()); !errors.Is(err, fail) {
		t.Errorf("Send = %v, want the error of Compose", err)
	}
}

func TestMailerFails(t *testing.T) {
	down := errors.New("server is down")
	p := newProvider(t, email.Config{From: "login@acme.example", Mailer: &outbox{err: down}})
	if err := p.Send(t.Context(), link()); !errors.Is(err, down) || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("Send = %v, want the Mailer's error and no link", err)
	}
}

func TestMessagePrintsNoLink(t *testing.T) {
	m := &email.Message{From: "f", To: "ada@example.com", Subject: "Sign in", Text: "s3cret", HTML: "s3cret"}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("mail", "mail", m, "copy", *m)
	for _, s := range []string{fmt.Sprint(m), fmt.Sprint(*m), fmt.Sprintf("%+v %#v %#v", m, m, *m), log.String()} {
		if strings.Contains(s, "s3cret") || !strings.Contains(s, "ada@example.com") {
			t.Errorf("message prints as %s", s)
		}
	}
}
