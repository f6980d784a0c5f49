package passkey_test

import (
	"fmt"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/adapter/memory"
	"github.com/gatebook/gatebook/passkey"
)

func ExampleNew() {
	passkeys, err := passkey.New(passkey.Config{RPName: "Acme"})
	if err != nil {
		fmt.Println(err)
		return
	}
	auth, err := gatebook.New(gatebook.Config{
		URL:       "https://app.example.com",
		Secrets:   []gatebook.Secret{"what `gatebook secret` makes, 32 characters"},
		Providers: []gatebook.Provider{passkeys}, // beside others, with which people sign up
		Adapter:   memory.New(),                  // a database, outside tests
	})
	fmt.Println(auth != nil, err)
	// Output: true <nil>
}
