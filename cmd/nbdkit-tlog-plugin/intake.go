//go:build nbdkit

package main

/*
#include "ring.h"
*/
import "C"

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"tlog/group"
	"tlog/vdisk"
)

// intakeBytes bounds the acknowledged writes that the base does not hold yet.
const intakeBytes = 16 << 20

// intake brings acknowledged writes from the ring in ring.h to the disk. Every
// request but a write has the ring handed over first, by the disk or, if it only
// reads, by its callback: it comes after all that was acknowledged before.
type intake struct {
	disk   atomic.Pointer[vdisk.Disk] // nil: not open yet
	mu     sync.Mutex                 // held while writes move, so that they stay in order
	taken  [512]C.struct_tlog_write
	writes [512]vdisk.Write
}

// openIntake makes the ring. A write that finds no room for so long fails.
func openIntake(patience time.Duration) (*intake, error) {
	if errno := C.tlog_ring_init(intakeBytes, C.uint32_t(min(patience.Milliseconds(), 1<<31))); errno != 0 {
		return nil, fmt.Errorf("memory for writes: %w", syscall.Errno(errno))
	}
	return &intake{}, nil
}

// stamp has each write draw its time from a group's clock when it is put.
func (in *intake) stamp(clock *group.Clock) { C.tlog_ring_stamp((*C.uint64_t)(clock.Word())) }

// returned is a vdisk.Config's Returned.
func (in *intake) returned(writes int) { C.tlog_ring_done(C.int(writes)) }

// gather is a vdisk.Config's Gather.
func (in *intake) gather() {
	if d := in.disk.Load(); d != nil {
		in.handOver(d)
	}
}

// handOver gives the disk all that is in the ring, and reports whether that was
// anything.
func (in *intake) handOver(d *vdisk.Disk) (any bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for {
		n := int(C.tlog_ring_take(&in.taken[0], C.int(len(in.taken))))
		for i := range in.taken[:n] {
			w := &in.taken[i]
			in.writes[i] = vdisk.Write{Offset: int64(w.offset), Data: unsafe.Slice((*byte)(w.data), int(w.count)), Time: uint64(w.time)}
		}
		d.Accept(in.writes[:n])
		if any = any || n > 0; n < len(in.taken) {
			return any
		}
	}
}

// run logs writes as they come, until the ring is shut.
func (in *intake) run(d *vdisk.Disk) {
	for C.tlog_ring_wait() == 0 {
		in.handOver(d)
		d.Log(context.Background()) // ends, at the latest, when d is closed
	}
}

// refuseWhen shuts the ring when the disk takes no more writes: the callback
// then asks the disk, which says why.
func (in *intake) refuseWhen(halted <-chan struct{}) {
	<-halted
	in.shut()
}

func (in *intake) shut() { C.tlog_ring_shut() }
