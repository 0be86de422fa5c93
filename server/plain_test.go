//go:build !race && !invariants

package server_test

// idleBytes is what an idle vdisk may hold in memory.
const idleBytes = 32 << 10
