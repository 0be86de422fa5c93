package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"tlog"
	"tlog/client"
)

const (
	diskSize = 4 << 30
	// ringSize is more than the records of a window, so that a time is read
	// before it is written over.
	ringSize = 2 * client.DefaultWindowRecords
	// paceEvery is how often a paced writer writes what is due.
	paceEvery = 250 * time.Microsecond
)

// writers are the clients of a Load, one a vdisk.
type writers struct {
	load *Load
	list []*writer
}

// writer logs records of one size, one behind the other over the disk.
type writer struct {
	load *Load
	data []byte
	c    *client.Client
	got  receipts

	mu   sync.Mutex // of what follows, for ModeSync
	at   int64
	sync Latencies

	next    tlog.Sequence // of the record that is about to be appended; not ModeSync
	times   []atomic.Int64
	flushed Latencies // of OnFlushed alone, while a tally is made
	told    tlog.Sequence
	tally   atomic.Bool
	caught  chan struct{} // OnFlushed has caught up with a flush
	goal    atomic.Uint64
}

func openWriters(ctx context.Context, l *Load, data []byte) (worker, error) {
	hash, err := HashOf(l.Hash)
	if err != nil {
		return nil, err
	}
	ws := &writers{load: l}
	for i := range max(l.Vdisks, 1) {
		w := &writer{load: l, data: data, times: make([]atomic.Int64, ringSize), caught: make(chan struct{}, 1)}
		if l.Mode == ModeIdle {
			w.times = nil
		}
		cfg := client.Config{Servers: []string{l.Server}, Vdisk: tlog.VdiskID(fmt.Sprintf("%s-%04d", cmp.Or(l.Name, "bench"), i)),
			DiskSize: uint64(l.disk()), Takeover: l.Adopt, Adopt: l.Adopt, Hashes: []tlog.HashAlgorithm{hash}, OnFlushed: w.onFlushed}
		if n := max(l.Vdisks, 1); n > 1 {
			cfg.WindowBytes = max(8*client.DefaultWindowBytes/n, 256<<10)
		}
		if l.Mode == ModeSync || l.Mode == ModePaced {
			cfg.Dial = w.got.dial
		}
		if w.c, err = client.Open(ctx, cfg); err != nil {
			return nil, errors.Join(err, ws.close())
		}
		w.next = w.c.Last() + 1
		w.told = w.next - 1
		ws.list = append(ws.list, w)
	}
	return ws, nil
}

func (ws *writers) work(ctx context.Context, d time.Duration, o *Outcome) error {
	failed := make(chan error, len(ws.list))
	before := make([]int64, len(ws.list))
	for i, w := range ws.list {
		before[i] = w.at
		if o != nil {
			w.got.tally(true)
			w.sync, w.flushed = Latencies{}, Latencies{}
			w.tally.Store(true)
		}
		go func() { failed <- w.work(ctx, d) }()
	}
	var errs []error
	for range ws.list {
		errs = append(errs, <-failed)
	}
	if err := errors.Join(errs...); err != nil || o == nil {
		return err
	}
	ws.report(o, before)
	return nil
}

func (ws *writers) report(o *Outcome, before []int64) {
	var flushed, received Latencies
	for i, w := range ws.list {
		o.Bytes += w.at - before[i]
		w.tally.Store(false)
		flushed.Merge(&w.flushed)
		if ws.load.Mode == ModeSync {
			flushed.Merge(&w.sync)
		}
		received.Merge(w.got.tally(false))
	}
	o.Records = o.Bytes / int64(ws.load.Record)
	o.FlushOK, o.RecvOK = flushed.Spread(), received.Spread()
}

func (ws *writers) close() error {
	var errs []error
	for _, w := range ws.list {
		errs = append(errs, w.c.Close(context.Background()))
	}
	return errors.Join(errs...)
}

// work writes for so long, or all of the load's bytes, and flushes.
func (w *writer) work(ctx context.Context, d time.Duration) error {
	end := time.Now().Add(d)
	switch {
	case w.load.Mode == ModeSync:
		return w.syncers(ctx, end)
	case w.load.Mode == ModeIdle:
		return w.idle(ctx)
	case w.load.Mode == ModePaced:
		if err := w.paced(ctx, end); err != nil {
			return err
		}
	case w.load.Bytes > 0:
		for w.at < w.load.Bytes {
			if err := w.append(ctx); err != nil {
				return err
			}
		}
	default:
		for time.Now().Before(end) {
			if err := w.append(ctx); err != nil {
				return err
			}
		}
	}
	return w.flush(ctx)
}

// append logs one record.
func (w *writer) append(ctx context.Context) error {
	start := time.Now()
	w.times[w.next%ringSize].Store(start.UnixNano())
	s, err := w.put(ctx, w.at)
	if err != nil {
		return err
	}
	if s != w.next {
		return fmt.Errorf("bench: record %d got the sequence %d", w.next, s)
	}
	if w.load.Mode == ModePaced {
		w.got.sent(s, start)
	}
	w.at += int64(w.load.Record)
	w.next++
	return nil
}

func (w *writer) put(ctx context.Context, at int64) (tlog.Sequence, error) {
	n, data := w.load.Record, w.block(at)
	offset := w.load.place(at)
	if w.load.Shared {
		return w.c.AppendShared(ctx, tlog.OpWrite, offset, uint32(n), data)
	}
	return w.c.Append(ctx, tlog.OpWrite, offset, uint32(n), data)
}

// place is the offset on the disk of what is written at that point of the load.
func (l *Load) place(at int64) uint64 {
	if !l.Scatter {
		return uint64(at % l.disk())
	}
	// The finalizer of SplitMix64 has no pattern.
	x := uint64((l.From+at)/int64(l.Record)) + 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	x ^= x >> 31
	return x % uint64(l.disk()/int64(l.Record)) * uint64(l.Record)
}

// block is what is written at that point of the load.
func (w *writer) block(at int64) []byte {
	n := int64(w.load.Record)
	return w.data[at/n%(int64(len(w.data))/n)*n:][:n]
}

// flush returns when all is durable, and OnFlushed knows.
func (w *writer) flush(ctx context.Context) error {
	w.goal.Store(uint64(w.next))
	if err := w.c.Flush(ctx); err != nil {
		return err
	}
	w.next++ // the flush mark
	select {
	case <-w.caught:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// onFlushed is called by the client, from one goroutine.
func (w *writer) onFlushed(upTo tlog.Sequence) {
	if w.times == nil || w.load.Mode == ModeSync {
		return
	}
	now := time.Now().UnixNano()
	goal := tlog.Sequence(w.goal.Load())
	for s := w.told + 1; s <= upTo; s++ {
		if s != goal && w.tally.Load() { // the goal is a mark
			w.flushed.Add(time.Duration(now - w.times[s%ringSize].Load()))
		}
	}
	w.told = upTo
	if goal != 0 && upTo >= goal {
		w.goal.Store(0)
		w.caught <- struct{}{}
	}
}

// syncers are writers that each wait for the flush of what they wrote.
func (w *writer) syncers(ctx context.Context, end time.Time) error {
	failed := make(chan error, max(w.load.Depth, 1))
	for range cap(failed) {
		go func() { failed <- w.syncer(ctx, end) }()
	}
	var errs []error
	for range cap(failed) {
		errs = append(errs, <-failed)
	}
	return errors.Join(errs...)
}

func (w *writer) syncer(ctx context.Context, end time.Time) error {
	for {
		start := time.Now()
		if start.After(end) {
			return nil
		}
		w.mu.Lock()
		at := w.at
		w.at += int64(w.load.Record)
		w.mu.Unlock()
		s, err := w.put(ctx, at)
		if err != nil {
			return err
		}
		w.got.sent(s, start)
		if err := w.c.Flush(ctx); err != nil {
			return err
		}
		took := time.Since(start)
		w.mu.Lock()
		w.sync.Add(took)
		w.mu.Unlock()
	}
}

// idle logs one record, so that the vdisk has been in use.
func (w *writer) idle(ctx context.Context) error {
	if w.at > 0 {
		return nil
	}
	if _, err := w.put(ctx, 0); err != nil {
		return err
	}
	w.at = int64(w.load.Record)
	return w.c.Flush(ctx)
}

// paced writes at a steady rate.
func (w *writer) paced(ctx context.Context, end time.Time) error {
	tick := time.NewTicker(paceEvery)
	defer tick.Stop()
	start, from := time.Now(), w.at
	for now := range tick.C {
		if now.After(end) {
			return nil
		}
		due := from + int64(w.load.Rate*now.Sub(start).Seconds())
		for w.at < due {
			if err := w.append(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// dial connects to HOST:PORT and hears what comes back.
func (r *receipts) dial(ctx context.Context, server string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", server)
	if err != nil {
		return nil, err
	}
	t, ok := c.(*net.TCPConn)
	if !ok {
		return nil, fmt.Errorf("bench: a connection of type %T", c)
	}
	return &heard{TCPConn: t, to: r}, nil
}
