package gatebook_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/provider/email"
	"github.com/gatebook/gatebook/record"
)

// withLinks gives a site's mail provider a configuration of its own.
func withLinks(t *testing.T, change func(*email.Config)) func(*site, *gatebook.Config) {
	t.Helper()
	return func(s *site, c *gatebook.Config) {
		cfg := email.Config{From: "a@example.com", Mailer: s.mail}
		change(&cfg)
		p, err := email.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		for i, old := range c.Providers {
			if old.Info().ID == p.Info().ID {
				c.Providers[i] = p
			}
		}
	}
}

func limits(l gatebook.LinkLimits) func(*email.Config) {
	return func(c *email.Config) { c.Limits = l }
}

// ask asks for a link in a browser of its own and returns every byte of the
// answer.
func (w *wire) ask(from, address string) string {
	w.t.Helper()
	b := newBrowser(w.site)
	b.get("/auth/csrf")
	b.header = []string{"Remote: " + net.JoinHostPort(from, "1234")}
	return dump(w.t, b.post("/auth/signin/email", url.Values{"email": {address}}))
}

func (o *outbox) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.sent)
}

// TestLinksPerAddress: nobody can make us send more mails to a stranger, and
// whoever asks sees no difference.
func TestLinksPerAddress(t *testing.T) {
	for _, address := range []string{"ada@example.com", "new@example.com"} {
		t.Run(address, func(t *testing.T) {
			st := newStage(t, gatebook.StrategyDatabase, withLinks(t, limits(gatebook.LinkLimits{PerAddress: 3, Per: 10 * time.Minute})))
			var answers []string
			for range 3 {
				answers = append(answers, st.ask("192.0.2.1", address))
				st.clock.advance(time.Minute)
			}
			if n := st.mail.count(); n != 3 {
				t.Fatalf("%d mails, want 3", n)
			}
			st.quiet()
			answers = append(answers, st.ask("192.0.2.1", address), st.ask("198.51.100.1", strings.ToUpper(address)))
			for i, a := range answers {
				if strip(a) != strip(answers[0]) || !strings.Contains(a, "/auth/verify-request?provider=email&type=email") {
					t.Errorf("answer %d differs:\n%s\n%s", i, answers[0], a)
				}
			}
			st.check(record.TypeSignInFailed, record.TypeSignInFailed)
			for _, ev := range st.heard.all() {
				f := ev.(*gatebook.SignInFailedEvent)
				if f.Reason != record.ReasonRateLimited || f.Target != address || (f.User != nil) != (address == "ada@example.com") {
					t.Errorf("signIn.failed: %q for %q, user %v", f.Reason, f.Target, f.User)
				}
			}
			if n := st.mail.count(); n != 3 || len(st.spy.writes()) != 0 {
				t.Errorf("%d mails, writes %v", n, st.spy.writes())
			}
			if lines := st.lines.all(); len(lines) != 2 || !strings.Contains(lines[0], "rateLimited") || strings.Contains(lines[0], address) {
				t.Errorf("log: %q", lines)
			}
			// Another address has links of its own.
			st.ask("192.0.2.1", "other@example.com")
			// A link that is used makes room, and so does time.
			st.mail.mu.Lock()
			st.mail.sent = st.mail.sent[:3]
			st.mail.mu.Unlock()
			newBrowser(st.site).get(strings.TrimPrefix(st.mail.link(t), st.server.URL))
			st.ask("192.0.2.1", address)
			if n := st.mail.count(); n != 4 {
				t.Errorf("after a link was used: %d mails, want 4", n)
			}
			st.ask("192.0.2.1", address)
			if n := st.mail.count(); n != 4 {
				t.Errorf("and then: %d mails, want 4", n)
			}
			st.clock.advance(7*time.Minute + time.Second) // the first is 10 minutes old
			st.ask("192.0.2.1", address)
			if n := st.mail.count(); n != 5 {
				t.Errorf("after its time: %d mails, want 5", n)
			}
		})
	}
}

// strip takes out of an answer what differs by chance.
func strip(a string) string {
	var lines []string
	for line := range strings.Lines(a) {
		if !strings.HasPrefix(line, "Set-Cookie:") && !strings.HasPrefix(line, "Date:") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// TestLinksPerNetwork: neither can they write to many, whichever server they
// ask.
func TestLinksPerNetwork(t *testing.T) {
	limited := withLinks(t, limits(gatebook.LinkLimits{PerNetwork: 3, Per: 10 * time.Minute}))
	w := newWire(t, limited)
	other := newWire(t, func(s *site, c *gatebook.Config) { // another server on the same store
		limited(s, c)
		s.store = w.store
		s.adapter, c.Adapter = s.store, s.store
		c.URL = w.server.URL
	})
	n := 0
	address := func() string { n++; return fmt.Sprintf("user%d@example.com", n) }
	for range 2 {
		w.ask("192.0.2.1", address())
		other.ask("192.0.2.200", address())
	}
	if got := w.mail.count() + other.mail.count(); got != 3 {
		t.Errorf("%d mails, want 3", got)
	}
	if f, ok := other.heard.all()[0].(*gatebook.SignInFailedEvent); !ok || f.Reason != record.ReasonRateLimited || f.Target != "user4@example.com" {
		t.Errorf("heard %v", other.heard.types())
	}
	for _, from := range []string{"192.0.3.1", "2001:db8::1", "127.0.0.1"} {
		w.mail.sent = nil
		for range 4 {
			w.ask(from, address())
		}
		want := 3
		if from == "127.0.0.1" {
			want = 4 // this machine itself
		}
		if got := w.mail.count(); got != want {
			t.Errorf("from %s: %d mails, want %d", from, got, want)
		}
	}
	w.mail.sent = nil
	w.ask("2001:db8:0:ffff::1", address()) // the same /48
	w.ask("2001:db8:1::1", address())
	if got := w.mail.count(); got != 1 {
		t.Errorf("IPv6: %d mails, want 1", got)
	}
	w.mail.sent = nil
	w.clock.advance(10 * time.Minute)
	w.ask("192.0.2.1", address())
	if got := w.mail.count(); got != 1 {
		t.Errorf("later: %d mails, want 1", got)
	}
}

// TestLinksAtOnce: a crowd gets no more than one after the other would.
func TestLinksAtOnce(t *testing.T) {
	for name, tt := range map[string]struct {
		limits gatebook.LinkLimits
		same   bool
		least  int // of the mails that are sent
	}{
		"address": {gatebook.LinkLimits{PerAddress: 3, PerNetwork: -1}, true, 0},
		"network": {gatebook.LinkLimits{PerAddress: -1, PerNetwork: 7}, false, 7},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWire(t, withLinks(t, limits(tt.limits)))
			const crowd = 24
			// Nobody commits before everybody has found room.
			var arrived atomic.Int32
			all := make(chan bool)
			w.spy.before = func(*gatebook.Act) error {
				if arrived.Add(1) == crowd {
					close(all)
				}
				<-all
				return nil
			}
			var wg sync.WaitGroup
			for i := range crowd {
				address := "ada@example.com"
				if !tt.same {
					address = fmt.Sprintf("user%d@example.com", i)
				}
				wg.Go(func() { w.ask("192.0.2.1", address) })
			}
			wg.Wait()
			most := max(tt.limits.PerAddress, tt.limits.PerNetwork)
			if got := w.mail.count(); got > most || got < tt.least {
				t.Errorf("%d mails, want %d to %d", got, tt.least, most)
			}
			for _, e := range w.heard.all() {
				if m := e.Meta(); m.Type != record.TypeSignInFailed || m.Reason != record.ReasonRateLimited {
					t.Errorf("heard %s %s", m.Type, m.Reason)
				}
			}
			if got := len(w.heard.all()) + w.mail.count(); got != crowd {
				t.Errorf("%d mails and refusals, want %d", got, crowd)
			}
			// What was refused leaves no row behind.
			found, err := w.store.Find(t.Context(), gatebook.Query{LinksTo: "ada@example.com"})
			if err != nil || tt.same && len(found.Links) != w.mail.count() {
				t.Errorf("%d rows for %d mails, %v", len(found.Links), w.mail.count(), err)
			}
		})
	}
}

// TestMailOutage: mails that nobody got use up no limit.
func TestMailOutage(t *testing.T) {
	w := newWire(t, withLinks(t, limits(gatebook.LinkLimits{PerAddress: 2})))
	w.mail.err = errors.New("550 down")
	for range 4 {
		if a := w.ask("192.0.2.1", "ada@example.com"); !strings.Contains(a, "error=Configuration") {
			t.Errorf("answer:\n%s", a)
		}
	}
	w.mail.err = nil
	w.ask("192.0.2.1", "ada@example.com")
	if got := w.mail.count(); got != 1 {
		t.Errorf("%d mails, want 1", got)
	}
}

// TestLinkToken: an application's own token is used as it is, unless it can be
// guessed.
func TestLinkToken(t *testing.T) {
	token := "0123456789abcdef%&+"
	w := newWire(t, withLinks(t, func(c *email.Config) {
		c.MaxAge = 5 * time.Minute
		c.GenerateVerificationToken = func() string { return token }
	}))
	w.ask("192.0.2.1", "ada@example.com")
	link := w.mail.link(t)
	if !strings.Contains(link, "&token="+url.QueryEscape(token)+"&") {
		t.Errorf("link %s", link)
	}
	w.clock.advance(5*time.Minute - time.Second)
	w.quiet()
	newBrowser(w.site).get(strings.TrimPrefix(link, w.server.URL))
	w.check("createUser", "signIn")
	for _, bad := range []string{"123456", "", strings.Repeat("a", 513), "0123456789 abcdef", "0123456789abcdé"} {
		token = bad
		w.quiet()
		w.mail.sent = nil
		a := w.ask("192.0.2.1", "new@example.com")
		if f := w.failed(); f.Reason != record.ReasonInternal || !strings.Contains(a, "error=Configuration") {
			t.Errorf("%q: reason %q, answer\n%s", bad, f.Reason, a)
		}
		if w.mail.count() != 0 || len(bad) > 0 && strings.Contains(strings.Join(w.lines.all(), ""), bad) {
			t.Errorf("%q: %d mails, log %q", bad, w.mail.count(), w.lines.all())
		}
	}
}

// TestLinkStoreFails: what cannot be counted is not sent, and leaves no link.
func TestLinkStoreFails(t *testing.T) {
	for name, fails := range map[string]func(gatebook.Query) bool{
		"the address": func(q gatebook.Query) bool { return q.Email != "" },
		"the network": func(q gatebook.Query) bool { return q.Check != [32]byte{} },
		"the links":   func(q gatebook.Query) bool { return q.LinksTo != "" && q.Email == "" },
	} {
		w := newWire(t, nil)
		down := errors.New("down")
		w.spy.find = func(q gatebook.Query) error {
			if fails(q) {
				return down
			}
			return nil
		}
		if a := w.ask("192.0.2.1", "ada@example.com"); !strings.Contains(a, "error=Configuration") {
			t.Errorf("%s: answer\n%s", name, a)
		}
		if f := w.failed(); f.Reason != record.ReasonStoreError {
			t.Errorf("%s: reason %q", name, f.Reason)
		}
		w.spy.find = nil
		found, err := w.store.Find(context.Background(), gatebook.Query{LinksTo: "ada@example.com"})
		if err != nil || len(found.Links) != 0 || w.mail.count() != 0 {
			t.Errorf("%s: links %v, %d mails, %v", name, found.Links, w.mail.count(), err)
		}
	}
}

func TestLinkLimitsChecked(t *testing.T) {
	for want, l := range map[string]gatebook.LinkLimits{
		"PerAddress": {PerAddress: 100}, "PerNetwork": {PerNetwork: 1_000_001}, "Per must": {Per: time.Hour + 1}, "Per ": {Per: -1}} {
		if _, err := l.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s in it", l, err, want)
		}
	}
	got, err := gatebook.LinkLimits{}.Check()
	if diff := cmp.Diff(gatebook.LinkLimits{PerAddress: 5, PerNetwork: 100, Per: 15 * time.Minute}, got); diff != "" || err != nil {
		t.Errorf("defaults %v (-want +got):\n%s", err, diff)
	}
}

// limitless is a mail provider that asks for limits that are none.
type limitless struct{ gatebook.EmailProvider }

func (limitless) LinkLimits() gatebook.LinkLimits { return gatebook.LinkLimits{Per: -1} }

func TestLinkLimitsOfAProvider(t *testing.T) {
	s := newSite(t, nil)
	p, err := email.New(email.Config{From: "a@example.com", Mailer: s.mail})
	if err != nil {
		t.Fatal(err)
	}
	_, err = gatebook.New(gatebook.Config{Secrets: []gatebook.Secret{secret}, Adapter: s.store, Providers: []gatebook.Provider{limitless{p}}})
	if err == nil || !strings.Contains(err.Error(), `"email": LinkLimits: the time Per must be`) {
		t.Errorf("New = %v", err)
	}
}

// TestLinkTheme: mails have the colours of the pages.
func TestLinkTheme(t *testing.T) {
	var got gatebook.Theme
	w := newWire(t, func(s *site, c *gatebook.Config) {
		c.Theme = gatebook.Theme{ColorScheme: "dark", BrandColor: "#ffcc00"}
		withLinks(t, func(c *email.Config) {
			c.Compose = func(l *gatebook.MagicLink) (*email.Message, error) {
				got = l.Theme
				return &email.Message{Text: string(l.URL)}, nil
			}
		})(s, c)
	})
	w.ask("192.0.2.1", "ada@example.com")
	if want := (gatebook.Theme{ColorScheme: "dark", BrandColor: "#ffcc00", ButtonText: "#000000"}); got != want {
		t.Errorf("theme %+v, want %+v", got, want)
	}
}

// TestLinkIsUsedInTheCommitThatTellsOfIt: the link is there while the
// application decides, and goes in the commit that signs in, refuses or finds it
// expired. A commit that fails leaves it usable.
func TestLinkIsUsedInTheCommitThatTellsOfIt(t *testing.T) {
	for name, tt := range map[string]struct {
		deny   bool
		late   time.Duration
		change func(url.Values)
		tells  string // the entry beside which the link goes
		fails  bool   // the first commit does
	}{
		"signs in":        {tells: record.TypeUpdateUser},
		"refuses":         {deny: true, tells: record.TypeSignInFailed},
		"expired":         {late: 24 * time.Hour, tells: record.TypeSignInFailed},
		"another address": {change: func(q url.Values) { q.Set("email", "eve@example.com") }, tells: record.TypeSignInFailed},
		"store down":      {tells: record.TypeUpdateUser, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			strategies(t, func(t *testing.T, strategy string) {
				t.Helper()
				deny := false
				var st *stage
				there := func() bool {
					found, err := st.store.Find(t.Context(), gatebook.Query{LinksTo: "ada@example.com"})
					if err != nil {
						t.Error(err)
					}
					return len(found.Links) == 1
				}
				st = newStage(t, strategy, func(_ *site, c *gatebook.Config) {
					c.Callbacks.SignIn = func(_ context.Context, a *gatebook.SignInAttempt) error {
						if !a.VerificationRequest && !there() {
							t.Error("the link is gone before the application has decided")
						}
						if deny {
							return gatebook.Deny("")
						}
						return nil
					}
				})
				u, err := url.Parse(st.magicLink("ada@example.com", ""))
				if err != nil {
					t.Fatal(err)
				}
				if tt.change != nil {
					q := u.Query()
					tt.change(q)
					u.RawQuery = q.Encode()
				}
				deny = tt.deny
				st.clock.advance(tt.late)
				if tt.fails {
					st.spy.before = func(*gatebook.Act) error { return errors.New("down") }
					newBrowser(st.site).get(u.String())
					if !there() {
						t.Error("a commit that failed used the link up")
					}
				}
				told := false
				st.spy.before = func(act *gatebook.Act) error {
					for _, w := range act.Writes {
						if _, ok := w.(gatebook.UseVerificationToken); ok {
							told = len(act.Entries) > 0 && strings.Contains(string(act.Entries[0].Header), `"type":"`+tt.tells+`"`)
						}
					}
					return nil
				}
				newBrowser(st.site).get(u.String())
				if !told || there() {
					t.Errorf("the link went with its entry: %v; it is there: %v", told, there())
				}
			})
		})
	}
}

// TestMailerErrorQuotesTheLink: whoever reads the log must not be able to open a
// link, however a mailer's error spells it.
func TestMailerErrorQuotesTheLink(t *testing.T) {
	const token = "0123456789abcdef%&+="
	w := newWire(t, withLinks(t, func(c *email.Config) {
		c.GenerateVerificationToken = func() string { return token }
		c.Mailer = quoting{}
	}))
	w.ask("192.0.2.1", "ada@example.com")
	if f := w.failed(); f.Reason != record.ReasonMailFailed {
		t.Errorf("reason %q", f.Reason)
	}
	for _, line := range w.lines.all() {
		if strings.Contains(line, "0123456789abcdef") {
			t.Errorf("the log holds the token: %s", line)
		}
	}
}

// quoting is a mailer whose errors quote the mail.
type quoting struct{}

func (quoting) Send(_ context.Context, m *email.Message) error {
	return fmt.Errorf("550 refused: %s", m.Text)
}

// TestLinkLimitLocksNobodyOut: who is at the limit of links that a stranger asked
// for has one of them that works, or gets another.
func TestLinkLimitLocksNobodyOut(t *testing.T) {
	w := newWire(t, withLinks(t, func(c *email.Config) { c.MaxAge, c.Limits.PerAddress = 5*time.Minute, 2 }))
	for range 3 {
		w.ask("192.0.2.1", "ada@example.com")
	}
	if n := w.mail.count(); n != 2 {
		t.Fatalf("%d mails, want 2", n)
	}
	w.clock.advance(5*time.Minute + time.Second) // they have expired
	w.ask("198.51.100.1", "ada@example.com")
	if n := w.mail.count(); n != 3 {
		t.Errorf("after they expired: %d mails, want 3", n)
	}
}

// TestLinksOfAnotherProvider: links that live longer, of another provider or from
// before MaxAge was turned down, are not taken for new ones for all of their life.
func TestLinksOfAnotherProvider(t *testing.T) {
	w := newWire(t, withLinks(t, func(c *email.Config) { c.MaxAge = 10 * time.Minute }))
	for i := range 5 {
		row := gatebook.VerificationToken{Identifier: "ada@example.com", Hash: fmt.Sprint(i), Expires: w.clock.Now().Add(24 * time.Hour)}
		if err := w.store.Commit(context.Background(), &gatebook.Act{Writes: []gatebook.Write{gatebook.CreateVerificationToken{Token: row}}}); err != nil {
			t.Fatal(err)
		}
	}
	w.clock.advance(time.Hour)
	w.ask("192.0.2.1", "ada@example.com")
	if n := w.mail.count(); n != 1 {
		t.Errorf("%d mails, want 1", n)
	}
}
