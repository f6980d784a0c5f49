// Command program is the first program of the README: sign-in with GitHub and
// magic links, kept in SQLite.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/sqlite"
	"github.com/gatebook/gatebook/mail/smtp"
	"github.com/gatebook/gatebook/provider/catalog"
	"github.com/gatebook/gatebook/provider/email"
)

func main() {
	db := must(sqlite.Open("site.db"))
	mailer := must(smtp.New(smtp.Config{URL: gatebook.Secret(os.Getenv("SMTP_URL"))}))
	auth := must(gatebook.New(gatebook.Config{ // reads AUTH_SECRET and AUTH_URL
		Adapter: db,
		Providers: []gatebook.Provider{
			must(catalog.GitHub(catalog.Client{})), // reads AUTH_GITHUB_ID and AUTH_GITHUB_SECRET
			must(email.New(email.Config{From: "no-reply@example.com", Mailer: mailer})),
		},
		Events: gatebook.Events{
			CreateUser: func(ctx context.Context, e *gatebook.CreateUserEvent) error {
				log.Printf("welcome, %s", e.User.Email)
				return nil
			},
			SignInFailed: func(ctx context.Context, e *gatebook.SignInFailedEvent) error {
				log.Printf("refused: %s, from %s", e.Reason, e.Request.IP)
				return nil
			},
		},
	}))
	go auth.Run(context.Background())
	home := func(w http.ResponseWriter, r *http.Request) {
		s, _ := auth.Session(r)
		fmt.Fprintf(w, "hello, %s", s.User.Email)
	}
	http.Handle(auth.BasePath()+"/", auth)
	http.Handle("/", auth.Middleware(auth.Require(http.HandlerFunc(home))))
	log.Fatal(http.ListenAndServe("localhost:"+os.Getenv("PORT"), nil))
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
