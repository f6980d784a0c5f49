package authjs_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/gatebook/gatebook/authjs"
)

// An API beside a Next.js application: whoever is signed in there is signed in
// here.
func ExampleReader_Require() {
	reader, err := authjs.NewReader(authjs.Config{
		Secrets: []authjs.Secret{"secret"}, // or AUTH_SECRET of the environment
		Origins: []string{"http://localhost:3000"},
	})
	if err != nil {
		log.Fatal(err)
	}
	api := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := reader.Session(r)
		if err != nil { // not behind Require
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, "hello, %s", s.User.Email)
	})
	server := reader.CORS(reader.Require(api))

	r := httptest.NewRequest("GET", "/api/hello", nil)
	for range 2 {
		w := httptest.NewRecorder()
		server.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Body)
		r.AddCookie(&http.Cookie{Name: "authjs.session-token", Value: vectorCBC})
	}
	// Output:
	// 401 {"error":"sign in first"}
	// 200 hello, ada@example.com
}

// A token by itself: what a queue, a WebSocket or a gRPC call brings.
func ExampleReader_Verify() {
	reader, err := authjs.NewReader(authjs.Config{Secrets: []authjs.Secret{"secret"}})
	if err != nil {
		log.Fatal(err)
	}
	s, err := reader.Verify(vectorV4)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(s.User.ID, s.User.Name, s.Expires, "next-auth", s.Version)
	_, err = reader.Verify("something else")
	fmt.Println(err)
	// Output:
	// 42 Ada 2100-01-01 00:00:00 +0000 UTC next-auth 4
	// authjs: no session: no secret opens the token: it looks like the key of a database session, and only session.strategy "jwt" is read
}

// What the application's jwt callback added to the token.
func ExampleClaim() {
	// Sealed by Auth.js: {"sub":"42","role":"admin","teams":[3,5]}.
	const token = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2Q0JDLUhTNTEyIiwia2lkIjoiN3g5RFVNVmFFVTZnaWFiMGwwT1dEdDRlNFNzUkhfY2J3TW9mMkV6RXl5Nm9uSzVvOHhTUFBCNzk5UlZvcW0ydjZ6Njc0a1FDdjlqb20yVDhTLWExZFEifQ..gbqellwl0uq_E4Y7LZ2kjg.wdOaq5pGR9xUbx5P6Pff_BVb4JcQuM-OmSgL-Vv_DerfmwNvwxw8DWFMA1YGuvgTYeI7cmjiHHlS8bTNPZKxxDKr1b6AwqkRZbQkRegpM9tqtd8i1isZaOaF7z159lt-wvBFXSXv8dcIt28ceEmvUM3SBaspBm-Vj-t7Gup68Zk.5UCdOx484JhwNQxwXAFfWgSe4iNVBxCRKkcNAyTImR0"
	reader, err := authjs.NewReader(authjs.Config{Secrets: []authjs.Secret{"secret"}})
	if err != nil {
		log.Fatal(err)
	}
	s, err := reader.Verify(token)
	if err != nil {
		log.Fatal(err)
	}
	role, _ := authjs.Claim[string](s.Token, "role")
	teams, _ := authjs.Claim[[]int](s.Token, "teams")
	_, ok := authjs.Claim[string](s.Token, "department")
	fmt.Println(role, teams, ok)
	// Output: admin [3 5] false
}
