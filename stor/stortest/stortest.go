// Package stortest says, as tests, what every shard server must do: the
// contract of stor.Server, sentence by sentence. stor/file, stor/redis and
// stor/memory run it; so does the real Redis.
//
// A server passes when it decides, answers and keeps as the suite expects. What
// only one kind of server can suffer — a torn write, a wrong setting, a lost
// connection — is tested where that kind lives.
package stortest

import (
	"testing"

	"tlog/stor"
)

// Backend makes the servers that the suite tests.
type Backend struct {
	// Open gives a server that was never initialised, with a storage of its
	// own; it must be closed and cleaned up by t.Cleanup. The suite may have
	// closed it by then, so Close must bear a second call.
	Open func(t *testing.T) stor.Server

	// Reopen closes s and opens the same storage again, as after a restart. nil
	// means that nothing outlives the server, and the suite checks only what
	// holds while it is open.
	Reopen func(t *testing.T, s stor.Server) stor.Server
}

// Run runs the suite, each test on a server of its own.
func Run(t *testing.T, b Backend) {
	groups := []struct {
		name  string
		tests map[string]func(*env)
	}{
		{"Init", initTests},
		{"Fence", fenceTests},
		{"Append", appendTests},
		{"Read", readTests},
		{"Async", asyncTests},
	}
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			for name, f := range g.tests {
				t.Run(name, func(t *testing.T) {
					f(&env{T: t, b: b, s: b.Open(t)})
				})
			}
		})
	}
}
