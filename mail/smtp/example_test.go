package smtp_test

import (
	"fmt"

	"github.com/gatebook/gatebook/mail/smtp"
	"github.com/gatebook/gatebook/provider/email"
)

func Example() {
	// With a real server the address comes from the environment:
	// gatebook.Secret(os.Getenv("SMTP_URL")).
	mailer, err := smtp.New(smtp.Config{URL: "smtp://user:password@mail.acme.example:587"})
	if err != nil {
		fmt.Println(err)
		return
	}
	links, err := email.New(email.Config{From: "Acme <login@acme.example>", Mailer: mailer})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(links.Info().Type, links.MaxAge())
	// Output: email 24h0m0s
}
