package credentials_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/provider/credentials"
)

type authorize = func(context.Context, map[string]string, *http.Request) (*gatebook.User, error)

func TestNew(t *testing.T) {
	nobody := func(context.Context, map[string]string, *http.Request) (*gatebook.User, error) { return nil, nil }
	p, err := credentials.New(credentials.Config{Authorize: nobody})
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	if want := (gatebook.ProviderInfo{ID: "credentials", Name: "Credentials", Type: "credentials"}); p.Info() != want {
		t.Errorf("Info() = %+v, want %+v", p.Info(), want)
	}
	want := []gatebook.Field{{Name: "email", Label: "Email", Type: "email"}, {Name: "password", Label: "Password", Type: "password"}}
	if diff := cmp.Diff(want, p.Fields()); diff != "" {
		t.Errorf("Fields() (-want +got):\n%s", diff)
	}
	p.Fields()[0].Name = "changed"
	if p.Fields()[0].Name != "email" {
		t.Error("Fields() gives out its own slice")
	}
	for want, c := range map[string]credentials.Config{
		"Authorize": {},
		"ID":        {ID: "a b", Authorize: nobody},
		"csrfToken": {Authorize: nobody, Fields: []gatebook.Field{{Name: "csrfToken"}}},
		`"pin"`:     {Authorize: nobody, Fields: []gatebook.Field{{Name: "pin"}, {Name: "pin"}}},
		`""`:        {Authorize: nobody, Fields: []gatebook.Field{{}}},
	} {
		if _, err := credentials.New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New: error %v, want one with %s", err, want)
		}
	}
}

func TestAuthorize(t *testing.T) {
	down := errors.New("database is down")
	ada := &gatebook.User{ID: "1", Name: "Ada"}
	tests := []struct {
		name      string
		authorize authorize
		want      *gatebook.User
		wantErr   error
	}{
		{"right", func(_ context.Context, typed map[string]string, r *http.Request) (*gatebook.User, error) {
			if typed["pin"] != "1234" || r.URL.Path != "/auth/callback/pin" {
				t.Errorf("Authorize got %v, %s", typed, r.URL)
			}
			return ada, nil
		}, ada, nil},
		{"wrong", func(context.Context, map[string]string, *http.Request) (*gatebook.User, error) {
			return nil, &gatebook.CredentialsError{Reason: "unknownUser"}
		}, nil, gatebook.ErrBadCredentials},
		{"nobody", func(context.Context, map[string]string, *http.Request) (*gatebook.User, error) { return nil, nil }, nil, gatebook.ErrBadCredentials},
		{"down", func(context.Context, map[string]string, *http.Request) (*gatebook.User, error) { return ada, down }, nil, down},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := credentials.New(credentials.Config{ID: "pin", Fields: []gatebook.Field{{Name: "pin"}}, Authorize: tt.authorize})
			if err != nil {
				t.Fatalf("New: %v", err)
			}
			got, err := p.Authorize(t.Context(), map[string]string{"pin": "1234"}, httptest.NewRequest("POST", "/auth/callback/pin", nil))
			if got != tt.want || !errors.Is(err, tt.wantErr) {
				t.Errorf("Authorize = %v, %v; want %v, %v", got, err, tt.want, tt.wantErr)
			}
		})
	}
}

func Example() {
	passwords := map[string]string{"ada@example.com": "correct horse"}
	p, err := credentials.New(credentials.Config{
		Authorize: func(_ context.Context, typed map[string]string, _ *http.Request) (*gatebook.User, error) {
			// A real program compares hashes, and takes the same time whether or
			// not it knows the address.
			if password, ok := passwords[typed["email"]]; !ok || password != typed["password"] {
				return nil, gatebook.ErrBadCredentials
			}
			return &gatebook.User{ID: "1", Email: typed["email"]}, nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = p.Authorize(context.Background(), map[string]string{"email": "ada@example.com", "password": "guess"}, nil)
	fmt.Println(err)
	// Output: gatebook: bad credentials
}
