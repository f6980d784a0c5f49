// Package email signs people in with a link sent to their address: a magic link
// works once, for as long as [Config].MaxAge, in whichever browser opens it.
//
//	links, err := email.New(email.Config{From: "Acme <login@acme.example>", Mailer: mailer})
//
// A [Mailer] brings the mail on its way; module mail/smtp has one for SMTP, and
// package mail/httpmail one for each of six services. The package makes the message
// and decides what counts as an address; tokens and links are made, kept and
// checked by package gatebook.
package email

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/mail"
	"regexp"
	"strings"
	"time"

	"github.com/gatebook/gatebook"
)

// DefaultMaxAge is how long a link works when Config does not say, as in
// Auth.js.
const DefaultMaxAge = 24 * time.Hour

// ErrAddress is returned for what is no address that a link may be sent to.
var ErrAddress = errors.New("email: not an e-mail address")

// Mailer sends mail.
type Mailer interface {
	// Send hands m to the mail system and returns when that has taken it or
	// refused it, or when ctx ends. It must not keep m or log its Text and HTML:
	// whoever has the link is signed in. It is called concurrently. Its errors
	// go to the log, so they must quote neither the message nor a password.
	Send(ctx context.Context, m *Message) error
}

// Message is a mail in two forms with the same content.
type Message struct {
	// From and To are one address each, From as configured, possibly with a
	// name: "Acme <login@acme.example>".
	From string
	To   string
	// Subject is one line.
	Subject string
	// Text and HTML hold the link, which is a secret.
	Text string
	HTML string
	// Link is the link alone, for mailers whose text is elsewhere.
	Link gatebook.Secret
}

// String names recipient and subject, and leaves out the secret rest.
func (m Message) String() string { return fmt.Sprintf("mail to %s: %s", m.To, m.Subject) }

// GoString returns what String does, for %#v.
func (m Message) GoString() string { return m.String() }

// LogValue returns what String does, for log/slog.
func (m Message) LogValue() slog.Value { return slog.StringValue(m.String()) }

// Config describes an e-mail provider. From and Mailer are required.
type Config struct {
	// ID is the provider's part of the routes. If empty, "email". Auth.js's id
	// for SMTP is "nodemailer".
	ID string
	// Name is shown to people. If empty, "Email".
	Name string
	// From is the sender, an address with or without a name.
	From string
	// Mailer sends the mails.
	Mailer Mailer
	// MaxAge is how long a link works. If zero, DefaultMaxAge.
	MaxAge time.Duration
	// Limits is how many links are sent.
	Limits gatebook.LinkLimits
	// NormalizeIdentifier brings what somebody typed into the one form of their
	// address, or returns an error that matches ErrAddress when it is none that a
	// link may be sent to, such as that of another company. What it returns goes
	// through the built-in rules (see [Provider.Normalize]) too, so it need not
	// check the form. If nil, only those.
	NormalizeIdentifier func(typed string) (string, error)
	// GenerateVerificationToken makes the secret part of a link: 16 to 512
	// visible characters of ASCII, which nobody can guess: whoever does is signed
	// in. If nil, 32 random bytes.
	GenerateVerificationToken func() string
	// Compose makes the message of a link, in place of the built-in one. From,
	// To and Link are filled in when it leaves them empty.
	Compose func(link *gatebook.MagicLink) (*Message, error)
}

// Provider is a [gatebook.EmailProvider]. It is safe for concurrent use.
type Provider struct{ cfg Config }

var (
	_ gatebook.EmailProvider          = (*Provider)(nil)
	_ gatebook.LinkLimiter            = (*Provider)(nil)
	_ gatebook.VerificationTokenMaker = (*Provider)(nil)
)

var validID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// New returns the provider that c describes, or an error that names the field
// that is wrong.
func New(c Config) (*Provider, error) {
	if c.ID == "" {
		c.ID = "email"
	}
	if c.Name == "" {
		c.Name = "Email"
	}
	if c.MaxAge == 0 {
		c.MaxAge = DefaultMaxAge
	}
	if c.Compose == nil {
		c.Compose = compose
	}
	if !validID.MatchString(c.ID) {
		return nil, fmt.Errorf("email: ID %q must be 1 to 64 letters, digits, '-' and '_'", c.ID)
	}
	if _, err := mail.ParseAddress(c.From); err != nil {
		return nil, fmt.Errorf("email: From %q is no address", c.From)
	}
	if c.Mailer == nil {
		return nil, errors.New("email: Mailer is nil")
	}
	if c.MaxAge < 0 {
		return nil, errors.New("email: MaxAge is negative")
	}
	if _, err := c.Limits.Check(); err != nil {
		return nil, fmt.Errorf("email: Limits: %w", err)
	}
	return &Provider{c}, nil
}

// Info describes the provider.
func (p *Provider) Info() gatebook.ProviderInfo {
	return gatebook.ProviderInfo{ID: p.cfg.ID, Name: p.cfg.Name, Type: gatebook.TypeEmail}
}

// MaxAge is how long a link works.
func (p *Provider) MaxAge() time.Duration { return p.cfg.MaxAge }

// LinkLimits is how many links are sent.
func (p *Provider) LinkLimits() gatebook.LinkLimits { return p.cfg.Limits }

// VerificationToken returns what Config.GenerateVerificationToken makes, or ""
// without one.
func (p *Provider) VerificationToken() (gatebook.Secret, error) {
	if p.cfg.GenerateVerificationToken == nil {
		return "", nil
	}
	token := p.cfg.GenerateVerificationToken()
	if token == "" {
		return "", errors.New("email: GenerateVerificationToken returned nothing")
	}
	return gatebook.Secret(token), nil
}

// address is what browsers accept in an input of type email (HTML Standard,
// 4.10.5.1.5), in lower case.
var address = regexp.MustCompile("^[a-z0-9.!#$%&'*+/=?^_`{|}~-]+@" +
	`[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$`)

// Normalize returns address without white space around it and in lower case,
// cut at the first comma of its domain, as Auth.js does, or an error that
// matches [ErrAddress]. The result has at most 254 bytes (RFC 5321, Section
// 4.5.3.1).
//
// Only ASCII is accepted, where Auth.js brings other letters into Unicode's
// NFKC form: of the many ways to write a letter or an '@' some are equal to one
// mail server and different to another, and a link must not be sent to a
// mailbox other than the one a user has. Browsers do the same: they write
// international domains as xn--, and accept nothing else before the '@'.
//
// With Config.NormalizeIdentifier that is asked first.
func (p *Provider) Normalize(addr string) (string, error) {
	if p.cfg.NormalizeIdentifier != nil {
		var err error
		if addr, err = p.cfg.NormalizeIdentifier(addr); err != nil {
			return "", err
		}
	}
	return normalize(addr)
}

func normalize(addr string) (string, error) {
	s := strings.TrimFunc(addr, func(r rune) bool { return r == '\ufeff' || isSpace(r) })
	s, rest, found := strings.Cut(strings.Map(lowerASCII, s), ",")
	// A comma before the '@' makes two recipients of one.
	if len(s) > 254 || found && strings.Contains(rest, "@") || !address.MatchString(s) || strings.IndexByte(s, '@') > 64 {
		return "", ErrAddress
	}
	return s, nil
}

// lowerASCII leaves alone what is not ASCII, whose lower case may be.
func lowerASCII(r rune) rune {
	if 'A' <= r && r <= 'Z' {
		return r + 'a' - 'A'
	}
	return r
}

// isSpace reports what ECMAScript's trim cuts.
func isSpace(r rune) bool {
	return strings.ContainsRune("\t\n\v\f\r \u00a0\u1680\u2028\u2029\u202f\u205f\u3000", r) || '\u2000' <= r && r <= '\u200a'
}

// Send composes the message of link and hands it to the Mailer.
func (p *Provider) Send(ctx context.Context, link *gatebook.MagicLink) error {
	m, err := p.cfg.Compose(link)
	if err != nil {
		return fmt.Errorf("compose mail: %w", err)
	}
	if m.From == "" {
		m.From = p.cfg.From
	}
	if m.To == "" {
		m.To = link.Address
	}
	if m.Link == "" {
		m.Link = link.URL
	}
	if err := p.cfg.Mailer.Send(ctx, m); err != nil {
		return fmt.Errorf("send mail: %w", err)
	}
	return nil
}
