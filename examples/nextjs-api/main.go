// Command nextjs-api is an API in Go beside a Next.js application on Auth.js,
// which stays as it is: whoever is signed in there is signed in here.
//
//	AUTH_SECRET=... nextjs-api -origin http://localhost:3000
//
// AUTH_SECRET is that of the application. A page of the application calls it with
//
//	fetch("http://localhost:8081/api/hello", { credentials: "include" })
package main

import (
	"encoding/json"
	"flag"
	"log"
	"net/http"
	"time"

	"github.com/gatebook/gatebook/authjs"
)

func main() {
	listen := flag.String("listen", "localhost:8081", "address to listen at")
	origin := flag.String("origin", "http://localhost:3000", "origin of the Next.js application")
	flag.Parse()
	reader, err := authjs.NewReader(authjs.Config{Origins: []string{*origin}})
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Addr: *listen, Handler: newAPI(reader), ReadHeaderTimeout: 10 * time.Second}
	log.Printf("listening at http://%s", *listen)
	log.Fatal(server.ListenAndServe())
}

func newAPI(reader *authjs.Reader) http.Handler {
	hello := func(w http.ResponseWriter, r *http.Request) {
		s, err := reader.Session(r)
		if err != nil { // cannot be behind Require
			http.Error(w, "nobody is signed in", http.StatusUnauthorized)
			return
		}
		role, _ := authjs.Claim[string](s.Token, "role") // what the jwt callback of the application added
		w.Header().Set("Content-Type", "application/json")
		err = json.NewEncoder(w).Encode(map[string]string{"id": s.User.ID, "email": s.User.Email, "role": role})
		if err != nil {
			log.Printf("answer: %v", err)
		}
	}
	mux := http.NewServeMux()
	mux.Handle("/api/hello", reader.CORS(reader.Require(http.HandlerFunc(hello))))
	return mux
}
