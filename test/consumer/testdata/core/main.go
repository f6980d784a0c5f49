// Command consumer is a program as a user of the library writes it.
package main

import (
	"fmt"

	"github.com/gatebook/gatebook"
	"github.com/gatebook/gatebook/book"
	"github.com/gatebook/gatebook/record"
)

func main() {
	fmt.Printf("%T %T %T\n", gatebook.User{}, (*book.Book)(nil), record.Header{})
}
