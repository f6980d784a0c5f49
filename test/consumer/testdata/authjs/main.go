// Command consumer is a service that reads sessions and does nothing else.
package main

import (
	"log"
	"net/http"

	"github.com/gatebook/gatebook/authjs"
)

func main() {
	reader, err := authjs.NewReader(authjs.Config{})
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/api/", reader.Require(http.NotFoundHandler()))
}
