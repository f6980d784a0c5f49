// Package smtp sends the mails of package provider/email to an SMTP server (RFC
// 5321).
//
//	mailer, err := smtp.New(smtp.Config{URL: "smtp://user:password@mail.acme.example:587"})
//
// The connection is encrypted, with STARTTLS (RFC 3207) or from its first byte,
// or no mail is sent: what goes over it signs somebody in. Only a server on the
// same machine may do without. Each mail has a connection of its own; there is
// no queue and no second try, because the person is waiting for the link and can
// ask for another.
package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/netip"
	"net/textproto"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
	gosmtp "github.com/wneessen/go-mail/smtp"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/provider/email"
)

// timeout bounds the sending of one mail, from name lookup to acceptance.
const timeout = 30 * time.Second

// Config describes an SMTP server. Only URL is required.
type Config struct {
	// URL is smtp://user:password@host:port or smtps://… . With smtp, port 587
	// unless given, the connection starts in the clear and must change to TLS
	// before anything else is said; with smtps, port 465 unless given, it is TLS
	// from its start. Percent-encode ':', '/', '?', '#', '@' and '%' in user and
	// password. Without a user there is no authentication.
	URL gatebook.Secret
	// TLS is the configuration for TLS, such as a private root. If nil, the
	// system's roots and TLS 1.2 or later.
	TLS *tls.Config
	// InsecurePlaintext sends without encryption when an smtp server offers
	// none. Only for a network in which nobody listens. Servers on loopback
	// addresses need no leave, and a password is sent in the clear to no others.
	InsecurePlaintext bool
	// DialContext makes the connections. If nil, net.Dialer's.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
}

// Mailer is an [email.Mailer]. It is safe for concurrent use.
type Mailer struct {
	host           string
	port           int
	user, password string
	implicitTLS    bool
	policy         gomail.TLSPolicy
	tls            *tls.Config
	dial           func(ctx context.Context, network, address string) (net.Conn, error)
}

var _ email.Mailer = (*Mailer)(nil)

// New returns a Mailer for the server that c describes. It uses no network. Its
// errors do not quote the URL, which has a password.
func New(c Config) (*Mailer, error) {
	u, err := url.Parse(string(c.URL))
	if err != nil || u.Hostname() == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("smtp: URL is not of the form smtp://user:password@host:port")
	}
	m := &Mailer{host: u.Hostname(), dial: c.DialContext, policy: gomail.TLSMandatory}
	switch u.Scheme {
	case "smtp":
		m.port = 587
	case "smtps":
		m.port, m.implicitTLS = 465, true
	default:
		return nil, errors.New("smtp: URL begins with neither smtp:// nor smtps://")
	}
	if p := u.Port(); p != "" {
		if m.port, err = strconv.Atoi(p); err != nil || m.port < 1 || m.port > 65535 {
			return nil, errors.New("smtp: URL has no valid port")
		}
	}
	m.user = u.User.Username()
	m.password, _ = u.User.Password()
	// With implicit TLS there is nothing left to ask the server for.
	if m.implicitTLS || c.InsecurePlaintext || isLoopback(m.host) {
		m.policy = gomail.TLSOpportunistic
	}
	m.tls = &tls.Config{MinVersion: tls.VersionTLS12}
	if c.TLS != nil {
		m.tls = c.TLS.Clone()
	}
	if m.tls.ServerName == "" {
		m.tls.ServerName = m.host
	}
	if m.dial == nil {
		m.dial = new(net.Dialer).DialContext
	}
	return m, nil
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// Error is a failure to send a mail. It quotes nothing that the server said but
// its codes: servers repeat links and addresses when they refuse them.
type Error struct {
	// Step is message, connect (to the end of authentication), from, to or data.
	Step string
	// Code is the server's reply code (RFC 5321, Section 4.2), 0 when it gave
	// none, and Enhanced its enhanced status code (RFC 3463), such as "5.7.8",
	// or "".
	Code     int
	Enhanced string
	// Err is the cause when there is no Code, or nil.
	Err error
}

// Error names the step and the server's codes or the cause.
func (e *Error) Error() string {
	s := "smtp: " + e.Step
	switch {
	case e.Code != 0:
		s += fmt.Sprintf(": server answered %d", e.Code)
		if e.Enhanced != "" {
			s += " " + e.Enhanced
		}
	case e.Err != nil:
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Temporary reports whether the server may accept the same mail later.
func (e *Error) Temporary() bool { return e.Code >= 400 && e.Code < 500 }

// Send sends m. It returns nil when the server has taken it, else an *[Error],
// or an error that wraps ctx's.
func (m *Mailer) Send(ctx context.Context, msg *email.Message) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	out, err := build(msg)
	if err != nil {
		return &Error{Step: "message", Err: err}
	}
	client, err := m.client(ctx)
	if err != nil {
		return &Error{Step: "connect", Err: errors.New("configuration is refused")}
	}
	conn, err := client.DialToSMTPClientWithContext(ctx)
	if err != nil {
		return failure(ctx, "connect", err)
	}
	err = client.SendWithSMTPClient(conn, out)
	_ = client.CloseWithSMTPClient(conn) // QUIT is a courtesy
	if err != nil {
		return failure(ctx, "data", err)
	}
	return nil
}

func (m *Mailer) client(ctx context.Context) (*gomail.Client, error) {
	options := []gomail.Option{
		gomail.WithPort(m.port), gomail.WithTimeout(timeout),
		gomail.WithTLSConfig(m.tls), gomail.WithTLSPolicy(m.policy),
		gomail.WithoutNoop(), gomail.WithoutRset(),
		gomail.WithDialContextFunc(m.dialUntil(ctx)),
	}
	if m.user != "" {
		options = append(options, gomail.WithUsername(m.user), gomail.WithPassword(m.password),
			gomail.WithOpportunisticSMTPAuth(gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthPlain, gomail.SMTPAuthLogin))
	}
	return gomail.NewClient(m.host, options...)
}

// dialUntil returns a dial function whose connections are closed when ctx ends,
// which go-mail itself watches only until it is connected.
func (m *Mailer) dialUntil(ctx context.Context) gomail.DialContextFunc {
	return func(dialCtx context.Context, network, address string) (net.Conn, error) {
		conn, err := m.dial(dialCtx, network, address)
		if err != nil {
			return nil, err
		}
		context.AfterFunc(ctx, func() { _ = conn.Close() })
		if !m.implicitTLS {
			return conn, nil
		}
		secure := tls.Client(conn, m.tls)
		if err := secure.HandshakeContext(dialCtx); err != nil {
			_ = conn.Close()
			return nil, err
		}
		return secure, nil
	}
}

// build makes the message for the wire.
func build(m *email.Message) (*gomail.Msg, error) {
	for field, s := range map[string]string{"From": m.From, "To": m.To, "Subject": m.Subject} {
		// A line break would begin a header of the sender's choice.
		if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' }) {
			return nil, fmt.Errorf("field %s has a control character", field)
		}
	}
	from, err := mail.ParseAddress(m.From)
	if err != nil {
		return nil, errors.New("field From is no address")
	}
	to, err := mail.ParseAddress(m.To)
	if err != nil {
		return nil, errors.New("field To is no address")
	}
	if m.Text == "" {
		return nil, errors.New("field Text is empty")
	}
	out := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	out.FromMailAddress(from)
	out.ToMailAddress(to)
	out.Subject(m.Subject)
	out.SetDate()
	out.SetMessageID()
	// RFC 3834: no answer from an absent reader's mailbox.
	out.SetGenHeader("Auto-Submitted", "auto-generated")
	out.SetBodyString(gomail.TypeTextPlain, m.Text)
	if m.HTML != "" {
		out.AddAlternativeString(gomail.TypeTextHTML, m.HTML)
	}
	return out, nil
}

// errNoTLS is the cause when an smtp server cannot encrypt.
var errNoTLS = errors.New("server offers no STARTTLS, and its address is not on this machine")

var enhanced = regexp.MustCompile(`^[245]\.\d{1,3}\.\d{1,3}\b`)

// failure reduces what go-mail says to what may be told.
func failure(ctx context.Context, step string, err error) error {
	if ctx.Err() != nil {
		return &Error{Step: step, Err: ctx.Err()}
	}
	e := &Error{Step: step}
	var (
		send  *gomail.SendError
		reply *textproto.Error
		dns   *net.DNSError
		cert  *tls.CertificateVerificationError
		op    *net.OpError
	)
	switch {
	case errors.As(err, &send):
		e.Code, e.Enhanced = send.ErrorCode(), send.EnhancedStatusCode()
		switch send.Reason {
		case gomail.ErrSMTPMailFrom, gomail.ErrGetSender:
			e.Step = "from"
		case gomail.ErrSMTPRcptTo, gomail.ErrGetRcpts:
			e.Step = "to"
		}
		if e.Code == 0 {
			e.Err = errors.New("connection broke")
		}
	case errors.As(err, &reply):
		e.Code, e.Enhanced = reply.Code, enhanced.FindString(reply.Msg)
	case errors.As(err, &dns):
		e.Err = dns
	case errors.As(err, &cert):
		e.Err = cert
	case errors.As(err, &op):
		e.Err = op
	case errors.Is(err, gosmtp.ErrUnencrypted):
		e.Err = errors.New("a password would be sent in the clear")
	case strings.Contains(err.Error(), "does not support STARTTLS"):
		e.Err = errNoTLS
	case strings.Contains(strings.ToLower(err.Error()), "auth"):
		e.Err = errors.New("server offers none of SCRAM-SHA-256, PLAIN, LOGIN over this connection")
	default:
		e.Err = errors.New("server answered with no valid SMTP or TLS")
	}
	return e
}
