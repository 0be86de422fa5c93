//go:build e2e

package faults

import (
	"context"
	"errors"
	"fmt"
	"time"

	redigo "github.com/gomodule/redigo/redis"

	"tlog"
	"tlog/crypto"
	"tlog/stor"
)

// nothingFalse asks the Redis servers themselves what they hold of every
// position that was acknowledged. A server that cannot be looked at, or whose
// data the fault destroyed, is given the benefit of the doubt; at the end of
// the cell nobody is.
func (c *cell) nothingFalse() error {
	var errs []error
	for i, p := range c.chain {
		select {
		case <-p.over:
		default:
			continue
		}
		if !p.acked {
			continue
		}
		held, blind := c.held(tlog.Position(i+1), p.digest)
		if doubt := blind + c.lost + c.taken(i+1); held+doubt < quorum {
			errs = append(errs, fmt.Errorf("position %d was acknowledged, and %d servers hold it (%d in doubt)", i+1, held, doubt))
		}
	}
	return errors.Join(errs...)
}

// taken is how many shards of a position the cell itself took away.
func (c *cell) taken(pos int) int {
	if c.op == "repair" && pos == 2 {
		return 1
	}
	return 0
}

// held counts the distinct good shards of a position, and the servers that
// cannot be asked.
func (c *cell) held(pos tlog.Position, digest tlog.Hash) (distinct, blind int) {
	indices := map[int]bool{}
	for at := range servers {
		if c.fault.deaf && c.isVictim(at) && !c.isOver() {
			blind++
			continue
		}
		b, err := redigo.Bytes(c.s.admins[at].do("GET", c.shardKey(int(pos))))
		if errors.Is(err, redigo.ErrNil) {
			continue
		}
		if err != nil {
			blind++
			continue
		}
		if s, err := crypto.Check(b, c.vdisk, pos, false); err == nil && s.Digest == digest {
			indices[s.Index] = true
		}
	}
	return len(indices), blind
}

func (c *cell) isVictim(at int) bool {
	for _, v := range c.victims {
		if v == at {
			return true
		}
	}
	return false
}

func (c *cell) isOver() bool {
	select {
	case <-c.over:
		return true
	default:
		return false
	}
}

// begin makes the fault, or has it wait for the operation to take effect. The
// channel hears the victims on which it just did.
func (c *cell) begin() <-chan reached {
	hits := make(chan reached)
	if c.fault.ready != nil {
		for _, v := range c.victims {
			c.fault.ready(c, v)
		}
	}
	for _, v := range c.victims {
		switch {
		case c.fault.answer != nil:
			c.s.stations[v].set(c.lying)
		case c.after:
			c.s.stations[v].set(c.trap(v, hits))
		default:
			c.strike(v)
		}
	}
	return hits
}

// reached is a victim on which the operation took effect; made is closed when
// the fault is there.
type reached struct {
	victim int
	made   chan struct{}
}

// strike makes the fault at a victim.
func (c *cell) strike(v int) {
	if c.fault.destroys {
		c.lost++
	}
	c.undo[v] = c.fault.begin(c, v)
}

// strikeAt makes the fault where the operation waits for it.
func (c *cell) strikeAt(r reached) {
	defer close(r.made)
	c.strike(r.victim)
}

// concerns reports whether a command is part of the operation.
func (c *cell) concerns(kind string) bool {
	switch c.op {
	case "append":
		return kind == kindAppend
	case "repair":
		return kind == kindAppend || kind == kindRead
	}
	return kind == c.op
}

// lying has the fault answer what concerns the operation.
func (c *cell) lying(x *exchange) ([]byte, error) {
	if c.isOver() || !c.concerns(x.kind) {
		return x.run()
	}
	return c.fault.answer(c, x)
}

// trap lets the first command of the operation take effect, makes the fault,
// and cuts the connection: who asked does not know.
func (c *cell) trap(v int, hits chan<- reached) hook {
	first := make(chan struct{}, 1)
	first <- struct{}{}
	return func(x *exchange) ([]byte, error) {
		if !c.concerns(x.kind) {
			return x.run()
		}
		select {
		case <-first:
		default:
			return x.run()
		}
		if _, err := x.run(); err != nil {
			return nil, err
		}
		r := reached{v, make(chan struct{})}
		select {
		case hits <- r:
			<-r.made
		case <-c.over:
		}
		return nil, errCut
	}
}

// await holds the fault for its time. A destroying one is held until it
// happened.
func (c *cell) await(hits <-chan reached) {
	end := time.NewTimer(hold)
	defer end.Stop()
	for {
		select {
		case r := <-hits:
			c.strikeAt(r)
		case err := <-c.done:
			c.done <- err // what comes late is still to be met
			select {
			case r := <-hits:
				c.strikeAt(r)
				continue
			case <-end.C:
			}
			return
		case <-end.C:
			return
		}
	}
}

// end ends the fault.
func (c *cell) end() {
	if c.isOver() {
		return
	}
	close(c.over)
	for _, s := range c.s.stations {
		s.set(nil)
	}
	for _, undo := range c.undo {
		if undo != nil {
			undo()
		}
	}
	for at := range servers {
		c.s.comesBack(at)
	}
}

// recovers checks that all is as it should be, a while after the fault.
func (c *cell) recovers() error {
	ctx, cancel := context.WithTimeout(c.ctx, recovery)
	defer cancel()
	var err error
	select {
	case err = <-c.done:
	case <-ctx.Done():
		return fmt.Errorf("%s does not end after the fault: %w", c.op, errors.Join(c.log.Stalled(), errors.Join(c.statuses()...)))
	}
	c.attempt()
	if c.fenced != nil {
		c.log, c.chain = c.fenced, c.adopted(int(c.fenced.View().Head()))
	}
	if errors.Is(err, errBroken) || err != nil && c.log.Err() == nil {
		return err
	}
	if err := c.nothingFalse(); err != nil {
		return fmt.Errorf("after the fault: %w", err)
	}
	if c.log.Err() != nil { // fenced, or halted: an owner takes over again
		if err := c.ownAgain(ctx); err != nil {
			return err
		}
	}
	if err := c.publishMore(ctx); err != nil {
		return fmt.Errorf("after the fault: %w", err)
	}
	if err := c.again(ctx, c.repair); err != nil {
		return fmt.Errorf("after the fault: %w", err)
	}
	c.lost = 0
	if err := c.nothingFalse(); err != nil {
		return fmt.Errorf("after repair: %w", err)
	}
	return c.again(ctx, c.whole) // a machine that is busy may not answer in time
}

func (c *cell) ownAgain(ctx context.Context) error {
	return c.again(ctx, func(ctx context.Context) error {
		l, err := c.takeover(ctx)
		if err != nil {
			return err
		}
		c.log, c.chain = l, c.adopted(int(l.View().Head()))
		return nil
	})
}

// publishMore goes on with the log. A fault may leave something behind that
// halts an owner, once.
func (c *cell) publishMore(ctx context.Context) error {
	for halted := false; ; halted = true {
		var err error
		for range 2 {
			if err = c.start(); err != nil {
				return err
			}
		}
		if err = c.flushed(ctx); err == nil || halted || c.log.Err() == nil {
			return err
		}
		if err := c.ownAgain(ctx); err != nil {
			return err
		}
	}
}

// whole reads everything from every server as a newcomer would.
func (c *cell) whole(ctx context.Context) error {
	pool, err := stor.Open(ctx, poolConfig(nil), c.s.dial())
	if err != nil {
		return err
	}
	defer pool.Close() //nolint:errcheck // it only reads
	v, err := pool.Survey(ctx, c.vdisk)
	if err != nil {
		return err
	}
	if int(v.Head()) != len(c.chain) {
		panic(fmt.Sprintf("the log ends at %d, %d positions were acknowledged", v.Head(), len(c.chain)))
	}
	if err := c.same(ctx, v); err != nil {
		return err
	}
	for pos := tlog.Position(1); pos <= v.Head(); pos++ {
		damaged, err := v.Inspect(ctx, pos)
		if err != nil {
			return err
		}
		if len(damaged) > 0 {
			return fmt.Errorf("position %d is not whole after repair: %v", pos, damaged)
		}
	}
	return nil
}
