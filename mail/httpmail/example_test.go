package httpmail_test

import (
	"fmt"

	"github.com/gatebook/gatebook/mail/httpmail"
	"github.com/gatebook/gatebook/provider/email"
)

func Example() {
	mailer, err := httpmail.Resend(httpmail.Config{Key: "re_123"}) // or AUTH_RESEND_KEY
	if err != nil {
		fmt.Println(err)
		return
	}
	links, err := email.New(email.Config{ID: "resend", From: "Acme <login@acme.example>", Mailer: mailer})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(links.Info().ID, httpmail.IDs())
	// Output:
	// resend [forwardemail loops mailgun postmark resend sendgrid]
}
