//go:build nbdkit

package main

/*
#cgo LDFLAGS: -Wl,-unresolved-symbols=ignore-all
#define NBDKIT_API_VERSION 2
#include <stdlib.h>
#include <nbdkit-plugin.h>

void tlog_error(const char *msg);
*/
import "C"

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"unsafe"

	"tlog/vdisk"
)

func main() {} // a shared library has none, but Go wants one

// The plugin's state: nbdkit has one plugin in a process, and its callbacks
// carry no pointer of ours before a connection is opened. settings is written
// before nbdkit starts its threads; disk before it accepts a connection.
var (
	settings = newSettings()
	disk     *vdisk.Disk
	writes   *intake

	description sync.Once
	described   *C.char
)

// explain gives nbdkit the text of an error.
func explain(err error) {
	msg := C.CString(err.Error())
	C.tlog_error(msg)
	C.free(unsafe.Pointer(msg))
}

// answer turns a request's error into what nbdkit expects.
func answer(err error) C.int {
	if err == nil {
		return 0
	}
	explain(err)
	C.nbdkit_set_error(C.int(vdisk.Errno(err)))
	return -1
}

// leave ends nbdkit when the disk cannot be attached or closed: its own exit
// code would say nothing.
func leave(err error) {
	explain(err)
	os.Exit(exitCode(err))
}

//export tlogConfig
func tlogConfig(key, value *C.char) C.int {
	return answer(settings.set(C.GoString(key), C.GoString(value)))
}

//export tlogConfigComplete
func tlogConfigComplete() C.int {
	if err := settings.check(); err != nil {
		return answer(err)
	}
	return answer(settings.keepOutput())
}

// tlogAfterFork opens the disk. The sockets are bound by then, so early clients
// wait. nbdkit heeds signals only once it serves, and catching up may take long.
//
//export tlogAfterFork
func tlogAfterFork() C.int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	var err error
	if settings.moment.when != "" {
		if pastDisk, err = settings.show(ctx, log); err != nil {
			leave(err)
		}
		settings.announceMoment(pastDisk)
		return 0
	}
	if writes, err = openIntake(settings.disk.FlushDeadline); err != nil {
		leave(err)
	}
	if disk, err = settings.open(ctx, log, writes); err != nil {
		leave(err)
	}
	writes.disk.Store(disk)
	go writes.run(disk)
	go writes.refuseWhen(disk.Halted())
	settings.announce(disk.Session())
	return 0
}

//export tlogUnload
func tlogUnload() {
	if pastDisk != nil {
		if err := pastDisk.close(); err != nil {
			leave(err)
		}
	}
	if disk == nil {
		return
	}
	writes.shut()
	writes.handOver(disk)
	ctx, cancel := context.WithTimeout(context.Background(), settings.disk.FlushDeadline)
	defer cancel()
	if err := disk.Close(ctx); err != nil {
		leave(err)
	}
}

//export tlogSize
func tlogSize() C.int64_t { return C.int64_t(disk.Size()) }

// tlogDescription says which vdisk this is, so that a restore does not write to
// the disk that it reads. The text is kept: nbdkit copies it when it wants.
//
//export tlogDescription
func tlogDescription() *C.char {
	description.Do(func() {
		text := ""
		if disk != nil {
			text = fmt.Sprintf("vdisk %s (tlog %v)", settings.disk.Vdisk, disk.Session().VdiskUUID)
		}
		described = C.CString(text)
	})
	return described
}

// visible is the disk with all that was acknowledged, for what only reads.
func visible() *vdisk.Disk {
	if writes.handOver(disk) {
		disk.LogSoon()
	}
	return disk
}

//export tlogRead
func tlogRead(buf unsafe.Pointer, count C.uint32_t, offset C.uint64_t) C.int {
	_, err := visible().ReadAt(unsafe.Slice((*byte)(buf), int(count)), int64(offset))
	return answer(err)
}

// tlogWrite takes what the ring refuses.
//
//export tlogWrite
func tlogWrite(buf unsafe.Pointer, count C.uint32_t, offset C.uint64_t, flags C.uint32_t) C.int {
	ctx := context.Background()
	return fua(ctx, flags, disk.WriteAt(ctx, unsafe.Slice((*byte)(buf), int(count)), int64(offset)))
}

//export tlogFlush
func tlogFlush() C.int { return answer(disk.Flush(context.Background())) }

//export tlogTrim
func tlogTrim(count C.uint32_t, offset C.uint64_t, flags C.uint32_t) C.int {
	ctx := context.Background()
	return fua(ctx, flags, disk.Trim(ctx, int64(offset), int64(count)))
}

//export tlogZero
func tlogZero(count C.uint32_t, offset C.uint64_t, flags C.uint32_t) C.int {
	ctx := context.Background()
	return fua(ctx, flags, disk.Zero(ctx, int64(offset), int64(count), flags&C.NBDKIT_FLAG_MAY_TRIM != 0))
}

// fua answers a request, after a flush if it asked for force unit access.
func fua(ctx context.Context, flags C.uint32_t, err error) C.int {
	if err == nil && flags&C.NBDKIT_FLAG_FUA != 0 {
		err = disk.Flush(ctx)
	}
	return answer(err)
}

//export tlogExtents
func tlogExtents(count C.uint32_t, offset C.uint64_t, flags C.uint32_t, to *C.struct_nbdkit_extents) C.int {
	extents, err := visible().Extents(int64(offset), int64(count), flags&C.NBDKIT_FLAG_REQ_ONE != 0)
	if err != nil {
		return answer(err)
	}
	for _, e := range extents {
		var kind C.uint32_t
		if e.Hole {
			kind |= C.NBDKIT_EXTENT_HOLE
		}
		if e.Zero {
			kind |= C.NBDKIT_EXTENT_ZERO
		}
		if C.nbdkit_add_extent(to, C.uint64_t(e.Offset), C.uint64_t(e.Length), kind) == -1 {
			return -1
		}
	}
	return 0
}
