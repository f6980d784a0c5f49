// Package mount_test mounts the handler in the routers that people use.
package mount_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/labstack/echo/v4"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/memory"
	"github.com/gatebook/gatebook/provider/credentials"
)

func app(auth func() *gatebook.Auth) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := auth().Session(r)
		if err != nil {
			fmt.Fprint(w, "nobody")
			return
		}
		fmt.Fprintf(w, "hello %s", s.User.ID)
	})
}

var routers = map[string]func(auth *gatebook.Auth, app http.Handler) http.Handler{
	"net/http": func(auth *gatebook.Auth, app http.Handler) http.Handler {
		mux := http.NewServeMux()
		mux.Handle("/auth/", auth)
		mux.Handle("/", auth.Middleware(app))
		mux.Handle("/closed", auth.Middleware(auth.Require(app)))
		return mux
	},
	"the middleware around everything": func(auth *gatebook.Auth, app http.Handler) http.Handler {
		mux := http.NewServeMux()
		mux.Handle("/auth/", auth)
		mux.Handle("/", app)
		mux.Handle("/closed", auth.Require(app))
		return auth.Middleware(mux)
	},
	"chi": func(auth *gatebook.Auth, app http.Handler) http.Handler {
		r := chi.NewRouter()
		r.Use(auth.Middleware)
		r.Handle("/auth/*", auth)
		r.Handle("/", app)
		r.With(auth.Require).Handle("/closed", app)
		return r
	},
	"echo": func(auth *gatebook.Auth, app http.Handler) http.Handler {
		e := echo.New()
		e.Use(echo.WrapMiddleware(auth.Middleware))
		e.Any("/auth/*", echo.WrapHandler(auth))
		e.Any("/", echo.WrapHandler(app))
		e.Any("/closed", echo.WrapHandler(app), echo.WrapMiddleware(auth.Require))
		return e
	},
	"gin": func(auth *gatebook.Auth, app http.Handler) http.Handler {
		gin.SetMode(gin.ReleaseMode)
		r := gin.New()
		r.Any("/auth/*any", gin.WrapH(auth))
		r.Any("/", gin.WrapH(auth.Middleware(app)))
		r.Any("/closed", gin.WrapH(auth.Middleware(auth.Require(app))))
		return r
	},
}

func TestRouters(t *testing.T) {
	for name, router := range routers {
		for _, strategy := range []string{gatebook.StrategyJWT, gatebook.StrategyDatabase} {
			t.Run(name+"/"+strategy, func(t *testing.T) { testRouter(t, router, strategy) })
		}
	}
}

func testRouter(t *testing.T, router func(*gatebook.Auth, http.Handler) http.Handler, strategy string) {
	t.Helper()
	var auth *gatebook.Auth
	var handler http.Handler
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	defer srv.Close()
	password, err := credentials.New(credentials.Config{Authorize: func(_ context.Context, form map[string]string, _ *http.Request) (*gatebook.User, error) {
		if form["password"] != "right" {
			return nil, gatebook.ErrBadCredentials
		}
		return &gatebook.User{ID: "ada"}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	uses, signIns := 0, 0
	auth, err = gatebook.New(gatebook.Config{
		Secrets: []gatebook.Secret{"a secret of more than thirty-two characters"}, URL: srv.URL,
		Adapter: memory.New(), Providers: []gatebook.Provider{password}, Session: gatebook.SessionConfig{Strategy: strategy},
		Events: gatebook.Events{
			Session: func(context.Context, *gatebook.SessionEvent) error { uses++; return nil },
			SignIn:  func(context.Context, *gatebook.SignInEvent) error { signIns++; return nil },
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := auth.CreateUser(t.Context(), gatebook.User{ID: "ada"}); err != nil {
		t.Fatal(err)
	}
	handler = router(auth, app(func() *gatebook.Auth { return auth }))

	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	get := func(path, accept string) (int, string) {
		req, err := http.NewRequest("GET", srv.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", accept)
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		if to := res.Header.Get("Location"); to != "" {
			return res.StatusCode, to
		}
		return res.StatusCode, string(b)
	}
	post := func(path string, form url.Values) string {
		var token struct{ CSRFToken string }
		if _, body := get("/auth/csrf", ""); json.Unmarshal([]byte(body), &token) != nil {
			t.Fatalf("GET csrf = %s", body)
		}
		form.Set("csrfToken", token.CSRFToken)
		res, err := client.PostForm(srv.URL+path, form)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.Header.Get("Location")
	}

	if _, body := get("/", ""); body != "nobody" {
		t.Errorf("before signing in the page says %q", body)
	}
	if code, to := get("/closed", "text/html"); code != 302 || to != "/auth/signin?callbackUrl=%2Fclosed" {
		t.Errorf("a closed page = %d to %q, want the sign-in page", code, to)
	}
	if code, _ := get("/closed", "application/json"); code != 401 {
		t.Errorf("a closed API = %d, want 401", code)
	}
	if to := post("/auth/callback/credentials", url.Values{"password": {"wrong"}}); !strings.Contains(to, "error=CredentialsSignin") {
		t.Errorf("a wrong password leads to %q", to)
	}
	if to := post("/auth/callback/credentials", url.Values{"password": {"right"}, "callbackUrl": {"/closed"}}); to != srv.URL+"/closed" {
		t.Errorf("the right password leads to %q, want the closed page", to)
	}
	uses = 0
	if _, body := get("/closed", "text/html"); body != "hello ada" {
		t.Errorf("the closed page says %q", body)
	}
	if uses != 1 {
		t.Errorf("one request of the application sent session %d times, want once", uses)
	}
	if _, body := get("/auth/session", ""); !strings.Contains(body, `"expires"`) {
		t.Errorf("session = %s", body)
	}
	if uses != 2 || signIns != 1 {
		t.Errorf("session was sent %d times and signIn %d times, want 2 and 1", uses, signIns)
	}
	post("/auth/signout", url.Values{})
	if _, body := get("/", ""); body != "nobody" {
		t.Errorf("after signing out the page says %q", body)
	}
}
