// Package credentials signs people in with what they type, checked by the
// application: a name and a password, a licence key, a one-time code.
//
//	passwords, err := credentials.New(credentials.Config{
//		Authorize: func(ctx context.Context, typed map[string]string, r *http.Request) (*gatebook.User, error) {
//			return checkPassword(ctx, typed["email"], typed["password"])
//		},
//	})
//
// It stores and hashes nothing: how passwords are kept is the application's, and
// so is the number of tries it allows. Return an error that matches
// gatebook.ErrBadCredentials for an unknown person and for a wrong password
// alike, and take the same time for both.
package credentials

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"

	"github.com/gatebook/gatebook"
)

// Config describes a credentials provider. Only Authorize is required.
type Config struct {
	// ID is the provider's part of the routes. If empty, "credentials".
	ID string
	// Name is shown to people. If empty, "Credentials".
	Name string
	// Fields are the inputs of the sign-in page. If nil, email and password.
	Fields []gatebook.Field
	// Authorize returns who typed the credentials, which hold every field of the
	// request's form. It returns gatebook.ErrBadCredentials, or a
	// *gatebook.CredentialsError to say more, when they are wrong, gatebook.Deny
	// or gatebook.RedirectTo when this person may not come in, and any other
	// error when it could not find out. A nil user without an error is
	// ErrBadCredentials, as in Auth.js. It is called concurrently.
	Authorize func(ctx context.Context, typed map[string]string, r *http.Request) (*gatebook.User, error)
}

// Provider is a [gatebook.CredentialsProvider]. It is safe for concurrent use.
type Provider struct{ cfg Config }

var _ gatebook.CredentialsProvider = (*Provider)(nil)

var validID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// New returns the provider that c describes, or an error that names the field
// that is wrong.
func New(c Config) (*Provider, error) {
	if c.ID == "" {
		c.ID = "credentials"
	}
	if c.Name == "" {
		c.Name = "Credentials"
	}
	if c.Fields == nil {
		c.Fields = []gatebook.Field{
			{Name: "email", Label: "Email", Type: "email"},
			{Name: "password", Label: "Password", Type: "password"},
		}
	}
	c.Fields = slices.Clone(c.Fields)
	if !validID.MatchString(c.ID) {
		return nil, fmt.Errorf("credentials: ID %q must be 1 to 64 letters, digits, '-' and '_'", c.ID)
	}
	if c.Authorize == nil {
		return nil, errors.New("credentials: Authorize is nil")
	}
	seen := map[string]bool{"": true, "csrfToken": true, "callbackUrl": true}
	for _, f := range c.Fields {
		if seen[f.Name] {
			return nil, fmt.Errorf("credentials: Fields: the name %q is empty, reserved or there twice", f.Name)
		}
		seen[f.Name] = true
	}
	return &Provider{c}, nil
}

// Info describes the provider.
func (p *Provider) Info() gatebook.ProviderInfo {
	return gatebook.ProviderInfo{ID: p.cfg.ID, Name: p.cfg.Name, Type: gatebook.TypeCredentials}
}

// Fields are the inputs of the sign-in page.
func (p *Provider) Fields() []gatebook.Field { return slices.Clone(p.cfg.Fields) }

// Authorize asks Config.Authorize. With an error it returns no user.
func (p *Provider) Authorize(ctx context.Context, typed map[string]string, r *http.Request) (*gatebook.User, error) {
	u, err := p.cfg.Authorize(ctx, typed, r)
	if err != nil {
		return nil, err
	}
	if u == nil {
		return nil, gatebook.ErrBadCredentials
	}
	return u, nil
}
