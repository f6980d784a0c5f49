package gatebook_test

import (
	"context"
	"fmt"
	"html/template"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/memory"
	"github.com/gatebook/gatebook/provider/credentials"
)

// loginPage is the whole of a sign-in page. It shows providers of every kind:
// those at another site have no fields, e-mail has one.
var loginPage = template.Must(template.New("login").Parse(`<!doctype html>
<title>Sign in</title>
{{with .ErrorText}}<p role="alert">{{.}}</p>{{end}}
{{range .Providers}}
<form method="post" action="{{.Action}}">
	<input type="hidden" name="csrfToken" value="{{$.CSRFToken}}">
	<input type="hidden" name="callbackUrl" value="{{$.CallbackURL}}">
	{{range .Fields}}<label>{{.Label}} <input type="{{.Type}}" name="{{.Name}}" required></label>{{end}}
	<button>Sign in with {{.Name}}</button>
</form>
{{end}}`))

// signOutButton can stand on any page.
var signOutButton = template.Must(template.New("account").Parse(`
<form method="post" action="{{.SignOutURL}}">
	<input type="hidden" name="csrfToken" value="{{.CSRFToken}}">
	<input type="hidden" name="callbackUrl" value="/">
	<button>Sign out</button>
</form>`))

func newExampleAuth() (*gatebook.Auth, error) {
	password, err := credentials.New(credentials.Config{
		Fields: []gatebook.Field{{Name: "password", Label: "Password", Type: "password"}},
		Authorize: func(context.Context, map[string]string, *http.Request) (*gatebook.User, error) {
			return nil, gatebook.ErrBadCredentials
		},
	})
	if err != nil {
		return nil, err
	}
	return gatebook.New(gatebook.Config{
		Secrets:   []gatebook.Secret{"a secret of more than thirty-two characters"},
		Adapter:   memory.New(),
		Session:   gatebook.SessionConfig{Strategy: gatebook.StrategyJWT},
		Providers: []gatebook.Provider{password},

		Pages: gatebook.Pages{SignIn: "/login", Error: "/login"},
	})
}

// A sign-in page that the application draws itself with html/template.
func ExampleAuth_SignInData() {
	auth, err := newExampleAuth() // with Pages: gatebook.Pages{SignIn: "/login", Error: "/login"}
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.Handle(auth.BasePath()+"/", auth)
	mux.HandleFunc("GET /login", func(w http.ResponseWriter, r *http.Request) {
		data, err := auth.SignInData(w, r)
		if err != nil {
			http.Error(w, "Signing in is not possible at the moment.", http.StatusInternalServerError)
			return
		}
		loginPage.Execute(w, data)
	})
	mux.HandleFunc("GET /account", func(w http.ResponseWriter, r *http.Request) {
		data, err := auth.SignInData(w, r)
		if err != nil {
			http.Error(w, "This page is not available at the moment.", http.StatusInternalServerError)
			return
		}
		signOutButton.Execute(w, data)
	})

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://localhost/login?error=CredentialsSignin&code=credentials", nil))
	for line := range strings.Lines(w.Body.String()) {
		if strings.Contains(line, "alert") || strings.Contains(line, "action") || strings.Contains(line, "label") {
			fmt.Println(strings.TrimSpace(line))
		}
	}
	// Output:
	// <p role="alert">Sign in failed. Check the details you provided are correct.</p>
	// <form method="post" action="http://localhost/auth/callback/credentials">
	// <label>Password <input type="password" name="password" required></label>
}
