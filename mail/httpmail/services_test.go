package httpmail_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"slices"
	"strings"
	"sync"
	"testing"
)

const key = "key-Marker_123"

// got is a mail as a service took it.
type got struct {
	from, to, subject, text, html, link string
	untracked                           bool
}

// emulator is a service that refuses what the real one refuses: another key,
// method, path or type, members that it does not know, and mails that lack
// something.
type emulator struct {
	*httptest.Server
	service emulated

	mu    sync.Mutex
	mails []got
}

// emulated is what is known of a service from its documentation.
type emulated struct {
	path       string
	authorized func(*http.Request) bool
	read       func(*http.Request) (got, error)
	status     int    // of an accepted mail
	accepted   string // its body
	// unauthorized and invalid answer a wrong key and a wrong mail; %s is
	// what the service repeats of the request.
	unauthorized, invalid             string
	unauthorizedStatus, invalidStatus int
	// Codes that an error names for them.
	unauthorizedCode, invalidCode string
}

func newEmulator(t *testing.T, id string) *emulator {
	t.Helper()
	e := &emulator{service: emulators[id]}
	e.Server = httptest.NewServer(http.HandlerFunc(e.serve))
	t.Cleanup(e.Close)
	return e
}

func (e *emulator) serve(w http.ResponseWriter, r *http.Request) {
	s := e.service
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.URL.RequestURI() != s.path:
		http.NotFound(w, r)
		return
	case r.Method != http.MethodPost:
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	case !s.authorized(r):
		w.WriteHeader(s.unauthorizedStatus)
		io.WriteString(w, strings.ReplaceAll(s.unauthorized, "%s", r.Header.Get("Authorization")))
		return
	}
	m, err := s.read(r)
	if err == nil {
		err = m.check()
	}
	if err != nil {
		w.WriteHeader(s.invalidStatus)
		io.WriteString(w, strings.ReplaceAll(s.invalid, "%s", err.Error()+" "+m.to+" secret-link"))
		return
	}
	e.mu.Lock()
	e.mails = append(e.mails, m)
	e.mu.Unlock()
	w.WriteHeader(s.status)
	io.WriteString(w, s.accepted)
}

func (m got) check() error {
	if m.link == "" && (m.subject == "" || m.text == "" || m.html == "") {
		return fmt.Errorf("a member is missing")
	}
	if _, err := mail.ParseAddress(m.from); m.link == "" && err != nil {
		return fmt.Errorf("from is no address")
	}
	if a, err := mail.ParseAddress(m.to); err != nil || a.Address != m.to {
		return fmt.Errorf("to is no address")
	}
	if strings.HasSuffix(m.to, "@refused.example") {
		return fmt.Errorf("to is suppressed")
	}
	return nil
}

// decode reads a JSON body with exactly these members, sorted, into v.
func decode(r *http.Request, members string, v any) error {
	if typ, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || typ != "application/json" {
		return fmt.Errorf("the content type is %q", r.Header.Get("Content-Type"))
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(body, &object); err != nil {
		return err
	}
	if got := strings.Join(slices.Sorted(maps.Keys(object)), " "); got != members {
		return fmt.Errorf("the members are %s", got)
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

func bearer(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer "+key }

func basic(user, password string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		u, p, ok := r.BasicAuth()
		return ok && u == user && p == password
	}
}

// plain reads the body that Resend and Forward Email take.
func plain(r *http.Request) (got, error) {
	var b struct{ From, To, Subject, HTML, Text string }
	err := decode(r, "from html subject text to", &b)
	return got{from: b.From, to: b.To, subject: b.Subject, text: b.Text, html: b.HTML, untracked: true}, err
}

var emulators = map[string]emulated{
	"forwardemail": {
		path: "/v1/emails", authorized: basic(key, ""), read: plain,
		status: 200, accepted: `{"id":"65b2","object":"email","status":"queued"}`,
		unauthorizedStatus: 401, unauthorized: `{"statusCode":401,"error":"Unauthorized","message":"Invalid API token %s."}`,
		invalidStatus: 400, invalid: `{"statusCode":400,"error":"Bad Request","message":"%s"}`,
	},
	"loops": {
		path: "/api/v1/transactional", authorized: bearer,
		read: func(r *http.Request) (got, error) {
			var b struct {
				TransactionalID string `json:"transactionalId"`
				Email           string `json:"email"`
				DataVariables   struct {
					URL string `json:"url"`
				} `json:"dataVariables"`
			}
			err := decode(r, "dataVariables email transactionalId", &b)
			if err == nil && b.TransactionalID != "clfn0k1yg001imo0fdeqg30i8" {
				err = fmt.Errorf("no such template")
			}
			return got{to: b.Email, link: b.DataVariables.URL, untracked: true}, err
		},
		status: 200, accepted: `{"success":true}`,
		unauthorizedStatus: 401, unauthorized: `{"success":false,"message":"Invalid API key %s"}`,
		invalidStatus: 400, invalid: `{"success":false,"path":"email","message":"%s"}`, invalidCode: "email",
	},
	"mailgun": {
		path: "/v3/acme.example/messages", authorized: basic("api", key),
		read: func(r *http.Request) (got, error) {
			typ, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
			if err != nil || typ != "multipart/form-data" {
				return got{}, fmt.Errorf("the content type is %q", r.Header.Get("Content-Type"))
			}
			form, err := multipart.NewReader(r.Body, params["boundary"]).ReadForm(1 << 20)
			if err != nil {
				return got{}, err
			}
			v := func(name string) string { return strings.Join(form.Value[name], "|") }
			m := got{from: v("from"), to: v("to"), subject: v("subject"), text: v("text"), html: v("html"), untracked: v("o:tracking") == "no"}
			if len(form.Value) != 6 || len(form.File) != 0 {
				return m, fmt.Errorf("parameters are not as expected: %v", form.Value)
			}
			return m, nil
		},
		status: 200, accepted: `{"id":"<1@acme.example>","message":"Queued. Thank you."}`,
		unauthorizedStatus: 401, unauthorized: `Forbidden %s`,
		invalidStatus: 400, invalid: `{"message":"%s"}`,
	},
	"postmark": {
		path: "/email", authorized: func(r *http.Request) bool { return r.Header.Get("X-Postmark-Server-Token") == key },
		read: func(r *http.Request) (got, error) {
			if r.Header.Get("Accept") != "application/json" {
				return got{}, fmt.Errorf("accepts %q", r.Header.Get("Accept"))
			}
			var b struct {
				From, To, Subject, TextBody, HTMLBody, MessageStream, TrackLinks string
				TrackOpens                                                       bool
			}
			err := decode(r, "From HtmlBody MessageStream Subject TextBody To TrackLinks TrackOpens", &b)
			if err == nil && b.MessageStream != "outbound" {
				err = fmt.Errorf("no such stream")
			}
			return got{from: b.From, to: b.To, subject: b.Subject, text: b.TextBody, html: b.HTMLBody, untracked: b.TrackLinks == "None" && !b.TrackOpens}, err
		},
		status: 200, accepted: `{"To":"ada@example.com","ErrorCode":0,"Message":"OK"}`,
		unauthorizedStatus: 401, unauthorized: `{"ErrorCode":10,"Message":"No Account or Server API tokens were supplied: %s"}`, unauthorizedCode: "10",
		invalidStatus: 422, invalid: `{"ErrorCode":300,"Message":"%s"}`, invalidCode: "300",
	},
	"resend": {
		path: "/emails", authorized: bearer, read: plain,
		status: 200, accepted: `{"id":"49a3999c-0ce1-4ea6-ab68-afcd6dc2e794"}`,
		unauthorizedStatus: 401, unauthorized: `{"statusCode":401,"name":"invalid_api_key","message":"API key %s is invalid"}`, unauthorizedCode: "invalid_api_key",
		invalidStatus: 422, invalid: `{"statusCode":422,"name":"validation_error","message":"%s"}`, invalidCode: "validation_error",
	},
	"sendgrid": {
		path: "/v3/mail/send", authorized: bearer,
		read: func(r *http.Request) (got, error) {
			type address struct{ Email, Name string }
			type enable struct {
				Enable *bool `json:"enable"`
			}
			var b struct {
				Personalizations []struct{ To []address }
				From             address
				Subject          string
				Content          []struct{ Type, Value string }
				TrackingSettings struct {
					Click enable `json:"click_tracking"`
					Open  enable `json:"open_tracking"`
				} `json:"tracking_settings"`
			}
			err := decode(r, "content from personalizations subject tracking_settings", &b)
			switch {
			case err != nil:
				return got{}, err
			case len(b.Personalizations) != 1 || len(b.Personalizations[0].To) != 1:
				return got{}, fmt.Errorf("not one recipient")
			case len(b.Content) != 2 || b.Content[0].Type != "text/plain" || b.Content[1].Type != "text/html":
				return got{}, fmt.Errorf("text/plain must come first, then text/html")
			case strings.ContainsAny(b.From.Email, "<> "):
				return got{}, fmt.Errorf("from.email is more than an address")
			}
			off := func(e enable) bool { return e.Enable != nil && !*e.Enable }
			from := mail.Address{Name: b.From.Name, Address: b.From.Email}
			return got{from: from.String(), to: b.Personalizations[0].To[0].Email, subject: b.Subject, text: b.Content[0].Value, html: b.Content[1].Value,
				untracked: off(b.TrackingSettings.Click) && off(b.TrackingSettings.Open)}, nil
		},
		status:             202, // and no body
		unauthorizedStatus: 401, unauthorized: `{"errors":[{"message":"The provided authorization grant %s is invalid","field":null,"help":null}]}`,
		invalidStatus: 400, invalid: `{"errors":[{"message":"%s","field":"personalizations.0.to.0.email","help":"x"}]}`, invalidCode: "personalizations.0.to.0.email",
	},
}
