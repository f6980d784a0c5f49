// Command gatebook signs people in and keeps the book of record.
//
//	gatebook demo     a site, an identity provider and a mailbox on this machine
//	gatebook serve    the sign-in routes, configured by gatebook.yaml
//	gatebook events   what is in the book
//
// `gatebook --help` lists the rest, and `gatebook doctor` says what is in force
// and what is wrong. Programs in Go use the package
// github.com/gatebook/gatebook instead and need this command for its secret and
// events at most.
package main

import (
	"os"

	"github.com/gatebook/gatebook/cmd/gatebook/internal/cli"
)

func main() { os.Exit(cli.Main()) }
