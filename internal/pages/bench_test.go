package pages_test

import (
	"io"
	"testing"

	"github.com/gatebook/gatebook/internal/pages"
)

// Each of these is expected to take less than 100 µs.

func BenchmarkSignIn(b *testing.B) {
	p, s := newPages(b, pages.Theme{}), full()
	b.ReportAllocs()
	for b.Loop() {
		if err := p.SignIn(io.Discard, s); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkError(b *testing.B) {
	p := newPages(b, pages.Theme{})
	e := pages.Error{Code: "AccessDenied", SignInURL: "https://app.example.com/auth/signin"}
	b.ReportAllocs()
	for b.Loop() {
		if err := p.Error(io.Discard, e); err != nil {
			b.Fatal(err)
		}
	}
}
