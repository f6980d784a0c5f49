package pages_test

import (
	"testing"

	"github.com/gatebook/gatebook/internal/pages"
)

// Two providers and e-mail, as most applications have. Expected to take less
// than 100 µs.
func BenchmarkSignIn(b *testing.B) {
	s := full()
	s.Providers = append(s.Providers[:2:2], s.Providers[3])
	benchmarkSignIn(b, s)
}

// Every kind of form and field: seven providers with five fields.
func BenchmarkSignInFull(b *testing.B) {
	benchmarkSignIn(b, full())
}

func benchmarkSignIn(b *testing.B, s pages.SignIn) {
	b.Helper()
	p := newPages(b, pages.Theme{})
	b.ReportAllocs()
	for b.Loop() {
		p.SignIn(s)
	}
}

func BenchmarkError(b *testing.B) {
	p := newPages(b, pages.Theme{})
	e := pages.Error{Code: "AccessDenied", SignInURL: "https://app.example.com/auth/signin"}
	b.ReportAllocs()
	for b.Loop() {
		p.Error(e)
	}
}
