// Package session is what a server decides about one vdisk: who may write it,
// which records come next, what is acknowledged and when.
//
// A Machine is fed with events (a client attaches, a batch arrived, records
// became durable) and answers with actions (append, answer, close). It has no
// goroutine, clock, socket or randomness: time arrives inside the events, and
// the same events give the same actions. The shell in package server does what
// the actions say, in their order, and decides nothing.
//
// Invariants:
//
//  1. Records are handed to the log in sequence, without gap or repeat, and
//     only those of the one attached connection, and only after the barrier
//     that carries that client's generation was durable.
//  2. RecvOK(s) is given when every record ≤ s was handed to the log; FlushOK(s)
//     when the log said that every record ≤ s is durable.
//  3. What is remembered is bounded by the number of records that are not yet
//     durable (the shell stops reading on Pause) and a fixed tail behind it.
//
// A Machine is not safe for concurrent use. It keeps headers and hashes of
// records, and the payload of version-1 blocks that came early; the data of all
// others passes through.
package session

import (
	"tlog"
)

// Disk is what a vdisk's genesis says about it.
type Disk struct {
	Size      uint64 // bytes; 0: unknown
	BlockSize uint32 // bytes; of version-1 indices
}

// Head is where a vdisk's log stands: its last record, and who wrote it. The
// zero Head is that of a vdisk without a log.
type Head struct {
	Last       tlog.Sequence
	Chain      tlog.Hash // at Last
	Timestamp  uint64    // of Last, nanoseconds
	Generation tlog.Generation
	Client     tlog.UUID // zero: a version-1 client, or none yet
	Hash       tlog.HashAlgorithm
	// Version-1 numbering: log sequence = Base + (its sequence − First).
	Version1 bool
	Base     tlog.Sequence
	First    uint64
}

// Limits bound what a Machine holds and accepts; zero fields have the defaults.
type Limits struct {
	Unflushed    int    // records received and not durable before reading pauses; 0: 32,768
	EarlyRecords int    // version-1 blocks held that came early; 0: 64
	EarlyBytes   int    // and their data; 0: 1 MiB
	Ahead        uint64 // nanoseconds a timestamp may be ahead of the server's clock; 0: 24 h
	Waiting      int    // connections that wait to attach; 0: 16
}

func (l Limits) withDefaults() Limits {
	if l.Unflushed <= 0 {
		l.Unflushed = 32768
	}
	if l.EarlyRecords <= 0 {
		l.EarlyRecords = 64
	}
	if l.EarlyBytes <= 0 {
		l.EarlyBytes = 1 << 20
	}
	if l.Ahead == 0 {
		l.Ahead = 24 * 3600 * 1e9
	}
	if l.Waiting <= 0 {
		l.Waiting = 16
	}
	return l
}

// keep is how many durable records of a version-1 numbering stay comparable
// with what such a client sends again.
const keep = 256

// Machine is the state of one vdisk at its server.
type Machine struct {
	limits Limits
	disk   Disk
	head   Head          // of what was handed to the log
	done   tlog.Sequence // durable up to here
	past   past          // records behind head that can still be compared

	attached Attach // Conn 0: nobody
	pending  *admission
	waiting  []Attach

	want, forced tlog.Sequence // flush asked for, flush given to the log, up to here
	paused, bye  bool
	early        []Block
	earlyBytes   int

	stopping, dead bool
	out            []Action
}

// admission is an attach whose barrier is on its way.
type admission struct {
	Attach
	head    Head // the log's, once the barrier is durable
	durable bool
	gone    bool // the connection ended meanwhile
}

// New is the machine of a vdisk whose log ends at head, all of it durable.
// recent are the last records before head.Last, if known: a version-1 client
// that sends them again is told apart from one that starts over.
func New(limits Limits, disk Disk, head Head, recent []tlog.Record) *Machine {
	m := &Machine{limits: limits.withDefaults(), disk: disk, head: head, done: head.Last, forced: head.Last}
	m.past.reset(head.Last, head.Chain)
	if n := len(recent); head.Version1 && n > 0 && recent[n-1].Sequence == head.Last {
		m.past.seed(recent[max(0, n-keep):])
	}
	return m
}

// Head is where the log stands, what is not yet durable included.
func (m *Machine) Head() Head { return m.head }

// Durable is the last record known to be durable.
func (m *Machine) Durable() tlog.Sequence { return m.done }

// Idle reports that nobody is attached or about to be, and everything is
// durable: the machine may be forgotten and made again from the log.
func (m *Machine) Idle() bool {
	return m.attached.Conn == 0 && m.pending == nil && len(m.waiting) == 0 && m.done == m.head.Last
}

// Rest gives back the memory of what was remembered. It is called now and then
// while no records come, so that an idle vdisk costs little.
func (m *Machine) Rest() { m.past.rest() }

// Step takes one event and returns what to do, in order. The slice is valid
// until the next Step.
func (m *Machine) Step(e Event) []Action {
	clear(m.out)
	m.out = m.out[:0]
	switch e := e.(type) {
	case Attach:
		m.attach(e)
	case Rechecked:
		m.rechecked(e)
	case BarrierDone:
		m.barrierDone()
	case GiveUp:
		m.giveUp(e)
	case Detached:
		m.detached(e.Conn)
	case Batch:
		m.batch(e)
	case Block:
		m.block(e)
	case Bad:
		m.bad(e)
	case GapTimeout:
		m.gapTimeout(e)
	case ForceFlush:
		m.forceFlush(e)
	case WaitSlaveSync:
		m.waitSlaveSync(e)
	case Bye:
		m.sayBye(e)
	case Committed:
		m.committed(e)
	case Failed:
		m.failed(e)
	case Stop:
		m.stop()
	}
	return m.out
}

func (m *Machine) do(a Action) { m.out = append(m.out, a) }

// from reports whether an event's connection is the attached one; those of
// connections that were closed meanwhile count for nothing.
func (m *Machine) from(c Conn) bool { return c != 0 && c == m.attached.Conn }
