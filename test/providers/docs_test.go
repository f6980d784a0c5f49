package providers_test

import (
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/provider/catalog"
	"github.com/gatebook/gatebook/provider/oauth"
	"github.com/gatebook/gatebook/test/providers"
)

// TestGuide keeps the table of docs/providers.md equal to what a sign-in at each
// provider of the catalog does.
func TestGuide(t *testing.T) {
	b, err := os.ReadFile("../../docs/providers.md")
	if err != nil {
		t.Fatal(err)
	}
	var got [][]string
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "| `") {
			var row []string
			for cell := range strings.SplitSeq(strings.Trim(line, "|\n "), "|") {
				row = append(row, strings.ReplaceAll(strings.TrimSpace(cell), "`", ""))
			}
			got = append(got, row)
		}
	}
	var want [][]string
	for _, id := range ids(t) {
		want = append(want, guideRow(t, id))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the table (-provider +guide):\n%s", diff)
	}
	for _, id := range ids(t) {
		if !strings.Contains(string(b), "\n### "+heading(t, id)) && !strings.Contains(string(b), ", "+heading(t, id)) {
			t.Errorf("%s has no section of its own", id)
		}
	}
}

func heading(t *testing.T, id string) string {
	t.Helper()
	_, p := start(t, id, nil)
	return p.Info().Name
}

// guideRow signs Ada in and returns the row that tells of it.
func guideRow(t *testing.T, id string) []string {
	t.Helper()
	idp, p := start(t, id, nil)
	b := newSite(t, p, gatebook.StrategyJWT).newBrowser(t)
	to := b.begin(id)
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	reply, err := idp.Visit(to, providers.Consent)
	if err != nil {
		t.Fatal(err)
	}
	b.comeBack(reply)
	if catalog.HTTPSOnly(id) != idp.HTTPSOnly {
		t.Errorf("%s: the catalog says that it wants https only: %v", id, catalog.HTTPSOnly(id))
	}
	env := []string{oauth.EnvName(id, "ID"), oauth.EnvName(id, "SECRET")}
	if _, err := catalog.New(id, catalog.Client{ID: client, Secret: secret}); err != nil {
		env = append(env, oauth.EnvName(id, "ISSUER"))
	}
	return []string{
		id, p.Info().Name, strings.Join(env, " "), u.Query().Get("scope"), strings.Join(p.(gatebook.RedirectProvider).Checks(), ", "),
		map[string]string{"basic": "header", "post": "body"}[idp.LastToken.Get("auth")],
		map[bool]string{true: "https only", false: "any"}[idp.HTTPSOnly],
		map[bool]string{true: "yes", false: "no"}[idp.Want.Verified],
	}
}

// TestChecksAreMade has each provider's checks in its requests.
func TestChecksAreMade(t *testing.T) {
	for _, id := range ids(t) {
		_, p := start(t, id, nil)
		u, err := url.Parse(newSite(t, p, gatebook.StrategyJWT).newBrowser(t).begin(id))
		if err != nil {
			t.Fatal(err)
		}
		q, checks := u.Query(), p.(gatebook.RedirectProvider).Checks()
		for check, name := range map[string]string{"state": "state", "pkce": "code_challenge", "nonce": "nonce"} {
			if q.Has(name) != slices.Contains(checks, check) {
				t.Errorf("%s: the request has %s: %v, its checks are %v", id, name, q.Has(name), checks)
			}
		}
	}
}
