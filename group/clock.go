package group

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync/atomic"
	"time"
	"unsafe"

	"tlog"
)

// The file of a clock, one page, little-endian:
//
//	off size field
//	  0    8 magic "TLOGGRP\n"
//	  8    4 version, 1
//	 12    4 CRC-32C of bytes 16 … 255
//	 16   16 random: of this clock
//	 32    8 created, seconds since 1970 UTC
//	 40   36 boot of the host, as text, zero-padded
//	 76    4 length of the name
//	 80  128 name, zero-padded
//	256    8 last value given, nanoseconds since 1970 UTC; changed atomically
//	320    8 attachments so far; changed atomically
//
// Bytes 0 … 255 do not change once the file has its name.
const (
	clockSize   = 4096
	clockMagic  = "TLOGGRP\n"
	offVersion  = 8
	offSum      = 12
	offRandom   = 16
	offCreated  = 32
	offBoot     = 40
	bootSize    = 36
	offNameSize = 76
	offName     = 80
	endFixed    = 256
	offLast     = 256
	offRuns     = 320
)

// ErrClock says that the file of a clock cannot be used.
var ErrClock = errors.New("group: clock refused")

// Config of a Clock. Dir and Name are needed.
type Config struct {
	Dir  string           // where the group's clock lies; local to the host, and the same for all of its disks
	Name string           // of the group, as a vdisk's
	Now  func() time.Time // nil: time.Now
}

// DefaultDir is where clocks lie for which nothing else was said: memory that
// ends with the host's boot.
const DefaultDir = "/run/tlog/groups"

// CheckName reports what is wrong with a group's name: it is as a vdisk's.
func CheckName(name string) error {
	if err := tlog.VdiskID(name).Check(); err != nil {
		return fmt.Errorf("group: name %q: 1 to 128 of A-Z a-z 0-9 . _ - are allowed", name)
	}
	return nil
}

// Clock is one attachment to a group's clock.
type Clock struct {
	memory []byte // the mapped file
	last   *atomic.Uint64
	now    func() time.Time
	stamp  Stamp
	name   string
}

// Open attaches to the clock of a group, which is made if the host has none
// since it was started. One attachment is for one disk. The clock stays mapped
// until Close; a process that ends without it does no harm.
func Open(cfg Config) (*Clock, error) {
	if err := CheckName(cfg.Name); err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	memory, err := openFile(cfg)
	if err != nil {
		return nil, fmt.Errorf("group %s: %w", cfg.Name, err)
	}
	created := time.Unix(int64(binary.LittleEndian.Uint64(memory[offCreated:])), 0)
	attached := word(memory, offRuns).Add(1) - 1
	return &Clock{
		memory: memory, last: word(memory, offLast), now: cfg.Now,
		stamp: newStamp(cfg.Name, created, attached), name: cfg.Name,
	}, nil
}

// word is an 8-byte word of the mapped file. Other processes change it too,
// with the same atomic instructions.
func word(memory []byte, off int) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(&memory[off]))
}

// Next gives the next value, in nanoseconds since 1970 UTC: the host's time, or
// one more than the last value given if that is higher.
func (c *Clock) Next() uint64 {
	now := uint64(max(c.now().UnixNano(), 1))
	for {
		last := c.last.Load()
		next := max(now, last+1)
		if c.last.CompareAndSwap(last, next) {
			return next
		}
	}
}

// Last is the last value given, to anybody.
func (c *Clock) Last() uint64 { return c.last.Load() }

// Raise makes every later value higher than to. It is for the timestamps that
// the log of a disk that joins has already.
func (c *Clock) Raise(to uint64) {
	for {
		last := c.last.Load()
		if last >= to || c.last.CompareAndSwap(last, to) {
			return
		}
	}
}

// Stamp marks the records of this attachment.
func (c *Clock) Stamp() Stamp { return c.stamp }

// Name is the group's.
func (c *Clock) Name() string { return c.name }

// Word is the address of the last value given, for code in other languages that
// does what Next does: valid until Close.
func (c *Clock) Word() unsafe.Pointer { return unsafe.Pointer(c.last) }

// newFile is the content of a new clock's file. It goes on from the last value
// of the one that it replaces, if any.
func newFile(cfg Config, boot string, last uint64) []byte {
	b := make([]byte, clockSize)
	now := cfg.Now()
	copy(b, clockMagic)
	binary.LittleEndian.PutUint32(b[offVersion:], 1)
	rand.Read(b[offRandom : offRandom+16]) // never fails
	binary.LittleEndian.PutUint64(b[offCreated:], uint64(now.Unix()))
	copy(b[offBoot:offBoot+bootSize], boot)
	binary.LittleEndian.PutUint32(b[offNameSize:], uint32(len(cfg.Name)))
	copy(b[offName:endFixed], cfg.Name)
	binary.LittleEndian.PutUint32(b[offSum:], fixedSum(b))
	binary.LittleEndian.PutUint64(b[offLast:], max(last, uint64(now.UnixNano())))
	return b
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func fixedSum(b []byte) uint32 { return crc32.Checksum(b[offRandom:endFixed], castagnoli) }

// checkFile reports what is wrong with a file that has a clock's name.
func checkFile(b []byte, name string) error {
	size := 0
	if len(b) >= clockSize {
		size = int(binary.LittleEndian.Uint32(b[offNameSize:]))
	}
	switch {
	case len(b) != clockSize || string(b[:len(clockMagic)]) != clockMagic:
		return fmt.Errorf("%w: it is no clock of a group", ErrClock)
	case binary.LittleEndian.Uint32(b[offVersion:]) != 1:
		return fmt.Errorf("%w: version %d: this program knows version 1", ErrClock, binary.LittleEndian.Uint32(b[offVersion:]))
	case binary.LittleEndian.Uint32(b[offSum:]) != fixedSum(b):
		return fmt.Errorf("%w: damaged: stop the disks of the group and remove the file", ErrClock)
	case size > endFixed-offName || string(b[offName:offName+size]) != name:
		return fmt.Errorf("%w: it is the clock of another group", ErrClock)
	}
	return nil
}

// bootOf is the boot in which a checked file was made.
func bootOf(b []byte) string { return string(bytes.TrimRight(b[offBoot:offBoot+bootSize], "\x00")) }
