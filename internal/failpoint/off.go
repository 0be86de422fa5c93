//go:build !failpoint

package failpoint

import "os"

// On reports, at compile time, whether there are failpoints. What is guarded by
// it costs nothing without them.
const On = false

// Here is a point.
func Here(name string) {}

// If is a point that is passed only if passed holds.
func If(passed bool, name string) {}

// Collect collects garbage.
func Collect() {}

// SegmentBytes is the size of the file store's segments.
func SegmentBytes(n int64) int64 { return n }

// Writing notes that bufs are about to be written to f at off.
func Writing(f *os.File, off int64, bufs [][]byte) {}

// Clearing notes that n bytes of f at off are about to become zeroes.
func Clearing(f *os.File, off, n int64) {}

// Synced notes that everything written to f is durable.
func Synced(f *os.File) {}
