//go:build race || invariants

package server_test

// idleBytes is what an idle vdisk may hold in a build that checks: stacks of the
// race detector are larger, and memory that was put back is kept for a while.
const idleBytes = 48 << 10
