package sim

import (
	"container/heap"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"time"

	"tlog"
	"tlog/internal/check"
	"tlog/internal/core/takeover"
	"tlog/stor"
)

// event is something that happens at a virtual time; of two at one time the
// one that was asked for first.
type event struct {
	at time.Duration
	id uint64
	do func()
}

type events []event

func (q events) Len() int { return len(q) }
func (q events) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].id < q[j].id
}
func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }

// Push adds an event, for package heap.
func (q *events) Push(x any) { *q = append(*q, x.(event)) }

// Pop removes the last one, for package heap.
func (q *events) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = event{}
	*q = old[:len(old)-1]
	return e
}

// epochStart is the virtual clock's zero, in nanoseconds since 1970.
const epochStart = uint64(1_800_000_000_000_000_000)

const vdiskName = tlog.VdiskID("sim")

// world is one simulated installation: one vdisk, its shard servers, the
// tlogservers and the clients.
type world struct {
	seed   uint64
	rng    *rand.Rand
	dice   *rand.Rand // of what is looked at, and changes nothing
	now    time.Duration
	queue  events
	nextID uint64
	steps  int

	swarm     swarm
	extra     extra
	faulty    bool // faults are injected now
	stores    []*shardServer
	servers   []*server
	clients   []*client
	vdisk     tlog.UUID
	sealed    map[tlog.Hash]*aggregation // by digest: what was ever sealed
	made      []*aggregation
	high      tlog.Position // committed: highest position acknowledged by any owner
	rec       *check.Recorder
	broken    error
	bad       int            // shard servers that lost something for good
	harm      int            // counts such losses
	first     *stor.Manifest // the one of init
	operator  *operator
	lastPass  *pass // the last deep one that came to its end
	repaired  int
	replaced  int
	regained  int
	phase     int
	commits   []commit // by position − 1
	takeovers []taken

	trace io.Writer // nil: none
	hash  interface {
		io.Writer
		Sum64() uint64
	}
}

func newWorld(seed uint64, x extra, trace io.Writer) *world {
	w := &world{
		seed: seed, dice: rand.New(rand.NewPCG(seed, 0x64696365)), rng: rand.New(rand.NewPCG(seed, 0x746c6f67)), trace: trace, hash: fnv.New64a(),
		sealed: map[tlog.Hash]*aggregation{}, rec: check.New(vdiskName, diskSize),
	}
	w.swarm, w.extra = drawSwarm(w.rng), x
	if x.on {
		x.change(&w.swarm)
		w.logf("extra: %+v", x)
	}
	w.logf("seed %d: %+v", seed, w.swarm)
	w.vdisk = tlog.UUID{1, byte(seed), byte(seed >> 8), byte(seed >> 16)}
	for i := range w.swarm.pool.p {
		w.stores = append(w.stores, newShardServer(w, i))
	}
	w.initPool()
	for i := range w.swarm.servers {
		w.servers = append(w.servers, newServer(w, i))
	}
	w.operator = newOperator(w)
	return w
}

// logf adds a line to the trace, whose hash stands for the whole run.
func (w *world) logf(format string, a ...any) {
	line := fmt.Sprintf("%12.6f ", w.now.Seconds()) + fmt.Sprintf(format, a...) + "\n"
	_, _ = io.WriteString(w.hash, line)
	if w.trace != nil {
		_, _ = io.WriteString(w.trace, line)
	}
}

// violated stops the run.
func (w *world) violated(err error) {
	if err != nil && w.broken == nil {
		w.broken = err
		w.logf("VIOLATION: %v", err)
	}
}

func (w *world) violatedf(format string, a ...any) { w.violated(fmt.Errorf("sim: "+format, a...)) }

// at has f done after d.
func (w *world) at(d time.Duration, f func()) {
	w.nextID++
	heap.Push(&w.queue, event{w.now + max(d, 0), w.nextID, f})
}

// run lets time pass until done, or until d is over; it reports whether done
// came true.
func (w *world) run(d time.Duration, done func() bool) bool {
	end := w.now + d
	for w.broken == nil {
		if done() {
			return true
		}
		if len(w.queue) == 0 || w.queue[0].at > end {
			w.now = end
			return false
		}
		e := heap.Pop(&w.queue).(event)
		w.now = e.at
		w.steps++
		if w.steps > w.maxSteps() {
			w.violatedf("livelock: %d events in %v", w.steps, w.now)
			return false
		}
		e.do()
	}
	return false
}

// maxSteps is more events than a run has that gets somewhere. Passes over a
// long log, every few seconds, are many.
func (w *world) maxSteps() int {
	if w.extra.repair {
		return 20_000_000
	}
	return 2_000_000
}

func (w *world) chance(p float64) bool { return p > 0 && w.rng.Float64() < p }

// between is a random time.
func (w *world) between(low, high time.Duration) time.Duration {
	return low + time.Duration(w.rng.Int64N(int64(high-low)+1))
}

// backoff is as in stor: between half and all of low × 2^(n−1), at most high.
func (w *world) backoff(n int, low, high time.Duration) time.Duration {
	d := high
	if n >= 1 && n < 32 && low<<(n-1) < high {
		d = low << (n - 1)
	}
	return w.between(d/2, d)
}

func (w *world) uuid() tlog.UUID {
	var u tlog.UUID
	for i := range u {
		u[i] = byte(w.rng.Uint32())
	}
	u[0] |= 1
	return u
}

func (w *world) takeoverConfig(m *stor.Manifest, fence bool) takeover.Config {
	return takeover.Config{
		P: m.P(), K: m.K, N: m.N(), W: m.W, R: m.R(), Fence: fence, Joining: joining(m), Page: w.swarm.page, Window: w.swarm.window,
	}
}

// process is a program on a machine: it may be killed, and paused.
type process struct {
	w       *world
	name    string
	alive   bool
	life    int // counts its starts: what was for an earlier one does not arrive
	paused  bool
	backlog []func()
	skew    time.Duration // of its clock
	cut     []bool        // by shard server: no packet passes
	pool    *pool         // nil: it knows no shard servers
}

// at has f done by the process after d, if it lives as long.
func (p *process) at(d time.Duration, f func()) { p.w.at(d, p.bound(f)) }

// bound is f for this life of the process, as soon as it is not paused.
func (p *process) bound(f func()) func() {
	life := p.life
	var do func()
	do = func() {
		switch {
		case !p.alive || p.life != life:
		case p.paused:
			p.backlog = append(p.backlog, do)
		default:
			f()
		}
	}
	return do
}

func (p *process) pause(d time.Duration) {
	if !p.alive || p.paused {
		return
	}
	p.w.logf("%s paused for %v", p.name, d)
	p.paused = true
	life := p.life
	p.w.at(d, func() {
		if p.life == life {
			p.resume()
		}
	})
}

func (p *process) resume() {
	if !p.paused {
		return
	}
	p.w.logf("%s goes on", p.name)
	p.paused = false
	for len(p.backlog) > 0 && !p.paused {
		f := p.backlog[0]
		p.backlog = p.backlog[1:]
		f()
	}
}

func (p *process) kill() {
	p.alive, p.paused, p.backlog = false, false, nil
	p.life++
	if p.pool != nil {
		p.pool.crash()
	}
}

// clock is what the process holds for the time.
func (p *process) clock() uint64 { return epochStart + uint64(p.w.now+p.skew) }
