package pages_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/gatebook/gatebook/internal/pages"
)

func Example() {
	p, err := pages.New(pages.Theme{BrandColor: "#1d5443"})
	if err != nil {
		panic(err)
	}
	handler := func(w http.ResponseWriter, r *http.Request) {
		page := p.Error(pages.Error{
			Code:      r.URL.Query().Get("error"),
			SignInURL: "https://app.example.com/auth/signin",
		})
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Content-Security-Policy", page.Policy)
		w.WriteHeader(page.Status)
		w.Write(page.HTML)
	}
	w := httptest.NewRecorder()
	handler(w, httptest.NewRequest(http.MethodGet, "/auth/error?error=AccessDenied", nil))
	fmt.Println(w.Code)
	// Output: 403
}
