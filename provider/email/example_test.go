package email_test

import (
	"context"
	"fmt"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/provider/email"
)

// console is a Mailer for development: links are read in the terminal.
type console struct{}

func (console) Send(_ context.Context, m *email.Message) error {
	fmt.Printf("To: %s\nSubject: %s\n", m.To, m.Subject)
	return nil
}

func Example() {
	links, err := email.New(email.Config{From: "Acme <login@acme.example>", Mailer: console{}})
	if err != nil {
		fmt.Println(err)
		return
	}
	address, _ := links.Normalize(" Ada@Example.com")
	err = links.Send(context.Background(), &gatebook.MagicLink{
		Address: address, Host: "app.acme.example", URL: "https://app.acme.example/auth/callback/email?token=1"})
	fmt.Println(err)
	// Output:
	// To: ada@example.com
	// Subject: Sign in to app.acme.example
	// <nil>
}
