package takeover_test

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"testing"

	"tlog"
	"tlog/internal/core/appending"
	"tlog/internal/core/takeover"
)

// world is shard servers, owners, readers and the messages between them, with
// the schedule drawn by rapid. It knows what was acknowledged and fails as
// soon as an owner or reader contradicts it.
type world struct {
	t       testing.TB
	rng     *rand.Rand
	loss    int // of so many messages three are lost, in three ways
	k, n    int
	w, p, r int
	servers []*model
	actors  []*actor
	pending []*message
	prev    map[tlog.Hash]tlog.Hash
	writer  map[tlog.Hash]*actor
	acked   []ack
	told    []*actor // owners that told a client where the log ends
	trace   []string
	twins   bool // every machine is tried on a clone first
}

// ack is one Committed.
type ack struct {
	pos    tlog.Position
	digest tlog.Hash
	by     *actor
}

// model is a shard server: the contract of stor.Server in a few lines.
type model struct {
	down, wiped  bool
	epoch        tlog.Epoch
	owner        int
	head, commit tlog.Position
	stored       map[tlog.Position]*shard
}

type shard struct {
	epoch  tlog.Epoch
	digest tlog.Hash
	index  int
	rotten bool
}

// message is a request on its way to a server, or an answer or timer on its
// way back (to < 0). answered: the sender has been told that it failed, but
// the request may still arrive.
type message struct {
	from     *actor
	to       int
	what     string
	answered bool
	handle   func(*model) (answer func()) // at the server
	fail     func()                       // no answer
	run      func()                       // of to < 0
}

// actor is an owner, or a reader if fence is false.
type actor struct {
	w       *world
	id      int
	fence   bool
	find    *takeover.Machine
	log     *appending.Machine
	crashed bool
	dead    bool
	done    bool
	halt    *takeover.Halt
	epoch   tlog.Epoch
	base    tlog.Position
	head    tlog.Position
	digests map[tlog.Position]tlog.Hash // found, then published
	found   map[tlog.Position]tlog.Hash
	next    tlog.Position
	before  int // acks known when it began
}

func newWorld(t testing.TB, seed uint64, k, m, w, p int) *world {
	x := &world{t: t, rng: rand.New(rand.NewPCG(seed, 1)), k: k, n: k + m, w: w, p: p, r: p + k - w, prev: map[tlog.Hash]tlog.Hash{}, writer: map[tlog.Hash]*actor{}}
	for range p {
		x.servers = append(x.servers, &model{stored: map[tlog.Position]*shard{}})
	}
	return x
}

func (w *world) logf(format string, a ...any) { w.trace = append(w.trace, fmt.Sprintf(format, a...)) }

func (w *world) fatal(format string, a ...any) {
	for _, line := range w.trace {
		w.t.Log(line)
	}
	w.t.Fatalf(format, a...)
}

func (w *world) start(fence bool) *actor {
	a := &actor{w: w, id: len(w.actors) + 1, fence: fence, digests: map[tlog.Position]tlog.Hash{}, found: map[tlog.Position]tlog.Hash{}, before: len(w.acked)}
	w.actors = append(w.actors, a)
	a.find = takeover.New(takeover.Config{P: w.p, K: w.k, N: w.n, W: w.w, R: w.r, Fence: fence, Page: 2, Window: 2})
	w.logf("actor %d starts, fence %v", a.id, fence)
	a.search(takeover.Start{})
	return a
}

func (w *world) send(m *message) { w.pending = append(w.pending, m) }

func (w *world) later(a *actor, what string, f func()) {
	w.send(&message{from: a, to: -1, what: what, run: f})
}

// deliver takes message i; how says what becomes of it.
func (w *world) deliver(i int, how int) {
	m := w.pending[i]
	w.pending = append(w.pending[:i], w.pending[i+1:]...)
	if m.to < 0 {
		if !m.from.crashed {
			m.run()
		}
		return
	}
	s := w.servers[m.to]
	if s.down || s.wiped {
		w.answer(m, m.fail)
		return
	}
	switch how {
	case 0: // lost on the way
		w.answer(m, m.fail)
	case 1: // done, but the answer is lost
		m.handle(s)
		w.logf("%s: done, answer lost", m.what)
		w.answer(m, m.fail)
	case 2: // timed out, and still on its way
		w.answer(m, m.fail)
		m.answered = true
		w.send(m)
	default:
		w.logf("%s", m.what)
		w.answer(m, m.handle(s))
	}
}

func (w *world) answer(m *message, f func()) {
	if !m.answered {
		w.later(m.from, "answer to "+m.what, f)
	}
}

func (a *actor) search(e takeover.Event) {
	if a.crashed || a.done || a.halt != nil {
		return
	}
	for _, x := range a.w.stepFind(a.find, e) {
		a.searchAction(x)
	}
}

func (a *actor) searchAction(x takeover.Action) {
	w := a.w
	fail := func(server, round int) func() {
		return func() { a.search(takeover.Failed{Server: server, Round: round}) }
	}
	switch x := x.(type) {
	case takeover.ReadControl:
		w.send(&message{from: a, to: x.Server, what: fmt.Sprintf("%d: control of %d", a.id, x.Server), fail: fail(x.Server, x.Round), handle: func(s *model) func() {
			e := takeover.ControlRead{Server: x.Server, Round: x.Round, Epoch: s.epoch, Head: s.head, Commit: s.commit}
			return func() { a.search(e) }
		}})
	case takeover.Fence:
		a.epoch = x.Epoch
		w.send(&message{from: a, to: x.Server, what: fmt.Sprintf("%d: fence %d with %d", a.id, x.Server, x.Epoch), fail: fail(x.Server, x.Round), handle: func(s *model) func() {
			if s.fence(x.Epoch, a.id) {
				e := takeover.Fenced{Server: x.Server, Round: x.Round, Head: s.head, Commit: s.commit}
				return func() { a.search(e) }
			}
			e := takeover.Refused{Server: x.Server, Round: x.Round, Epoch: s.epoch}
			return func() { a.search(e) }
		}})
	case takeover.ReadMetas:
		w.send(&message{from: a, to: x.Server, what: fmt.Sprintf("%d: metas of %d", a.id, x.Server), fail: fail(x.Server, x.Round), handle: func(s *model) func() {
			e := takeover.MetasRead{Server: x.Server, Round: x.Round, Metas: s.metas(x.From, x.To)}
			return func() { a.search(e) }
		}})
	case takeover.ReadShard:
		w.send(&message{from: a, to: x.Server, what: fmt.Sprintf("%d: shard %d of %d", a.id, x.Position, x.Server), fail: fail(x.Server, x.Round), handle: func(s *model) func() {
			e := takeover.ShardRead{Server: x.Server, Round: x.Round}
			if sh := s.stored[x.Position]; sh != nil && !sh.rotten {
				e.Good, e.Digest, e.Prev, e.Index = true, sh.digest, w.prev[sh.digest], sh.index
			}
			return func() { a.search(e) }
		}})
	case takeover.StartGrace:
		w.later(a, "grace", func() { a.search(takeover.GraceOver(x)) })
	case takeover.BackOff:
		w.later(a, "back-off", func() { a.search(takeover.BackedOff{}) })
	case takeover.Found:
		a.found[x.Position], a.digests[x.Position] = x.Digest, x.Digest
		w.logf("%d: found %d = %.4s", a.id, x.Position, x.Digest)
	case takeover.Verify:
		w.later(a, "verified", func() { a.search(takeover.Verified{OK: true}) })
	case takeover.Append:
		a.open(x.Position - 1)
		held := make([]appending.Holding, w.p)
		for i, h := range x.Held {
			held[i] = appending.Holding{Index: h.Index, Valid: h.Good}
		}
		a.step(appending.Publish{Position: x.Position, Held: held})
	case takeover.Done:
		a.finish(x)
	case takeover.Halt:
		a.halt = &x
		w.logf("%d: halts: %+v", a.id, x)
	}
}

func (a *actor) open(last tlog.Position) {
	if a.log == nil {
		a.log = appending.New(appending.Config{P: a.w.p, N: a.w.n, W: a.w.w, First: a.id % a.w.p, Epoch: a.epoch, Last: last})
	}
}

// finish compares what was found with what was acknowledged before.
func (a *actor) finish(d takeover.Done) {
	a.done, a.base, a.head, a.next = true, d.Base, d.Head, d.Head+1
	a.w.logf("%d: done: base %d head %d epoch %d", a.id, d.Base, d.Head, d.Epoch)
	for i, x := range a.w.acked {
		if a.fence && x.by.epoch < a.epoch || !a.fence && i < a.before {
			a.mustHave(x)
		}
	}
	if a.fence {
		a.open(d.Head)
		for _, x := range a.w.told {
			a.mustFollow(x)
		}
	}
}

// mustFollow: an owner has told its client where the log ends, which it does
// when its barrier, the position behind that end, is committed. What older owners left there must never
// come to light.
func (a *actor) mustFollow(x *actor) {
	pos := x.head + 1
	if d, ok := a.found[pos]; ok && a.epoch > x.epoch && d != x.digests[pos] && a.w.writer[d].epoch < x.epoch {
		a.w.fatal("actor %d told its client that the log ends at %d; actor %d finds %.4s behind it, of actor %d", x.id, x.head, a.id, d, a.w.writer[d].id)
	}
}

func (a *actor) mustHave(x ack) {
	if got, want := a.head, x.pos; got < want {
		a.w.fatal("actor %d ends the log at %d; actor %d had position %d acknowledged", a.id, got, x.by.id, want)
	}
	if got, want := a.found[x.pos], x.digest; x.pos >= a.base && got != want {
		a.w.fatal("actor %d has %.4s at position %d; actor %d had %.4s acknowledged", a.id, got, x.pos, x.by.id, want)
	}
}

// publish appends one position of the owner's.
func (a *actor) publish() {
	pos := a.next
	a.next++
	digest := tlog.Hash(sha256.Sum256(fmt.Appendf(nil, "%d %d", a.id, pos)))
	a.w.prev[digest], a.w.writer[digest] = a.digests[pos-1], a
	a.digests[pos] = digest
	a.w.logf("%d: publishes %d = %.4s", a.id, pos, digest)
	a.step(appending.Publish{Position: pos})
}

func (a *actor) step(e appending.Event) {
	if a.crashed {
		return
	}
	for _, x := range a.w.stepLog(a.log, e) {
		a.action(x)
	}
}

func (a *actor) action(x appending.Action) {
	w := a.w
	switch x.Kind {
	case appending.Send:
		if a.dead {
			w.fatal("%d sends after its end", a.id)
		}
		digest := a.digests[x.Position]
		w.send(&message{
			from: a, to: x.Server, what: fmt.Sprintf("%d: append %d.%d to %d %+v", a.id, x.Position, x.Index, x.Server, x),
			fail:   func() { a.step(appending.Replied{Server: x.Server, Position: x.Position}) },
			handle: func(s *model) func() { e := s.append(a, x, digest); return func() { a.step(e) } },
		})
	case appending.Fence:
		w.send(&message{
			from: a, to: x.Server, what: fmt.Sprintf("%d: fence %d late", a.id, x.Server),
			fail: func() { a.step(appending.FenceReplied{Server: x.Server}) },
			handle: func(s *model) func() {
				e := appending.FenceReplied{Server: x.Server, Outcome: appending.Stored}
				if !s.fence(a.epoch, a.id) {
					e.Outcome, e.Epoch = appending.Fenced, s.epoch
				}
				return func() { a.step(e) }
			},
		})
	case appending.Probe:
		w.send(&message{
			from: a, to: x.Server, what: fmt.Sprintf("%d: probe %d", a.id, x.Server),
			fail:   func() { a.step(appending.Probed{Server: x.Server}) },
			handle: func(*model) func() { return func() { a.step(appending.Probed{Server: x.Server, OK: true}) } },
		})
	case appending.Wait:
		w.later(a, "due", func() { a.step(appending.Due{Server: x.Server}) })
	case appending.StartHedge:
		w.later(a, "late", func() { a.step(appending.Late{Position: x.Position}) })
	case appending.Committed:
		a.committed(x.Position)
	case appending.Dead:
		a.dead = true
		w.logf("%d: dead: %+v", a.id, x)
		if x.Reason == appending.ReasonConflict {
			w.fatal("%d: conflict", a.id)
		}
	}
}

func (a *actor) committed(pos tlog.Position) {
	x := ack{pos, a.digests[pos], a}
	a.w.logf("%d: committed %d = %.4s", a.id, pos, x.digest)
	for _, y := range a.w.acked {
		if y.pos == pos && y.digest != x.digest {
			a.w.fatal("position %d is acknowledged twice: %.4s by %d, %.4s by %d", pos, y.digest, y.by.id, x.digest, a.id)
		}
	}
	a.w.acked = append(a.w.acked, x)
	if a.done && pos == a.head+1 {
		a.w.told = append(a.w.told, a)
	}
	for _, other := range a.w.actors {
		if other.fence && other.done && other.epoch > a.epoch {
			other.mustHave(x)
		}
	}
	if !a.done {
		a.search(takeover.Committed{Position: pos})
	}
}

func (s *model) fence(epoch tlog.Epoch, owner int) bool {
	if epoch < s.epoch || epoch == s.epoch && owner != s.owner {
		return false
	}
	s.epoch, s.owner = epoch, owner
	return true
}

func (s *model) metas(from, to tlog.Position) []takeover.Meta {
	var list []takeover.Meta
	for pos := from; pos <= to; pos++ {
		if sh := s.stored[pos]; sh != nil {
			list = append(list, takeover.Meta{Position: pos, Epoch: sh.epoch, Digest: sh.digest, Index: sh.index})
		}
	}
	return list
}

func (s *model) append(a *actor, x appending.Action, digest tlog.Hash) appending.Replied {
	e := appending.Replied{Server: x.Server, Position: x.Position, Outcome: appending.Stored, Index: x.Index}
	if s.epoch != a.epoch || s.owner != a.id {
		e.Outcome, e.Epoch = appending.Fenced, s.epoch
		return e
	}
	old := s.stored[x.Position]
	switch {
	case old != nil && old.digest == digest && !x.Replace:
		old.epoch = s.epoch
		if e.Index = old.index; old.index != x.Index {
			e.Outcome = appending.HasIndex
		}
	case old != nil && old.digest != digest && old.epoch == s.epoch:
		e.Outcome = appending.Conflict
		return e
	case !x.Data:
		e.Outcome = appending.NoData
		return e
	default:
		s.stored[x.Position] = &shard{s.epoch, digest, x.Index, false}
	}
	s.head, s.commit = max(s.head, x.Position), max(s.commit, x.Commit)
	return e
}
