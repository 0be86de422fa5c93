package server_test

import (
	"fmt"
	"runtime"
	"testing"

	"tlog"
	"tlog/schema"
	"tlog/server"
)

func held() int64 {
	runtime.GC()
	runtime.GC() // pools let go of their victims
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// An attached, idle client costs the server a few KiB and two goroutines.
func TestIdleVdisksCostLittle(t *testing.T) {
	const vdisks = 100
	r := start(t, newStore(t), func(c *server.Config) { c.Logger = nil })
	memory, routines := held(), runtime.NumGoroutine()
	peers := make([]*peer, vdisks)
	for i := range peers {
		peers[i] = dial(t, r.addr)
		id := fmt.Sprintf("v%d", i)
		h := makeHistory(tlog.VdiskID(id), 2, 4096)
		peers[i].attach(schema.Hello{Vdisk: id, Client: alice})
		peers[i].batch(h, 1, 2)
		peers[i].command(schema.MsgForceFlush, 2)
		peers[i].until(tlog.StatusFlushOK, 2)
	}
	for _, p := range peers {
		p.r = nil // the client's own buffers
	}
	if each := (held() - memory) / vdisks; each > idleBytes {
		t.Errorf("%d bytes for each idle vdisk, want at most %d, as garbage comes on top of it", each, idleBytes)
	} else {
		t.Logf("%d bytes for each idle vdisk", each)
	}
	if each := float64(runtime.NumGoroutine()-routines) / vdisks; each > 2.5 {
		t.Errorf("%.1f goroutines for each idle vdisk, want 2", each)
	}
}
