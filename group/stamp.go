package group

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"
)

// Stamp says by which clock a record was stamped; it is the record's Group.
//
//	bits  field
//	63-36 name: of the group, as 28 bits of a hash; never 0
//	35- 8 created: when the clock was made, in seconds since 1970 UTC, modulo 2^28
//	 7- 0 run: the attachment of one disk to the clock, 1 to 255 in turn; 0 in the
//	      last record of an attachment that ended in order
//
// Zero is no stamp. Records with equal stamps in one log were stamped by one
// process, by one clock.
type Stamp uint64

const (
	createdBits = 28
	runBits     = 8
	runs        = 1<<runBits - 1
)

// NameID is the part of a stamp that a group's name gives, 1 to 2^28-1: so a
// reader who knows the name can tell which logs are of the group.
func NameID(name string) uint32 {
	sum := sha256.Sum256([]byte(name))
	return max(1, binary.LittleEndian.Uint32(sum[:])>>4)
}

// newStamp is the stamp of the n-th attachment, from 0, to a clock made at created.
func newStamp(name string, created time.Time, n uint64) Stamp {
	return Stamp(uint64(NameID(name))<<(createdBits+runBits) |
		uint64(created.Unix())&(1<<createdBits-1)<<runBits | n%runs + 1)
}

// Of reports whether the stamp is of the group with that name.
func (s Stamp) Of(name string) bool { return s != 0 && s.Name() == NameID(name) }

// Name is the group's NameID; 0: no stamp.
func (s Stamp) Name() uint32 { return uint32(s >> (createdBits + runBits)) }

// SameClock reports whether both were made with one clock.
func (s Stamp) SameClock(o Stamp) bool { return s>>runBits == o>>runBits }

// Closed is the stamp of the last record of an attachment that ends in order.
func (s Stamp) Closed() Stamp { return s &^ runs }

// IsClosed reports whether the disk was detached in order after this record:
// every write that it acknowledged is in its log up to here.
func (s Stamp) IsClosed() bool { return s != 0 && s&runs == 0 }

// Created is when the clock was made, to the second, given the timestamp of a
// record that it stamped (nanoseconds since 1970 UTC).
func (s Stamp) Created(timestamp uint64) time.Time {
	const turn = 1 << createdBits
	sec := int64(timestamp / uint64(time.Second))
	back := (sec - int64(s>>runBits)) % turn
	if back < 0 {
		back += turn
	}
	return time.Unix(sec-back, 0)
}

// String shows the parts, as "group 1a2b3c4, clock 5d6e7f8, run 9".
func (s Stamp) String() string {
	if s == 0 {
		return "no group"
	}
	return fmt.Sprintf("group %07x, clock %07x, run %d", s.Name(), uint64(s>>runBits)&(1<<createdBits-1), uint64(s&runs))
}
