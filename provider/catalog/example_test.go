package catalog_test

import (
	"errors"
	"fmt"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/provider/catalog"
)

func Example() {
	// With AUTH_GITHUB_ID, AUTH_GITHUB_SECRET and so on in the environment,
	// catalog.Client{} is enough.
	github, err1 := catalog.GitHub(catalog.Client{ID: "Iv1.8a61", Secret: "from-github"})
	google, err2 := catalog.Google(catalog.Client{ID: "1234.apps", Secret: "from-google"})
	if err := errors.Join(err1, err2); err != nil {
		fmt.Println(err)
		return
	}
	for _, p := range []gatebook.Provider{github, google} {
		fmt.Println(p.Info().Name, p.Info().Type)
	}
	// Output:
	// GitHub oauth
	// Google oidc
}
