// Package httpmail sends the mails of package provider/email through services
// with an HTTP API: Forward Email, Loops, Mailgun, Postmark, Resend, SendGrid.
//
//	mailer, err := httpmail.Resend(httpmail.Config{Key: key})
//
// With AUTH_RESEND_KEY in the environment, httpmail.Resend(httpmail.Config{}) is
// enough. [New] finds a service by its id, for programs that read ids from a
// configuration. Services that track clicks are asked not to: they would put an
// address of their own in the place of the link.
//
// There is no queue and no second try, because the person is waiting for the
// link and can ask for another.
package httpmail

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/mail"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/provider/email"
)

const (
	// timeout bounds the sending of one mail, from name lookup to the answer.
	timeout = 20 * time.Second
	// maxAnswer is how many bytes of an answer are read, for its error code.
	maxAnswer = 64 << 10
)

// Config is our account at a service. What a service does not use must be empty.
type Config struct {
	// Key is the API key. If empty, the variable AUTH_<ID>_KEY, such as
	// AUTH_RESEND_KEY or AUTH_FORWARDEMAIL_KEY.
	Key gatebook.Secret
	// Domain is Mailgun's sending domain. If empty, that of the sender.
	Domain string
	// Region is "eu" for Mailgun's service in Europe. If empty, the one in the
	// United States.
	Region string
	// TransactionalID names the template at Loops, which has a data variable
	// url. If empty, the variable AUTH_LOOPS_TRANSACTIONAL_ID.
	TransactionalID string
	// URL takes the place of the service's address, scheme and host, for a proxy
	// of yours. Plain http is taken on this machine only.
	URL string
	// Client makes the requests. Its Transport is used, and its Timeout if it is
	// under 20 seconds; redirects are never followed. If nil,
	// http.DefaultTransport.
	Client *http.Client
}

// Mailer is an [email.Mailer]. It is safe for concurrent use.
type Mailer struct {
	s      service
	cfg    Config
	client *http.Client
}

var _ email.Mailer = (*Mailer)(nil)

// IDs returns the ids that [New] knows, sorted.
func IDs() []string {
	ids := make([]string, len(services))
	for i, s := range services {
		ids[i] = s.id
	}
	return ids
}

// New returns a Mailer for the service called id, one of [IDs]. It uses no
// network. Its errors name the field that is wrong and do not quote the key.
func New(id string, c Config) (*Mailer, error) {
	i := slices.IndexFunc(services, func(s service) bool { return s.id == id })
	if i < 0 {
		return nil, fmt.Errorf("httpmail: there is no service %q: it has %s", id, strings.Join(IDs(), ", "))
	}
	s := services[i]
	if c.Key == "" {
		c.Key = gatebook.Secret(os.Getenv(s.env("KEY")))
	}
	if c.TransactionalID == "" && s.template {
		c.TransactionalID = os.Getenv(s.env("TRANSACTIONAL_ID"))
	}
	if wrong := s.wrong(&c); wrong != "" {
		return nil, fmt.Errorf("httpmail: %s: %s", s.name, wrong)
	}
	m := &Mailer{s: s, cfg: c, client: &http.Client{Timeout: timeout,
		// A redirect would take the key and the link somewhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	if c.Client != nil {
		m.client.Transport = c.Client.Transport
		if t := c.Client.Timeout; t > 0 && t < timeout {
			m.client.Timeout = t
		}
	}
	return m, nil
}

// env returns the name of one of the service's variables, as in Auth.js.
func (s *service) env(name string) string { return "AUTH_" + strings.ToUpper(s.id) + "_" + name }

var (
	domainForm   = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$`)
	templateForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)
)

// wrong says what is wrong with c, or nothing, and fills in its URL.
func (s *service) wrong(c *Config) string {
	switch {
	case c.Key == "":
		return "Key is missing: set it or " + s.env("KEY")
	case strings.ContainsFunc(string(c.Key), func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return "Key has characters that no key has, such as a line break"
	case c.Domain != "" && (!s.domain || !domainForm.MatchString(c.Domain)):
		return fmt.Sprintf("Domain %q is no domain, or not for this service", c.Domain)
	case c.Region != "" && s.regions[c.Region] == "":
		return fmt.Sprintf("Region %q is none of this service", c.Region)
	case s.template && !templateForm.MatchString(c.TransactionalID):
		return "TransactionalID is missing or malformed: set it or " + s.env("TRANSACTIONAL_ID")
	case !s.template && c.TransactionalID != "":
		return "TransactionalID is not for this service"
	}
	if c.URL == "" {
		if c.URL = s.host; c.Region != "" {
			c.URL = s.regions[c.Region]
		}
	}
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" ||
		u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		return "URL must be https:// and a host, such as https://api.example.com"
	}
	c.URL = u.Scheme + "://" + u.Host
	return ""
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// Error is a failure to send a mail. It quotes nothing that the service said but
// its codes: services repeat links, addresses and keys when they refuse them.
type Error struct {
	// Service is the service's name.
	Service string
	// Status is the HTTP status of the answer, 0 when there was none.
	Status int
	// Code is the service's own code for what is wrong, at most 64 letters,
	// digits, '_', '-' and '.', or "".
	Code string
	// Err is the cause when there was no answer, or nil.
	Err error
}

// Error names the service and its codes or the cause.
func (e *Error) Error() string {
	s := "httpmail: " + e.Service
	if e.Status != 0 {
		s += fmt.Sprintf(" answered %d", e.Status)
		if e.Code != "" {
			s += " " + e.Code
		}
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Temporary reports whether the service may accept the same mail later.
func (e *Error) Temporary() bool { return e.Status == http.StatusTooManyRequests || e.Status >= 500 }

// Send sends msg. It returns nil when the service has taken it, else an *[Error].
func (m *Mailer) Send(ctx context.Context, msg *email.Message) error {
	r, err := m.request(ctx, msg)
	if err != nil {
		return &Error{Service: m.s.name, Err: err}
	}
	res, err := m.client.Do(r)
	if err != nil {
		return &Error{Service: m.s.name, Err: cause(err)}
	}
	defer res.Body.Close()
	if res.StatusCode >= 200 && res.StatusCode <= 299 {
		return nil
	}
	body, _ := io.ReadAll(io.LimitReader(res.Body, maxAnswer)) // what is missing has no code
	return &Error{Service: m.s.name, Status: res.StatusCode, Code: codeIn(body, m.s.code)}
}

var (
	errTimeout  = fmt.Errorf("no answer in time: %w", context.DeadlineExceeded)
	errNoAnswer = errors.New("no valid HTTP answer")
)

// cause returns what may be told of a request without an answer. net/http quotes
// addresses, and answers that are malformed.
func cause(err error) error {
	var (
		netErr net.Error
		op     *net.OpError
		dns    *net.DNSError
		cert   *tls.CertificateVerificationError
	)
	switch {
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.As(err, &netErr) && netErr.Timeout():
		return errTimeout
	case errors.As(err, &dns):
		return dns
	case errors.As(err, &cert):
		return cert
	case errors.As(err, &op):
		return op
	}
	return errNoAnswer
}

// request makes the request for a mail.
func (m *Mailer) request(ctx context.Context, msg *email.Message) (*http.Request, error) {
	from, err := mail.ParseAddress(msg.From)
	if err != nil {
		return nil, errors.New("the sender is no address")
	}
	to, err := mail.ParseAddress(msg.To)
	if err != nil || to.Name != "" {
		return nil, errors.New("the recipient is no address")
	}
	if strings.ContainsFunc(msg.Subject, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return nil, errors.New("the subject is no single line")
	}
	path, contentType, body, err := m.s.encode(&m.cfg, msg, from, to.Address)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, m.cfg.URL+path, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the address of the service is malformed")
	}
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Accept", "application/json")
	m.s.auth(r, string(m.cfg.Key))
	return r, nil
}

var codeForm = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// codeIn returns the error code that a JSON answer has at one of the given
// places, each a path of member names, or "".
func codeIn(body []byte, places [][]string) string {
	for _, place := range places {
		raw := json.RawMessage(body)
		for _, name := range place {
			var list []json.RawMessage
			if json.Unmarshal(raw, &list) == nil && len(list) > 0 {
				raw = list[0]
			}
			var object map[string]json.RawMessage
			if json.Unmarshal(raw, &object) != nil {
				raw = nil
				break
			}
			raw = object[name]
		}
		code := strings.Trim(string(raw), `"`)
		if codeForm.MatchString(code) && code != "null" {
			return code
		}
	}
	return ""
}
