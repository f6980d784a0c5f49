package providers_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/provider/catalog"
	"github.com/gatebook/gatebook/provider/oauth"
	"github.com/gatebook/gatebook/test/providers"
)

// gatebookAuth is the way to authenticate that a provider does not take which
// takes one only, by whether that is Basic.
var gatebookAuth = map[bool]oauth.ClientAuth{true: oauth.ClientSecretPost, false: oauth.ClientSecretBasic}

// tamper changes the requests to one address on their way.
type tamper struct {
	idp    *providers.Emulator
	at     string
	change func(*http.Request, url.Values)
	done   bool
}

func (m *tamper) RoundTrip(r *http.Request) (*http.Response, error) {
	if "https://"+r.URL.Host+r.URL.Path != m.at {
		return m.idp.RoundTrip(r)
	}
	r = r.Clone(r.Context())
	if r.Body == nil {
		r.Body = http.NoBody
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	m.change(r, form)
	m.done = true
	r.Body = io.NopCloser(strings.NewReader(form.Encode()))
	return m.idp.RoundTrip(r)
}

// startWith is our client of a provider, whose requests go through transport.
func startWith(t *testing.T, id string, transport http.RoundTripper) (*providers.Emulator, gatebook.Provider) {
	t.Helper()
	return start(t, id, func(c *catalog.Client) { c.HTTP = &http.Client{Transport: transport} })
}
