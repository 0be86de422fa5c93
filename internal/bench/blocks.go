package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"tlog"
	"tlog/crypto"
	"tlog/schema"
)

// blocks is a version-1 client as there are: it hashes and sends one block
// with each system call, and keeps a number of them until they are flushed.
type blocks struct {
	load *Load
	data []byte
	conn net.Conn
	next uint64
	buf  []byte

	mu      sync.Mutex
	changed *sync.Cond
	flushed uint64 // the first sequence that is not
	err     error
	times   []time.Time
	took    Latencies
}

func openBlocks(l *Load, data []byte) (worker, error) {
	c, err := net.Dial("tcp", l.Server)
	if err != nil {
		return nil, err
	}
	b := &blocks{load: l, data: data, conn: c, times: make([]time.Time, max(l.Depth, 1))}
	b.changed = sync.NewCond(&b.mu)
	r := schema.NewReader(c)
	if err := b.attach(r); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	go b.receive(r)
	return b, nil
}

func (b *blocks) attach(r *schema.Reader) error {
	hello := schema.AppendHello(nil, &schema.Hello{Version: schema.Version1, MinVersion: schema.Version1, Vdisk: "bench-v1"})
	if _, err := b.conn.Write(hello); err != nil {
		return err
	}
	frame, err := r.Frame(schema.MaxHandshake, nil)
	if err != nil {
		return err
	}
	w, err := schema.DecodeWelcome(frame)
	if err == nil && w.Status != tlog.HandshakeOK {
		err = fmt.Errorf("bench: version-1 handshake: %v: %s", w.Status, w.Message)
	}
	return err
}

func (b *blocks) receive(r *schema.Reader) {
	for {
		var a schema.Response
		frame, err := r.Frame(schema.MaxResponse, nil)
		if err == nil {
			a, err = schema.DecodeResponse(frame)
		}
		if err == nil && a.Status < 0 {
			err = fmt.Errorf("bench: a block was answered with %d", a.Status)
		}
		b.answered(&a, err)
		if err != nil {
			return
		}
	}
}

func (b *blocks) answered(a *schema.Response, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = err
	}
	if a.Status == tlog.StatusFlushOK && len(a.Sequences) > 0 {
		last, now := a.Sequences[len(a.Sequences)-1], time.Now()
		for ; b.flushed <= last; b.flushed++ {
			b.took.Add(now.Sub(b.times[b.flushed%uint64(len(b.times))]))
		}
	}
	b.changed.Broadcast()
}

// room waits until fewer than n blocks are not flushed.
func (b *blocks) room(n int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.err == nil && b.next-b.flushed >= uint64(n) {
		b.changed.Wait()
	}
	b.times[b.next%uint64(len(b.times))] = time.Now()
	return b.err
}

func (b *blocks) work(_ context.Context, d time.Duration, o *Outcome) error {
	b.mu.Lock()
	b.took = Latencies{}
	b.mu.Unlock()
	from, end := b.next, time.Now().Add(d)
	for time.Now().Before(end) {
		if err := b.room(len(b.times)); err != nil {
			return err
		}
		if err := b.send(); err != nil {
			return err
		}
	}
	if b.next == 0 {
		return nil
	}
	if _, err := b.conn.Write(schema.AppendCommand(nil, schema.MsgForceFlush, b.next-1)); err != nil {
		return err
	}
	if err := b.room(1); err != nil || o == nil {
		return err
	}
	o.Records = int64(b.next - from)
	o.Bytes = o.Records * int64(b.load.Record)
	o.FlushOK = b.took.Spread()
	return nil
}

func (b *blocks) send() error {
	n := b.load.Record
	data := b.data[int(b.next%uint64(len(b.data)/n))*n:][:n]
	b.buf = schema.AppendBlock(b.buf[:0], &schema.Block{
		Sequence: b.next, Index: int64(b.next % (diskSize / 4096)), Hash: crypto.HashRecord(tlog.HashBlake2b, data),
		Data: data, Timestamp: uint64(time.Now().UnixNano()), Operation: tlog.OpWrite,
	})
	b.next++
	_, err := b.conn.Write(b.buf)
	return err
}

func (b *blocks) close() error { return b.conn.Close() }
