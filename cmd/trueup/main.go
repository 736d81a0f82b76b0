// Command trueup applies the desired state in Git to the systems people run.
package main

import (
	"os"

	"trueup.dev/trueup/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
