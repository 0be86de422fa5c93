//go:build nbdkit

package main

/*
#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>
*/
import "C"

import (
	"context"
	"unsafe"
)

// The callbacks of a disk of the past. A process serves one or a live disk, and
// plugin.c knows which.
var pastDisk *shown

//export tlogShowsPast
func tlogShowsPast() C.int { return truth(settings.moment.when != "") }

//export tlogPastWritable
func tlogPastWritable() C.int { return truth(settings.moment.overlay != "") }

func truth(is bool) C.int {
	if is {
		return 1
	}
	return 0
}

//export tlogPastSize
func tlogPastSize() C.int64_t { return C.int64_t(pastDisk.Size()) }

//export tlogPastRead
func tlogPastRead(buf unsafe.Pointer, count C.uint32_t, offset C.uint64_t) C.int {
	return answer(pastDisk.ReadAt(context.Background(), unsafe.Slice((*byte)(buf), int(count)), int64(offset)))
}

//export tlogPastWrite
func tlogPastWrite(buf unsafe.Pointer, count C.uint32_t, offset C.uint64_t, flags C.uint32_t) C.int {
	return pastForced(flags, pastDisk.WriteAt(context.Background(), unsafe.Slice((*byte)(buf), int(count)), int64(offset)))
}

// tlogPastZero serves trims too.
//
//export tlogPastZero
func tlogPastZero(count C.uint32_t, offset C.uint64_t, flags C.uint32_t) C.int {
	return pastForced(flags, pastDisk.Zero(context.Background(), int64(offset), int64(count)))
}

//export tlogPastFlush
func tlogPastFlush() C.int { return answer(pastDisk.Flush()) }

// pastForced answers a request, after a flush if it asked for force unit access.
func pastForced(flags C.uint32_t, err error) C.int {
	if err == nil && flags&C.NBDKIT_FLAG_FUA != 0 {
		err = pastDisk.Flush()
	}
	return answer(err)
}

//export tlogPastExtents
func tlogPastExtents(count C.uint32_t, offset C.uint64_t, flags C.uint32_t, to *C.struct_nbdkit_extents) C.int {
	extents, err := pastDisk.Extents(int64(offset), int64(count), flags&C.NBDKIT_FLAG_REQ_ONE != 0)
	if err != nil {
		return answer(err)
	}
	for _, e := range extents {
		var kind C.uint32_t
		if e.Hole {
			kind = C.NBDKIT_EXTENT_HOLE | C.NBDKIT_EXTENT_ZERO
		}
		if C.nbdkit_add_extent(to, C.uint64_t(e.Offset), C.uint64_t(e.Length), kind) == -1 {
			return -1
		}
	}
	return 0
}
