// Command leave-authjs stands in front of a Next.js application on Auth.js and
// takes over its sign-in, without a change to the application and without
// signing anybody out. With -back it gives the sign-in back to Auth.js.
//
//	AUTH_SECRET=... AUTH_URL=http://localhost:8080 leave-authjs -app http://localhost:3000
//
// AUTH_SECRET is that of the application, and AUTH_URL the address at which
// visitors know it, which leads here.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os/signal"
	"syscall"
	"time"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/sqlite"
	"github.com/gatebook/gatebook/provider/credentials"
)

func main() {
	listen := flag.String("listen", "localhost:8080", "address to listen at")
	app := flag.String("app", "http://localhost:3000", "address of the Next.js application")
	file := flag.String("book", "book.db", "file of the book")
	back := flag.Bool("back", false, "leave signing in to Auth.js")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *listen, *app, *file, *back); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, listen, app, file string, back bool) (err error) {
	target, err := url.Parse(app)
	if err != nil {
		return err
	}
	book, err := sqlite.OpenBook(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, book.Close()) }()
	auth, err := newAuth(book)
	if err != nil {
		return err
	}
	ran := make(chan error, 1)
	go func() { ran <- auth.Run(ctx) }()

	server := &http.Server{Addr: listen, Handler: front(auth, target, back), ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.ListenAndServe() }()
	log.Printf("listening at http://%s", listen)
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		return err
	}
	if err := <-ran; err != nil {
		return err
	}
	return auth.Close(ctx)
}

// front sends the routes of Auth.js to Gatebook, or to Auth.js with back, what is
// in Go to its handler, and everything else to the application.
func front(auth *gatebook.Auth, app *url.URL, back bool) http.Handler {
	nextjs := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(app)
		r.SetXForwarded() // Auth.js builds its addresses from these
	}}
	mux := http.NewServeMux()
	mux.Handle("/", nextjs)
	mux.Handle("/api/go/hello", auth.Middleware(auth.Require(hello(auth))))
	if !back {
		mux.Handle("/api/auth/", auth)
	}
	return mux
}

// hello is a handler in Go that knows who is signed in, whoever began the session.
func hello(auth *gatebook.Auth) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := auth.Session(r)
		if err != nil { // cannot be behind Require
			http.Error(w, "nobody is signed in", http.StatusUnauthorized)
			return
		}
		role, _ := gatebook.Claim[string](*s.Token, "role")
		w.Header().Set("Content-Type", "application/json")
		err = json.NewEncoder(w).Encode(map[string]string{"id": s.User.ID, "email": s.User.Email, "role": role})
		if err != nil {
			log.Printf("answer: %v", err)
		}
	})
}

// newAuth says in Go what auth.js of the application says: the same providers,
// the same callbacks, the same people.
func newAuth(book *sqlite.Book) (*gatebook.Auth, error) {
	passwords, err := credentials.New(credentials.Config{
		Fields:    []gatebook.Field{{Name: "username", Label: "User name"}, {Name: "password", Label: "Password", Type: "password"}},
		Authorize: authorize,
	})
	if err != nil {
		return nil, err
	}
	return gatebook.New(gatebook.Config{
		BasePath:  "/api/auth", // where Auth.js and its clients expect it
		Providers: []gatebook.Provider{passwords},
		Book:      book.Book,
		Callbacks: gatebook.Callbacks{
			JWT: func(_ context.Context, p *gatebook.JWTParams) (*gatebook.Claims, error) {
				if p.User != nil { // at sign-in
					if err := p.Token.Set("role", p.User.Extra["role"]); err != nil {
						return nil, err
					}
				}
				return &p.Token, nil
			},
			Session: func(_ context.Context, p *gatebook.SessionParams) (*gatebook.Claims, error) {
				user, _ := gatebook.Claim[gatebook.Claims](p.Session, "user")
				role, _ := gatebook.Claim[string](*p.Token, "role")
				if err := user.Set("id", p.Token.String("sub")); err != nil {
					return nil, err
				}
				if err := user.Set("role", role); err != nil {
					return nil, err
				}
				return &p.Session, p.Session.Set("user", user)
			},
		},
	})
}

// people have the ids that Auth.js knows them by.
var people = map[string]gatebook.User{
	"ada": {ID: "1", Name: "Ada Lovelace", Email: "ada@example.com", Extra: map[string]any{"role": "admin"}},
	"bob": {ID: "2", Name: "Bob", Email: "bob@example.com", Extra: map[string]any{"role": "guest"}},
}

// authorize is where a real service compares a hash of the password.
func authorize(_ context.Context, typed map[string]string, _ *http.Request) (*gatebook.User, error) {
	user, ok := people[typed["username"]]
	if !ok || typed["password"] != "right" {
		return nil, gatebook.ErrBadCredentials
	}
	return &user, nil
}
