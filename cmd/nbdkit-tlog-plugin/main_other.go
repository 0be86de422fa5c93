//go:build !nbdkit

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "nbdkit-tlog-plugin: this is a plugin for nbdkit: build it with -tags nbdkit -buildmode=c-shared")
	os.Exit(2)
}
