//go:build e2e

package faults

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"tlog"
	"tlog/crypto"
	"tlog/stor"
)

// Times of a cell. The fault is held for so long, or until the operation got
// through; then everything has to flush within recovery.
const (
	hold     = 2 * requestTime
	recovery = 60 * time.Second
)

// cell is one fault, met by one operation, before or after it took effect.
type cell struct {
	fault *fault
	op    string // one of operations
	after bool

	s     *stores
	vdisk tlog.UUID
	pool  *stor.Pool
	log   *stor.Log
	key   *crypto.DataKey
	wrap  []byte
	chain []*position
	over  chan struct{} // closed when the fault is over

	victims []int
	undo    map[int]func() // by victim: what end does
	lost    int            // servers whose data the fault destroyed
	said    logText
	done    chan error
	fenced  *stor.Log // what the operation fence got
	old     string    // a copy of a server's files, of before
	ctx     context.Context
	attempt context.CancelFunc
}

// position is what was published, and what came of it.
type position struct {
	digest  tlog.Hash
	payload []byte
	acked   bool
	err     error
	over    chan struct{}
}

// logText keeps what is logged.
type logText struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// errBroken is a promise broken, which trying again does not mend.
var errBroken = errors.New("promise broken")

// errSilent stands for a reason that was not given.
var errSilent = errors.New("no reason was given")

var operations = []string{"fence", "append", "read", "repair"}

func (c *cell) String() string {
	when := "before"
	if c.after {
		when = "after"
	}
	return fmt.Sprintf("%s/%s/%s", c.fault.name, c.op, when)
}

// run is the whole of a cell; the error says which promise was broken.
func (c *cell) run(s *stores) (err error) {
	defer func() {
		if r := recover(); r != nil { // of must: the test itself cannot go on
			err = fmt.Errorf("%v", r)
			if e, ok := r.(runtime.Error); ok {
				err = fmt.Errorf("%w\n%s", e, debug.Stack())
			}
		}
	}()
	c.s = s
	c.over = make(chan struct{})
	defer c.end()
	c.undo = map[int]func(){}
	ctx, cancel := context.WithTimeout(context.Background(), 3*recovery)
	defer cancel()
	c.ctx = ctx
	if err := c.prepare(); err != nil {
		return fmt.Errorf("before the fault: %w", err)
	}
	defer func() { err = errors.Join(err, c.pool.Close()) }()
	hits := c.begin()
	c.operate()
	c.await(hits)
	bad := errors.Join(c.nothingFalse(), c.isNamed())
	c.end()
	return errors.Join(bad, c.recovers())
}

// prepare makes a log of three positions, all of them acknowledged.
func (c *cell) prepare() (err error) {
	c.vdisk = newID()
	if c.key, c.wrap, err = c.s.keys.NewDataKey(c.vdisk); err != nil {
		return err
	}
	c.pool, err = stor.Open(c.ctx, poolConfig(slog.New(slog.NewTextHandler(&c.said, nil))), c.s.dial())
	if err != nil {
		return err
	}
	if c.log, err = c.takeover(c.ctx); err == nil {
		err = c.publish(3)
	}
	for i := range c.count() {
		c.victims = append(c.victims, c.holder(i))
	}
	if err == nil && c.op == "repair" {
		c.s.must(c.victims[0], "DEL", c.shardKey(2), c.metaKey(2))
	}
	if err != nil {
		_ = c.pool.Close()
	}
	return err
}

// count is how many servers have the fault. Liars that answer readers are as
// many as may be lost.
func (c *cell) count() int {
	if c.fault.lies && (c.op == "read" || c.op == "repair") {
		return shardsM
	}
	return c.fault.victims
}

// holder is the i-th server that holds a shard of position 2.
func (c *cell) holder(i int) int {
	for at := range servers {
		if n, ok := c.s.must(at, "EXISTS", c.shardKey(2)).(int64); ok && n == 1 {
			if i--; i < 0 {
				return at
			}
		}
	}
	panic("position 2 has too few shards")
}

func (c *cell) shardKey(p int) string { return fmt.Sprintf("tlog:{%v}:d:%020d", c.vdisk, p) }
func (c *cell) metaKey(p int) string  { return fmt.Sprintf("tlog:{%v}:m:%020d", c.vdisk, p) }
func (c *cell) controlKey() string    { return fmt.Sprintf("tlog:{%v}:ctl", c.vdisk) }

func (c *cell) takeover(ctx context.Context) (*stor.Log, error) {
	return c.pool.Takeover(ctx, c.vdisk, func(context.Context, *stor.View, *stor.Fetched) error { return nil })
}

// start publishes the next position.
func (c *cell) start() error {
	pos := tlog.Position(len(c.chain) + 1)
	var prev tlog.Hash
	if pos > 1 {
		prev = c.chain[pos-2].digest
	}
	sealed, payload, err := c.s.seal(c.key, c.wrap, c.pool, c.vdisk, pos, fmt.Sprintf("position %d of epoch %d ", pos, c.log.Epoch()))
	if err != nil {
		return err
	}
	p := &position{digest: sealed.Chain(prev), payload: payload, over: make(chan struct{})}
	c.chain = append(c.chain, p)
	c.log.Publish(pos, p.digest, sealed, func(err error) {
		p.acked, p.err = err == nil, err
		close(p.over)
	})
	return nil
}

func (c *cell) publish(n int) error {
	for range n {
		if err := c.start(); err != nil {
			return err
		}
	}
	return c.flushed(c.ctx)
}

// flushed waits until everything published has an outcome.
func (c *cell) flushed(ctx context.Context) error {
	for i, p := range c.chain {
		select {
		case <-p.over:
			if p.err != nil {
				return fmt.Errorf("position %d: %w", i+1, p.err)
			}
		case <-ctx.Done():
			return fmt.Errorf("position %d is not flushed: %w", i+1, errors.Join(ctx.Err(), c.log.Stalled()))
		}
	}
	return nil
}

// operate starts the operation; done hears of its success. What can be tried
// again is, until the cell ends.
func (c *cell) operate() {
	c.done = make(chan error, 1)
	ctx, cancel := context.WithTimeout(c.ctx, recovery+hold)
	c.attempt = cancel
	if c.op == "append" {
		for range 3 {
			if err := c.start(); err != nil {
				c.done <- err
				return
			}
		}
		go func() { c.done <- c.flushed(ctx) }()
		return
	}
	try := map[string]func(context.Context) error{"fence": c.fence, "read": c.read, "repair": c.repair}[c.op]
	go func() { c.done <- c.again(ctx, try) }()
}

// again tries until it succeeds. A promise that is found broken ends it.
func (c *cell) again(ctx context.Context, try func(context.Context) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errBroken, r)
		}
	}()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if err = try(ctx); err == nil {
			return nil
		}
		fmt.Fprintf(&c.said, "%s: %v\n", c.op, err)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s does not succeed: %w", c.op, err)
		}
	}
}

// fence takes the vdisk over, after which the old owner must get nothing
// acknowledged any more.
func (c *cell) fence(ctx context.Context) error {
	l, err := c.takeover(ctx)
	if err != nil {
		return err
	}
	head := int(l.View().Head())
	c.adopted(head)
	sealed, _, err := c.s.seal(c.key, c.wrap, c.pool, c.vdisk, tlog.Position(head+1), "written by an owner that was fenced ")
	if err != nil {
		return err
	}
	digest := sealed.Chain(c.chain[head-1].digest)
	outcome := make(chan error, 1)
	c.log.Publish(tlog.Position(head+1), digest, sealed, func(err error) { outcome <- err })
	select {
	case err := <-outcome:
		if err == nil {
			panic("an owner of a lower epoch got an acknowledgement")
		}
	case <-time.After(hold / 4): // it hears nothing, which is as good
		c.log.Close()
	}
	c.fenced = l
	return nil
}

// adopted checks that a takeover found what was acknowledged, and no more than
// was published.
func (c *cell) adopted(head int) []*position {
	if head > len(c.chain) {
		panic(fmt.Sprintf("a takeover found %d positions, %d were published", head, len(c.chain)))
	}
	for i, p := range c.chain {
		if i >= head && p.acked {
			panic(fmt.Sprintf("position %d was acknowledged, and a takeover ends at %d", i+1, head))
		}
	}
	var list []*position
	for _, p := range c.chain[:head] { // what it adopted is committed, whatever was said before
		over := make(chan struct{})
		close(over)
		list = append(list, &position{digest: p.digest, payload: p.payload, acked: true, over: over})
	}
	return list
}

func (c *cell) read(ctx context.Context) error {
	v, err := c.pool.Survey(ctx, c.vdisk)
	if err != nil {
		return err
	}
	return c.same(ctx, v)
}

// same compares the log with what was published, byte by byte.
func (c *cell) same(ctx context.Context, v *stor.View) error {
	if int(v.Head()) < len(c.chain) {
		panic(fmt.Sprintf("a survey ends at position %d, %d is acknowledged", v.Head(), len(c.chain)))
	}
	for i, p := range c.chain {
		pos := tlog.Position(i + 1)
		f, err := v.Read(ctx, pos)
		if err != nil {
			return err
		}
		for _, d := range f.Damaged {
			fmt.Fprintf(&c.said, "read: position %d: %s: %v\n", pos, d.Server, d.Err)
		}
		stored, err := crypto.CheckHead(f.Head, c.vdisk, pos)
		if err != nil {
			return err
		}
		payload, err := crypto.Open(c.key, stored, f.Data)
		if err != nil {
			return err
		}
		if f.Digest != p.digest || !bytes.Equal(payload, p.payload) {
			panic(fmt.Sprintf("position %d is read as %.30q, and %.30q was acknowledged", pos, payload, p.payload))
		}
	}
	return nil
}

func (c *cell) repair(ctx context.Context) error {
	p, err := c.log.Repair(ctx, stor.RepairConfig{Deep: true, BytesPerSecond: -1, PositionsPerSecond: -1, Found: func(d stor.Damage) {
		fmt.Fprintf(&c.said, "repair: position %d: %s: %v\n", d.Position, d.Server, d.Err)
	}})
	if err != nil {
		return err
	}
	if p.Short > 0 {
		return fmt.Errorf("%d positions stay short: %w", p.Short, cmp.Or(p.Reason, errSilent))
	}
	return nil
}

func (c *cell) statuses() (errs []error) {
	ctx, cancel := context.WithTimeout(c.ctx, 10*time.Second)
	defer cancel()
	for _, s := range c.pool.Status(ctx) {
		if s.Err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.Name, s.Err))
		}
	}
	return errs
}

// isNamed checks that somebody who looks learns which server it is, and what
// ails it.
func (c *cell) isNamed() error {
	if len(c.fault.says) == 0 || c.after && c.fault.heals || c.fault.healed != nil && c.fault.healed(c) {
		return nil
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); ; <-tick.C {
		all := c.told()
		if all == "" {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("nobody learns of %q on %s; what is said:\n%s", c.fault.says, c.s.stations[c.victims[0]].addr, all)
		}
	}
}

// told is all that anybody is told; empty if it names what ails a victim.
func (c *cell) told() string {
	look := []func() string{
		c.said.String,
		func() string { return fmt.Sprint(c.log.Stalled()) },
		func() string { return fmt.Sprint(errors.Join(c.statuses()...)) },
		c.inspect,
	}
	var all strings.Builder
	for _, l := range look {
		all.WriteString(l() + "\n")
		if c.namedIn(all.String()) {
			return ""
		}
	}
	return all.String()
}

func (c *cell) inspect() string {
	ctx, cancel := context.WithTimeout(c.ctx, 10*time.Second)
	defer cancel()
	v, err := c.pool.Survey(ctx, c.vdisk)
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	damaged := v.Damaged()
	for pos := tlog.Position(1); pos <= v.Head(); pos++ {
		more, err := v.Inspect(ctx, pos)
		fmt.Fprintf(&b, "inspect: position %d: %v\n", pos, err)
		damaged = append(damaged, more...)
	}
	for _, d := range damaged {
		fmt.Fprintf(&b, "inspect: position %d: %s: %v\n", d.Position, d.Server, d.Err)
	}
	return b.String()
}

// namedIn reports whether one line has the victim and the reason.
func (c *cell) namedIn(text string) bool {
	for line := range strings.Lines(text) {
		for _, word := range c.fault.says {
			for _, v := range c.victims {
				if strings.Contains(line, c.s.stations[v].addr) && strings.Contains(line, word) {
					return true
				}
			}
		}
	}
	return false
}
