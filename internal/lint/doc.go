// Package lint holds the rules of this tree that the compiler does not know,
// as a test: which package may import which, where each foreign library lives,
// calls that are banned, sizes, names, and documentation. `go test
// ./internal/lint` prints every violation as file:line: rule: what is wrong.
//
// It reads source files, whatever their build tags. Generated files
// (*.capnp.go) and internal/deps are not looked at.
package lint
