//go:build failpoint

package failpoint

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// On reports, at compile time, whether there are failpoints. What is guarded by
// it costs nothing without them.
const On = true

// armed is the point that the environment names; nil: none.
var armed = sync.OnceValue(func() *point {
	name, n, ok := strings.Cut(os.Getenv("TLOG_FAILPOINT"), ":")
	n, how, _ := strings.Cut(n, ":")
	left, err := strconv.ParseInt(n, 10, 64)
	if !ok || err != nil {
		return nil
	}
	p := &point{name: name, stop: how == "stop"}
	p.left.Store(left)
	return p
})

type point struct {
	name string
	stop bool
	left atomic.Int64 // passages, the deadly one included
}

// Here is a point.
func Here(name string) {
	p := armed()
	if p == nil || p.name != name || p.left.Add(-1) != 0 {
		return
	}
	// One write, so that nothing else can come between.
	if p.stop {
		_, _ = os.Stderr.WriteString(fmt.Sprintf("stopped %s\n", name))
		_ = syscall.Kill(syscall.Getpid(), syscall.SIGSTOP)
		return
	}
	_, _ = os.Stderr.WriteString(fmt.Sprintf("failpoint %s\n", name))
	_ = syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
	select {} // not one more step, if the signal takes a moment
}

// If is a point that is passed only if passed holds.
func If(passed bool, name string) {
	if passed {
		Here(name)
	}
}

// Collect collects garbage. What is only kept for the next use goes with the
// second time.
func Collect() {
	runtime.GC()
	runtime.GC()
}

// SegmentBytes is the size of the file store's segments.
func SegmentBytes(n int64) int64 {
	if small, err := strconv.ParseInt(os.Getenv("TLOG_SEGMENT_BYTES"), 10, 64); err == nil {
		return small
	}
	return n
}
