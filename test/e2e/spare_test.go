//go:build e2e

package e2e

import (
	"testing"
)

// spareDeadline is shorter than what a store may take to answer: a flush that
// waits for a silent one fails. What goes to the spare in time does not.
const spareDeadline = "8s"

// TestSpare takes shard servers from a disk under load, one after the other
// and each in another way: with one spare no request may fail, and what the
// disk holds is in the log.
func TestSpare(t *testing.T) {
	p := newRedisPool(t, 7)
	s := newStack(t, p, "--flush-deadline", spareDeadline)
	s.write(t, "whole")
	used := p.used(t)
	frozen, killed, wiped := p.redis[used[0]], p.redis[used[1]], p.redis[used[2]]
	under := func(what string, harm, heal func()) {
		t.Helper()
		load := start(t, "fio", "--name="+what, "--ioengine=nbd", "--uri="+uri(s.socket), "--bs=16k", "--rw=randwrite", "--size=8m",
			"--iodepth=4", "--time_based", "--runtime=6s", "--fsync=4", "--verify=crc32c", "--verify_state_save=0")
		harm()
		<-load.done
		heal()
		if load.err != nil {
			t.Errorf("writing beside a server that is %s: %v\n%s", what, load.err, tail(load.out.String()))
		}
	}
	under("frozen", frozen.Freeze, frozen.Thaw)
	under("killed", killed.Kill, func() { killed.Restart() })
	under("wiped", func() { wiped.Do("FLUSHALL") }, func() {})
	s.unfailed()
	run(t, "qemu-io", "-f", "raw", "-c", "flush", uri(s.socket))
	image, _ := restore(t, p, "latest")
	equal(t, image, s.image("disk.img"))
}
