package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"tlog"
)

// shape is what a round consists of.
type shape struct {
	redis   int    // servers; 0: directories
	fsync   string // of the Redis servers
	least   int    // shards stored before an acknowledgement; 0: all
	segment int    // bytes of a segment of the directories
	servers int    // tlogservers
	writers int    // drivers, each with a vdisk of its own
	disk    bool   // fio through tlognbd besides
	flush   int    // records of an aggregation
	load    load   // of the drivers
	budget  string // memory of a tlogserver; "": its default
}

func (s shape) String() string {
	where := fmt.Sprintf("%d Redis (%s)", s.redis, s.fsync)
	if s.redis == 0 {
		where = "7 directories"
	}
	text := fmt.Sprintf("%s, %d tlogserver, %d drivers", where, s.servers, s.writers)
	if s.least > 0 {
		text += fmt.Sprintf(", acknowledged with %d of %d shards", s.least, dataShards+parityShards)
	}
	if s.disk {
		text += ", fio"
	}
	return text
}

// stats are counted over all rounds.
type stats struct {
	rounds, records, flushes int
	kills                    map[string]int // by kind
	points                   *tally
	cutBytes                 int64
	littered                 int
	baseCuts                 int // losses of the power of a base image
	baseBytes                int64
	zombies                  int // servers that woke in the midst of being taken over from
	restores                 int
	fio                      int           // rounds that it verified
	kept                     usage         // more than at its start, by a server after the faults, at most
	slowest                  time.Duration // to flush everything after the last fault
}

func (s *stats) total() int {
	n := 0
	for _, k := range s.kills {
		n += k
	}
	return n
}

// world is one round: processes, links between them, and what was seen.
type world struct {
	cfg   *config
	seed  uint64
	rng   *rand.Rand // of the round's one goroutine
	dir   string
	shape shape
	stats *stats

	pool    *pool
	servers []*tlogServer
	writers []*writer
	disk    *disk

	launched     atomic.Int64
	incarnations int
	took         func(time.Duration) // told how long each Flush took; nil: nobody asks
	acked        chan struct{}       // capacity 1: a FlushOK was seen

	mu      sync.Mutex
	ledgers map[tlog.VdiskID]*ledger
	errs    []error
}

func newWorld(cfg *config, seed uint64, s *stats) (*world, error) {
	w := &world{cfg: cfg, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), stats: s,
		acked: make(chan struct{}, 1), ledgers: map[tlog.VdiskID]*ledger{}}
	dir, err := os.MkdirTemp("", "tlog-crash-")
	if err != nil {
		return nil, err
	}
	w.dir = dir
	return w, os.Mkdir(filepath.Join(dir, "logs"), 0o700)
}

func (w *world) uuid() (id tlog.UUID) {
	binary.LittleEndian.PutUint64(id[:], w.rng.Uint64()|1)
	return id
}

// violated notes a broken promise.
func (w *world) violated(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.errs = append(w.errs, err)
}

// violations are all that were found in the round.
func (w *world) violations() []error {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := append([]error(nil), w.errs...)
	for _, l := range w.ledgers {
		all = append(all, l.violations()...)
	}
	return all
}

func (w *world) ledger(vdisk tlog.VdiskID) *ledger {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ledgers[vdisk]
}

func (w *world) newLedger(vdisk tlog.VdiskID, size int) *ledger {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := newLedger(vdisk, size, w.acked)
	w.ledgers[vdisk] = l
	return l
}

// must runs a program that must succeed.
func (w *world) must(name string, env []string, program string, args ...string) error {
	out, code, err := w.run(name, env, program, args...)
	if err == nil && code != 0 {
		err = fmt.Errorf("%s %v: exit code %d\n%s", filepath.Base(program), args, code, out)
	}
	return err
}

// progress waits until something more was acknowledged.
func (w *world) progress(most time.Duration) bool {
	select {
	case <-w.acked: // an old one
	default:
	}
	select {
	case <-w.acked:
		return true
	case <-time.After(most):
		return false
	}
}

// moment is the random time before a kill.
func (w *world) moment() {
	<-time.After(time.Duration(1+w.rng.IntN(400)) * time.Millisecond)
}

// addrs are where clients reach the servers, in a random order.
func (w *world) addrs() []string {
	var list []string
	for _, i := range w.rng.Perm(len(w.servers)) {
		list = append(list, w.servers[i].link.addr)
	}
	return list
}

// end kills what is left and removes the files, unless they are wanted.
func (w *world) end(keep bool) {
	for _, c := range w.writers {
		c.kill()
	}
	if w.disk != nil {
		w.disk.end()
	}
	for _, s := range w.servers {
		if s.p != nil {
			s.p.kill()
		}
		s.link.close()
	}
	if w.pool != nil {
		for _, r := range w.pool.redis {
			r.p.signal(contSignal)
			r.p.kill()
		}
	}
	if keep {
		fmt.Println("crash: files are kept in", w.dir)
		return
	}
	_ = os.RemoveAll(w.dir)
}
