// Command consumer is a program as a user of the library writes it.
package main

import (
	"fmt"

	"github.com/gatebook/gatebook/record"
)

func main() {
	fmt.Println(record.Header{})
}
