//go:build e2e

package faults

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"tlog/player"
	"tlog/stor"
)

// netCell is one fault in one direction of one link.
type netCell struct {
	fault *netFault
	dir   int
	store bool // the link is server–Redis, else client–server
	said  string
}

func (c *netCell) String() string {
	link, dir := "client-server", "forth"
	if c.store {
		link = "server-redis"
	}
	if c.dir == back {
		dir = "back"
	}
	return fmt.Sprintf("%s/%s/%s", c.fault.name, link, dir)
}

// netHold is how long a fault of a link lasts.
const netHold = 2 * time.Second

// run writes all the time: before, during and after the fault.
func (c *netCell) run(t testing.TB, s *stores) (err error) {
	k, err := newStack(t, s)
	if err != nil {
		return fmt.Errorf("before the fault: %w", err)
	}
	defer func() { c.said = k.said.String() }()
	ctx, cancel := context.WithTimeout(context.Background(), 2*recovery)
	defer cancel()
	writing, stop := context.WithCancel(ctx)
	wrote := make(chan error, 1)
	go func() { wrote <- k.write(writing, uint64(time.Now().UnixNano())) }()
	f := &lineFault{dir: c.dir, over: make(chan struct{})}
	f.carry = func(fl *flow, b []byte) bool { return c.fault.carry(f, fl, b) }
	hurt := []*link{k.front}
	if c.store { // as many as stop the pool; of those that lie, as many as may be lost
		hurt = k.cables[:shardsM+1]
		if c.fault.flips {
			hurt = k.cables[:shardsM]
		}
	}
	for _, l := range hurt {
		l.set(f)
	}
	var bad []error
	for _, part := range []time.Duration{netHold / 2, netHold / 2} {
		wait(part)
		bad = append(bad, k.durable(ctx))
	}
	for _, l := range hurt {
		l.set(nil)
	}
	close(f.over)
	wait(netHold / 4)
	stop()
	bad = append(bad, <-wrote)
	bad = append(bad, c.after(ctx, k))
	if !c.fault.flips && k.reborn > 0 {
		bad = append(bad, errors.New("the client gave up"))
	}
	return errors.Join(bad...)
}

func wait(d time.Duration) { <-time.After(d) }

// after has everything flushed, and reads it as a newcomer would.
func (c *netCell) after(ctx context.Context, k *stack) error {
	ctx, cancel := context.WithTimeout(ctx, recovery)
	defer cancel()
	if err := k.flush(ctx); err != nil {
		return fmt.Errorf("after the fault: %w", err)
	}
	if k.c.Err() != nil { // it was still to hear of the fault
		return fmt.Errorf("after the fault: %w", k.c.Err())
	}
	if err := k.flush(ctx); err != nil {
		return fmt.Errorf("after the fault: %w", err)
	}
	if k.acked < k.c.Last()-1 {
		return fmt.Errorf("record %d of %d is acknowledged", k.acked, k.c.Last())
	}
	if err := k.durable(ctx); err != nil {
		return err
	}
	err := k.c.Close(ctx)
	return errors.Join(err, c.whole(ctx, k), k.close())
}

// whole verifies; damage is what flipped bits left on their way to a Redis, it
// is of that server, and can be repaired.
func (c *netCell) whole(ctx context.Context, k *stack) error {
	l, err := player.Open(ctx, k.clean, k.keys, k.cfg.Vdisk, player.Config{})
	if err != nil {
		return err
	}
	report, err := l.Verify(ctx, nil)
	if err != nil {
		return err
	}
	lies := c.fault.flips && c.store
	for _, d := range report.Damaged {
		// A server that did not get a shard in time is short of it.
		if !errors.Is(d.Err, stor.ErrAbsent) && (!lies || d.Server != k.redis[0].Addr) {
			return fmt.Errorf("verify: position %d: %s: %w", d.Position, d.Server, d.Err)
		}
	}
	if !lies {
		return nil
	}
	owned, err := k.clean.Takeover(ctx, l.Info().UUID, func(context.Context, *stor.View, *stor.Fetched) error { return nil })
	if err != nil {
		return fmt.Errorf("takeover: %w", err)
	}
	defer owned.Close()
	p, err := owned.Repair(ctx, stor.RepairConfig{Deep: true, BytesPerSecond: -1, PositionsPerSecond: -1})
	if err != nil || p.Short > 0 {
		return fmt.Errorf("repair leaves %d positions short: %w", p.Short, errors.Join(err, p.Reason))
	}
	if l, err = player.Open(ctx, k.clean, k.keys, k.cfg.Vdisk, player.Config{}); err != nil {
		return err
	}
	if report, err = l.Verify(ctx, nil); err == nil && len(report.Damaged) > 0 {
		err = fmt.Errorf("after repair: %+v", report.Damaged)
	}
	return err
}

// TestNetFaults runs the network matrix, but for the partitions.
func TestNetFaults(t *testing.T) {
	total := &tally{}
	figure["netfaults"] = total
	todo := make(chan *netCell)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			s := newStores(t)
			for c := range todo {
				begin := time.Now()
				err := c.run(t, s)
				mu.Lock()
				bad := 0
				if err != nil {
					bad = 1
					t.Errorf("%v: %v\nwhat was logged:\n%s", c, err, last(c.said, 4000))
				}
				total.note(fmt.Sprintf("%-48s violations %d  %5.1f s", c, bad, time.Since(begin).Seconds()), 1, bad)
				mu.Unlock()
			}
		})
	}
	for _, c := range netCells() {
		todo <- c
	}
	close(todo)
	wg.Wait()
}

// netCells lists the cells to run: all, or, without -whole, one of each fault,
// another one every day.
func netCells() (list []*netCell) {
	day := time.Now().YearDay()
	for i := range netFaults {
		var of []*netCell
		for _, store := range []bool{false, true} {
			for _, dir := range []int{forth, back} {
				of = append(of, &netCell{fault: &netFaults[i], dir: dir, store: store})
			}
		}
		switch {
		case *only != "":
			for _, c := range of {
				if strings.Contains(c.String(), *only) {
					list = append(list, c)
				}
			}
		case *whole:
			list = append(list, of...)
		default:
			list = append(list, of[(day+i)%len(of)])
		}
	}
	return list
}
