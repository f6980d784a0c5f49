package httpmail

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/mail"
	"strings"

	"github.com/gatebook/gatebook/provider/email"
)

// service is what is known of a service.
type service struct {
	id, name string
	// host is the address of its API, and regions the addresses elsewhere.
	host    string
	regions map[string]string
	// auth puts the key into a request.
	auth func(r *http.Request, key string)
	// encode makes path and body of a request.
	encode func(c *Config, m *email.Message, from *mail.Address, to string) (path, contentType string, body []byte, err error)
	// code lists where an answer's error code may be.
	code [][]string

	domain   bool // it has Config.Domain
	template bool // it has Config.TransactionalID
}

// services are sorted by id.
var services = []service{
	{
		id: "forwardemail", name: "Forward Email", host: "https://api.forwardemail.net",
		auth: func(r *http.Request, key string) { r.SetBasicAuth(key, "") },
		encode: object("/v1/emails", func(_ *Config, m *email.Message, _ *mail.Address, to string) any {
			return plain{From: m.From, To: to, Subject: m.Subject, HTML: m.HTML, Text: m.Text}
		}),
		code: [][]string{{"code"}},
	},
	{
		id: "loops", name: "Loops", host: "https://app.loops.so", template: true,
		auth: bearer,
		// Subject and text are the template's, which is at Loops.
		encode: func(c *Config, m *email.Message, _ *mail.Address, to string) (string, string, []byte, error) {
			if m.Link == "" {
				return "", "", nil, errors.New("the message has no Link, which is all that Loops sends")
			}
			return encodeJSON("/api/v1/transactional", map[string]any{"transactionalId": c.TransactionalID, "email": to,
				"dataVariables": map[string]string{"url": string(m.Link)}})
		},
		code: [][]string{{"error", "reason"}, {"error", "path"}, {"path"}},
	},
	{
		id: "mailgun", name: "Mailgun", host: "https://api.mailgun.net", domain: true,
		regions: map[string]string{"eu": "https://api.eu.mailgun.net"},
		auth:    func(r *http.Request, key string) { r.SetBasicAuth("api", key) },
		encode:  mailgun,
	},
	{
		id: "postmark", name: "Postmark", host: "https://api.postmarkapp.com",
		auth: func(r *http.Request, key string) { r.Header.Set("X-Postmark-Server-Token", key) },
		encode: object("/email", func(_ *Config, m *email.Message, _ *mail.Address, to string) any {
			return map[string]any{"From": m.From, "To": to, "Subject": m.Subject, "TextBody": m.Text, "HtmlBody": m.HTML,
				"MessageStream": "outbound", "TrackOpens": false, "TrackLinks": "None"}
		}),
		code: [][]string{{"ErrorCode"}},
	},
	{
		id: "resend", name: "Resend", host: "https://api.resend.com",
		auth: bearer,
		encode: object("/emails", func(_ *Config, m *email.Message, _ *mail.Address, to string) any {
			return plain{From: m.From, To: to, Subject: m.Subject, HTML: m.HTML, Text: m.Text}
		}),
		code: [][]string{{"name"}},
	},
	{
		id: "sendgrid", name: "SendGrid", host: "https://api.sendgrid.com",
		auth: bearer,
		encode: object("/v3/mail/send", func(_ *Config, m *email.Message, from *mail.Address, to string) any {
			type address struct {
				Email string `json:"email"`
				Name  string `json:"name,omitempty"`
			}
			off := map[string]bool{"enable": false}
			return map[string]any{
				"personalizations": []any{map[string]any{"to": []address{{Email: to}}}},
				"from":             address{from.Address, from.Name},
				"subject":          m.Subject,
				// The order that SendGrid asks for.
				"content":           []any{map[string]string{"type": "text/plain", "value": m.Text}, map[string]string{"type": "text/html", "value": m.HTML}},
				"tracking_settings": map[string]any{"click_tracking": off, "open_tracking": off},
			}
		}),
		code: [][]string{{"errors", "field"}},
	},
}

// plain is the body that several services take.
type plain struct {
	From    string `json:"from"`
	To      string `json:"to"`
	Subject string `json:"subject"`
	HTML    string `json:"html"`
	Text    string `json:"text"`
}

func bearer(r *http.Request, key string) { r.Header.Set("Authorization", "Bearer "+key) }

// object returns an encode function for a service that takes a JSON object.
func object(path string, body func(*Config, *email.Message, *mail.Address, string) any) func(*Config, *email.Message, *mail.Address, string) (string, string, []byte, error) {
	return func(c *Config, m *email.Message, from *mail.Address, to string) (string, string, []byte, error) {
		return encodeJSON(path, body(c, m, from, to))
	}
}

func encodeJSON(path string, v any) (string, string, []byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return "", "", nil, errors.New("the mail cannot be encoded")
	}
	return path, "application/json", b, nil
}

// mailgun takes a form; the sending domain is part of the path.
func mailgun(c *Config, m *email.Message, from *mail.Address, to string) (string, string, []byte, error) {
	domain := c.Domain
	if domain == "" {
		_, domain, _ = strings.Cut(from.Address, "@")
	}
	if !domainForm.MatchString(domain) {
		return "", "", nil, fmt.Errorf("the sender's domain %q is none: set Domain", domain)
	}
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, field := range [][2]string{{"from", m.From}, {"to", to}, {"subject", m.Subject}, {"html", m.HTML}, {"text", m.Text}, {"o:tracking", "no"}} {
		if err := w.WriteField(field[0], field[1]); err != nil {
			return "", "", nil, errors.New("the mail cannot be encoded")
		}
	}
	if err := w.Close(); err != nil {
		return "", "", nil, errors.New("the mail cannot be encoded")
	}
	return "/v3/" + domain + "/messages", w.FormDataContentType(), b.Bytes(), nil
}

// ForwardEmail returns a Mailer for forwardemail.net.
func ForwardEmail(c Config) (*Mailer, error) { return New("forwardemail", c) }

// Loops returns a Mailer for loops.so. Subject and text of the mail are those of
// a transactional template there, with a data variable url for the link; sender,
// subject and text that package provider/email makes are not sent.
func Loops(c Config) (*Mailer, error) { return New("loops", c) }

// Mailgun returns a Mailer for mailgun.com.
func Mailgun(c Config) (*Mailer, error) { return New("mailgun", c) }

// Postmark returns a Mailer for postmarkapp.com, whose message stream outbound
// it uses.
func Postmark(c Config) (*Mailer, error) { return New("postmark", c) }

// Resend returns a Mailer for resend.com.
func Resend(c Config) (*Mailer, error) { return New("resend", c) }

// SendGrid returns a Mailer for sendgrid.com.
func SendGrid(c Config) (*Mailer, error) { return New("sendgrid", c) }
