package demo

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gatebook/gatebook/provider/email"
)

const mailFolder = "mail"

// mailbox receives every mail of the demo: a file each, so that a mail which
// was sent is there whatever becomes of the server.
type mailbox struct{ dir string }

var _ email.Mailer = mailbox{}

// mail is a received mail.
type mail struct {
	ID      string `json:"-"` // the file's name without ending; later ones sort later
	At      time.Time
	To      string
	Subject string
	Text    string
	HTML    string
}

// maxMails is how many are kept, and maxMailBytes how large one may be.
const (
	maxMails     = 100
	maxMailBytes = 64 << 10
)

var mailID = regexp.MustCompile(`^[0-9]{8}T[0-9]{6}\.[0-9]{6}-[A-Z2-7]{26}$`)

// Send implements [email.Mailer].
func (m mailbox) Send(_ context.Context, msg *email.Message) error {
	now := time.Now().UTC()
	b, err := json.Marshal(mail{At: now, To: msg.To, Subject: msg.Subject, Text: msg.Text, HTML: msg.HTML})
	if err != nil {
		return err
	}
	name := filepath.Join(m.dir, now.Format("20060102T150405.000000")+"-"+rand.Text())
	// Renamed when it is whole: a reader never sees half a mail.
	if err := os.WriteFile(name+".part", b, 0o600); err != nil {
		return err
	}
	if err := os.Rename(name+".part", name+".json"); err != nil {
		return err
	}
	ids, err := m.ids()
	if err != nil {
		return err
	}
	for _, id := range ids[min(len(ids), maxMails):] {
		_ = os.Remove(filepath.Join(m.dir, id+".json")) // another Send may have been first
	}
	return nil
}

// ids returns the ids of all mails, newest first.
func (m mailbox) ids() ([]string, error) {
	files, err := os.ReadDir(m.dir)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, f := range files {
		if id, ok := strings.CutSuffix(f.Name(), ".json"); ok && mailID.MatchString(id) {
			ids = append(ids, id)
		}
	}
	slices.Reverse(ids) // ReadDir sorts by name, and names begin with the time
	return ids, nil
}

// errNoMail says that there is no such mail.
var errNoMail = errors.New("demo: no such mail")

func (m mailbox) get(id string) (*mail, error) {
	if !mailID.MatchString(id) {
		return nil, errNoMail
	}
	f, err := os.Open(filepath.Join(m.dir, id+".json")) //nolint:gosec // G703: the id has the form of one, without separators
	if errors.Is(err, os.ErrNotExist) {
		return nil, errNoMail
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	one := &mail{ID: id}
	if err := json.NewDecoder(io.LimitReader(f, maxMailBytes)).Decode(one); err != nil {
		return nil, fmt.Errorf("read mail %s: %w", id, err)
	}
	return one, nil
}

// list returns at most n mails, newest first. One that was removed meanwhile is
// left out.
func (m mailbox) list(n int) ([]*mail, error) {
	ids, err := m.ids()
	if err != nil {
		return nil, err
	}
	var all []*mail
	for _, id := range ids[:min(len(ids), n)] {
		one, err := m.get(id)
		if errors.Is(err, errNoMail) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

var linkForm = regexp.MustCompile(`https?://[^\s<>"]+`)

// link returns the address in a mail's text, or "".
func (m *mail) link() string { return linkForm.FindString(m.Text) }

// signInByMail does what a visitor does who asks for a magic link and opens it,
// without a browser. It returns nil when the answer to the open link arrived.
func signInByMail(ctx context.Context, site, dir, address string) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{DisableKeepAlives: true} // loopback: no proxy
	client := &http.Client{Transport: transport, Jar: jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	var csrf struct{ CSRFToken string }
	if err := fetch(ctx, client, http.MethodGet, site+"/auth/csrf", nil, &csrf); err != nil {
		return fmt.Errorf("get the CSRF token: %w", err)
	}
	form := url.Values{"csrfToken": {csrf.CSRFToken}, "email": {address}}
	if err := fetch(ctx, client, http.MethodPost, site+"/auth/signin/"+emailID, form, nil); err != nil {
		return fmt.Errorf("ask for the link: %w", err)
	}
	mails, err := mailbox{filepath.Join(dir, mailFolder)}.list(maxMails)
	if err != nil {
		return err
	}
	for _, m := range mails {
		if m.To == address && m.link() != "" {
			if err := fetch(ctx, client, http.MethodGet, m.link(), nil, nil); err != nil {
				return fmt.Errorf("open the link: %w", err)
			}
			return nil
		}
	}
	return errNoMail
}

// fetch makes a request; into, if not nil, is filled from the JSON answer.
func fetch(ctx context.Context, c *http.Client, method, to string, form url.Values, into any) error {
	r, err := http.NewRequestWithContext(ctx, method, to, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	r.Header.Set("User-Agent", "the demo's visitor")
	res, err := c.Do(r)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // without the address, which may hold a link's token
		}
		return err
	}
	defer res.Body.Close()
	if res.StatusCode >= 400 {
		return fmt.Errorf("status %d", res.StatusCode)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(into)
}
