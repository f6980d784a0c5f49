package gatebook_test

import (
	"strings"
	"testing"
)

func TestFirstAndSecondSignIn(t *testing.T) {
	strategies(t, func(t *testing.T, strategy string) {
		t.Helper()
		s := newSite(t, with(strategy))
		s.idp.prove("1", "ada@example.com", true)
		res := s.signIn(s.idp)
		if res.StatusCode != 302 || res.Header.Get("Location") != s.server.URL {
			t.Fatalf("callback = %d to %q, want 302 home\n%s", res.StatusCode, res.Header.Get("Location"), s.log)
		}
		s.check("createUser", "linkAccount", "signIn")
		if got := s.get("/").body; got != "hello ada@example.com" {
			t.Errorf("page says %q", got)
		}
		if got := s.get("/auth/session").body; !strings.HasPrefix(got, `{"user":{"name":"Ada Lovelace","email":"ada@example.com","image":"https://img.example/a.png"},"expires":"`) {
			t.Errorf("session = %s", got)
		}
		s.heard.reset()
		s.client = newClient(t)
		s.signIn(s.idp)
		s.check("signIn")
	})
}
