package stor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"tlog"
	"tlog/internal/core/repair"
	"tlog/internal/failpoint"
)

// RepairConfig says how a pass over a log is made. The zero value looks only
// where claims are missing, with the default rates.
type RepairConfig struct {
	// Deep reads and checks every shard (a scrub). Else a pass costs one list
	// of claims per 1,024 positions and server, and reads where one is missing.
	Deep bool
	// BytesPerSecond bounds what is read and written, all servers together. Too
	// much slows clients down; too little leaves the log a shard short for
	// longer. 0: 32 MiB; negative: no bound.
	BytesPerSecond int64
	// PositionsPerSecond bounds the positions looked at. 0: 500; negative: no bound.
	PositionsPerSecond int
	// Progress, if not nil, is told after every page and position looked at, by
	// one goroutine; so is Found of every shard that is damaged or missing.
	Progress func(RepairProgress)
	Found    func(Damage)
}

const (
	repairBytes     = 32 << 20
	repairPositions = 500
	listRate        = 50_000 // positions a second, whose claims are listed
)

// RepairProgress is how far a pass is.
type RepairProgress struct {
	Done, Total tlog.Position // finished; in the log
	Looked      tlog.Position // whose shards were read
	Bytes       int64         // read and written
	Written     int           // shards written again (would be, of a scrub)
	Short       tlog.Position // positions that stay short of n good shards
	Lost        tlog.Position // of them: fewer than k good shards are left
	Reason      error         // the latest why a shard was not read or written; nil: all were
	ETA         time.Duration // until the end of the pass, at the rate so far; 0: not known
}

// Repair makes one pass over what this owner has committed and writes again
// what is missing or damaged, in its own epoch: when another owner has taken
// over, the pass ends with an error of class tlog.Fatal, and changes nothing
// any more. It returns early when ctx or the log ends. One pass at a time.
//
// Positions that stay short wait for a server that does not answer; the next
// pass finds them again.
func (l *Log) Repair(ctx context.Context, cfg RepairConfig) (RepairProgress, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.ctx, cancel)()
	l.mu.Lock()
	head := l.machine.Committed()
	l.mu.Unlock()
	v := newView(l.pool, l.vdisk)
	if l.view != nil { // what the takeover decided stands
		v.base, v.found = l.view.base, l.view.found
	}
	v.head = head
	p, err := l.pool.repair(ctx, v, l, cfg)
	if dead := l.failure(); err != nil && dead != nil {
		err = dead
	}
	return p, err
}

// Scrub is a pass that changes nothing: it counts what Repair would write.
// Config.Found hears what is wrong.
func (v *View) Scrub(ctx context.Context, cfg RepairConfig) (RepairProgress, error) {
	return v.pool.repair(ctx, v, nil, cfg)
}

// repairing is one pass. One goroutine steps the core; looks and writes have
// their own.
type repairing struct {
	pool    *Pool
	view    *View
	log     *Log // nil: nothing is written
	cfg     RepairConfig
	ctx     context.Context
	machine *repair.Machine
	inbox   chan repairAnswer
	asking  int
	begin   time.Time
	pace    pace
	looks   map[tlog.Position]*look // from Looked to Finished
	at      RepairProgress
	ended   bool
	reason  repair.Reason
	errs    []error // why something was not done; the last is told
}

// repairAnswer is an event, with what the core does not need to know.
type repairAnswer struct {
	event repair.Event
	look  *look
	wrong []Damage
	bytes int64
	err   error
}

// look is a position whose shards were read.
type look struct {
	digest tlog.Hash
	good   map[int]*Checked // by slot
	once   sync.Once
	shards *rebuilt // of good
	err    error
}

func (p *Pool) repair(ctx context.Context, v *View, l *Log, cfg RepairConfig) (RepairProgress, error) {
	m := &p.manifest
	if cfg.BytesPerSecond == 0 {
		cfg.BytesPerSecond = repairBytes
	}
	if cfg.PositionsPerSecond == 0 {
		cfg.PositionsPerSecond = repairPositions
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &repairing{
		pool: p, view: v, log: l, cfg: cfg, ctx: ctx, begin: time.Now(), looks: map[tlog.Position]*look{},
		inbox: make(chan repairAnswer, 2*m.P()),
		machine: repair.New(repair.Config{
			P: m.P(), N: m.N(), K: m.K, First: firstSlot(v.vdisk, m.P()), Head: v.head, Deep: cfg.Deep, Page: pageSize,
		}),
	}
	r.at.Total = v.head
	err := r.run()
	cancel()
	for ; r.asking > 0; r.asking-- {
		<-r.inbox
	}
	return r.at, err
}

func (r *repairing) run() error {
	if err := r.step(repair.Start{}); err != nil {
		return err
	}
	for !r.ended {
		select {
		case a := <-r.inbox:
			r.asking--
			r.book(a)
			if err := r.step(a.event); err != nil {
				return err
			}
		case <-r.ctx.Done():
			return r.ctx.Err()
		}
	}
	switch r.reason {
	case repair.ReasonOutbid:
		return tlog.Fatalf("stor: repair of %v: %w: %w", r.view.vdisk, ErrFenced, because(r.errs))
	case repair.ReasonConflict:
		return tlog.Fatalf("stor: repair of %v: a shard server holds another aggregation of our own epoch: %w", r.view.vdisk, because(r.errs))
	case repair.ReasonUnlisted:
		return tlog.WithClass(tlog.Unavailable, fmt.Errorf("stor: repair of %v: %w", r.view.vdisk, because(r.errs)))
	}
	return nil
}

func (r *repairing) book(a repairAnswer) {
	r.at.Bytes += a.bytes
	if r.cfg.BytesPerSecond > 0 {
		r.pace.charge(time.Duration(float64(a.bytes) / float64(r.cfg.BytesPerSecond) * float64(time.Second)))
	}
	if a.err != nil {
		r.errs = append(r.errs[:0], a.err)
		r.at.Reason = a.err
	}
	if e, ok := a.event.(repair.Looked); ok {
		r.looks[e.Position] = a.look
	}
	for _, d := range a.wrong {
		if r.cfg.Found != nil {
			r.cfg.Found(d)
		}
	}
}

func (r *repairing) step(e repair.Event) error {
	for _, a := range r.machine.Step(e) {
		switch a := a.(type) {
		case repair.List:
			if err := r.pace.wait(r.ctx); err != nil {
				return err
			}
			r.pace.charge(time.Duration(a.To-a.From+1) * time.Second / listRate)
			r.ask(func() repairAnswer { return r.list(a) })
		case repair.Look:
			if err := r.pace.wait(r.ctx); err != nil {
				return err
			}
			if r.cfg.PositionsPerSecond > 0 {
				r.pace.charge(time.Second / time.Duration(r.cfg.PositionsPerSecond))
			}
			r.ask(func() repairAnswer { return r.look(a.Position) })
		case repair.Write:
			k := r.looks[a.Position]
			r.ask(func() repairAnswer { return r.write(a, k) })
		case repair.Finished:
			r.finished(a)
		case repair.End:
			r.ended, r.reason = true, a.Reason
		}
	}
	r.tell()
	return nil
}

func (r *repairing) ask(f func() repairAnswer) {
	r.asking++
	go func() { r.inbox <- f() }()
}

func (r *repairing) finished(f repair.Finished) {
	delete(r.looks, f.Position)
	r.at.Done++
	r.at.Written += f.Written
	if f.Looked {
		r.at.Looked++
	}
	if f.Short > 0 {
		r.at.Short++
	}
	if f.Lost {
		r.at.Lost++
	}
}

// tell reports progress. A page without fault is finished at once, so the rate
// is that of all positions.
func (r *repairing) tell() {
	if done := float64(r.at.Done); done > 0 {
		r.at.ETA = time.Duration(float64(time.Since(r.begin)) / done * float64(r.at.Total-r.at.Done))
	}
	if r.cfg.Progress != nil {
		r.cfg.Progress(r.at)
	}
}

// list asks every server who it is, as reads do not, and reads a page of claims.
// Then it asks again: a server that was wiped between would claim, truly, to hold
// nothing, and what lost against a newer epoch could pass for the log's.
func (r *repairing) list(a repair.List) repairAnswer {
	r.identify()
	e := repair.Listed{From: a.From}
	number := uint64(a.From-1) / pageSize
	pg := &page{number: number, first: firstOf(number), last: a.To}
	if err := r.view.load(r.ctx, pg); err != nil {
		e.Failed = true
		return repairAnswer{event: e, err: err}
	}
	for slot, err := range r.identify() {
		if err != nil && !pg.unsure[slot] {
			e.Failed = true
			return repairAnswer{event: e, err: err}
		}
	}
	r.view.pages.keep(pg)
	for i := range pg.places {
		e.Places = append(e.Places, corePlace(&pg.places[i]))
	}
	return repairAnswer{event: e}
}

// identify asks every server who it is, and says, by slot, who cannot be asked.
func (r *repairing) identify() []error {
	errs := make([]error, r.pool.manifest.P())
	var wg sync.WaitGroup
	for slot := range errs {
		wg.Go(func() { _, errs[slot] = r.pool.probe(r.ctx, slot) })
	}
	wg.Wait()
	return errs
}

func corePlace(pl *place) repair.Place {
	c := repair.Place{Known: !pl.digest.IsZero()}
	for _, i := range pl.index {
		switch {
		case i == indexMaybe:
			c.Index = append(c.Index, repair.Unsure)
		case i == indexBad:
			c.Index = append(c.Index, repair.Bad)
		case i < 0:
			c.Index = append(c.Index, repair.None)
		default:
			c.Index = append(c.Index, int(i))
		}
	}
	return c
}

// look reads the shards of a position on all servers.
func (r *repairing) look(pos tlog.Position) repairAnswer {
	n := r.pool.manifest.P()
	e := repair.Looked{Position: pos, Shards: make([]repair.Shard, n)}
	k := &look{good: map[int]*Checked{}}
	_, pl, err := r.view.place(r.ctx, pos)
	if err != nil { // all stay silent
		return repairAnswer{event: e, look: k, err: err}
	}
	k.digest = pl.digest
	answers := make([]shardAnswer, n)
	var wg sync.WaitGroup
	for slot := range n {
		wg.Go(func() { answers[slot] = r.view.inspect(r.ctx, slot, pos, nil) })
	}
	wg.Wait()
	a := repairAnswer{look: k}
	for slot, got := range answers {
		e.Shards[slot] = shardState(pl, slot, &got, r.pool.manifest.N())
		switch {
		case got.err == nil:
			a.bytes += int64(len(got.shard.Head) + len(got.shard.Body))
		case e.Shards[slot].State == repair.Silent:
			a.err = fmt.Errorf("%s: %w", r.pool.slotName(slot), got.err)
		}
		if e.Shards[slot].State == repair.Good {
			k.good[slot] = got.shard
		}
	}
	a.event, a.wrong = e, r.view.judge(pos, pl, answers)
	return a
}

// shardState is what an answer says of a server. A good shard that is not the
// one its server claims would not be counted by a takeover: it is damaged.
func shardState(pl *place, slot int, a *shardAnswer, n int) repair.Shard {
	claimed := int(pl.index[slot])
	ours := a.err == nil && a.shard.Digest == pl.digest && a.shard.Index < n
	switch {
	case a.err != nil && !isDamage(a.err):
		return repair.Shard{State: repair.Silent}
	case ours && (claimed == a.shard.Index || claimed == indexMaybe):
		return repair.Shard{State: repair.Good, Index: a.shard.Index}
	case claimed == indexBad:
		return repair.Shard{State: repair.Damaged, Index: repair.None}
	case claimed >= 0:
		return repair.Shard{State: repair.Damaged, Index: claimed}
	case claimed == indexNone:
		return repair.Shard{State: repair.Absent}
	}
	return repair.Shard{State: repair.Silent}
}

// write writes one shard, in the owner's epoch.
func (r *repairing) write(a repair.Write, k *look) repairAnswer {
	e := repair.Stored{Position: a.Position, Server: a.Server, Outcome: repair.Done}
	if r.log == nil {
		return repairAnswer{event: e}
	}
	k.once.Do(func() { k.shards, k.err = r.pool.rebuild(r.view.vdisk, a.Position, k.digest, k.good) })
	err := k.err
	if err == nil && a.Fence {
		err = r.log.fenceAgain(r.ctx, a.Server)
	}
	var size int64
	if err == nil {
		head, body := k.shards.Shard(a.Index)
		size = int64(len(head) + len(body))
		failpoint.Here("repair.write")
		err = r.log.rewrite(r.ctx, a, k.digest, head, body)
	}
	if err == nil {
		failpoint.Here("repair.written")
		return repairAnswer{event: e, bytes: size}
	}
	e.Outcome = r.outcome(err)
	return repairAnswer{event: e, bytes: size, err: fmt.Errorf("%s: position %d: %w", r.pool.slotName(a.Server), a.Position, err)}
}

func (r *repairing) outcome(err error) repair.Outcome {
	var f *Refusal
	switch {
	case !errors.As(err, &f):
	case f.Code == Fenced && f.Owner.Epoch < r.log.owner.Epoch:
		return repair.Behind
	case f.Code == Fenced:
		return repair.Outbid
	case f.Code == Conflict:
		return repair.Conflict
	}
	return repair.Refused
}

// fenceAgain fences a server that missed our takeover.
func (l *Log) fenceAgain(ctx context.Context, slot int) error {
	agent, _ := l.pool.at(slot)
	if agent == nil {
		return fmt.Errorf("stor: %s: not found", l.pool.slotName(slot))
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err := agent.server.Fence(ctx, &FenceRequest{Identity: l.identity(slot), Owner: l.owner, Vdisk: l.vdisk})
	return err
}

// rewrite appends one shard of a committed position.
func (l *Log) rewrite(ctx context.Context, a repair.Write, digest tlog.Hash, head, body []byte) error {
	agent, _ := l.pool.at(a.Server)
	if agent == nil {
		return fmt.Errorf("stor: %s: not found", l.pool.slotName(a.Server))
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	answer := make(chan error, 1)
	agent.append(&appendCall{ctx: ctx, done: func(_ Meta, err error) { answer <- err }, req: AppendRequest{
		Identity: l.identity(a.Server), Owner: l.owner, Vdisk: l.vdisk, Position: a.Position, Index: a.Index,
		Digest: digest, Commit: a.Position - 1, Replace: a.Replace, Head: head, Body: body,
	}})
	return <-answer // the server keeps the slices until then
}
