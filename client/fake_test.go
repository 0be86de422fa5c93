package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tlog"
	"tlog/client"
	"tlog/crypto"
	"tlog/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const vdisk = tlog.VdiskID("disk")

// fake is a server that keeps one vdisk's log in memory and fails the test when
// a client breaks the protocol. Its fields may be set before the first connection,
// and later with set.
type fake struct {
	tb testing.TB
	wg sync.WaitGroup

	mu         sync.Mutex
	log        []tlog.Record
	chains     []tlog.Hash
	durable    int
	generation tlog.Generation
	hellos     []schema.Hello
	conns      []net.Conn
	messages   int // on all connections
	closed     bool

	holdFlush bool                   // do not make anything durable
	deaf      context.Context        // until it ends, read nothing after the welcome, and chatter
	mute      bool                   // read, and answer nothing
	cutAfter  int                    // close without an answer after so many messages; 0: never
	discard   bool                   // do not keep or check records
	inWelcome func(*schema.Welcome)  // changes the welcome
	inAnswer  func(*schema.Response) // changes an answer
	raw       []byte                 // sent after the welcome
}

func newFake(tb testing.TB) *fake {
	f := &fake{tb: tb}
	tb.Cleanup(f.close)
	return f
}

// close ends all connections, refuses new ones, and waits for the goroutines.
func (f *fake) close() {
	f.set(func() { f.closed = true })
	f.cut()
	f.wg.Wait()
}

// cut breaks all connections.
func (f *fake) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.conns {
		c.Close()
	}
	f.conns = nil
}

func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// dial is a client.Config.Dial that reaches f through a pipe.
func (f *fake) dial(context.Context, string) (net.Conn, error) {
	here, there := net.Pipe()
	f.serve(there)
	return here, nil
}

// listen serves f on a free port, or a unix socket, and returns the address.
func (f *fake) listen(network, address string) string {
	ln, err := net.Listen(network, address)
	if err != nil {
		f.tb.Fatal(err)
	}
	f.tb.Cleanup(func() { ln.Close() })
	f.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			f.serve(c)
		}
	})
	f.tb.Cleanup(func() { ln.Close() })
	return ln.Addr().String()
}

func (f *fake) serve(c net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		c.Close()
		return
	}
	f.conns = append(f.conns, c)
	f.wg.Go(func() {
		defer c.Close()
		err := f.session(c)
		if tlog.ClassOf(err) == tlog.Protocol && !errors.Is(err, io.ErrUnexpectedEOF) {
			f.tb.Errorf("fake: %v", err)
		}
	})
}

func (f *fake) session(c net.Conn) error {
	r := schema.NewReader(c)
	frame, err := r.Frame(schema.MaxHandshake, nil)
	if err != nil {
		return err
	}
	h, err := schema.DecodeHello(frame)
	if err != nil {
		return err
	}
	w, raw := f.welcome(h)
	if _, err := c.Write(append(schema.AppendWelcome(nil, &w), raw...)); err != nil || w.Status != tlog.HandshakeOK {
		return nil
	}
	if ctx := f.deafness(); ctx != nil {
		return chatter(ctx, c)
	}
	var b schema.Batch
	var buf []byte
	for n := 1; ; n++ {
		t, err := r.Type()
		if err != nil {
			return err
		}
		frame, err := r.Frame(schema.MaxBatch, func(n int) ([]byte, error) { buf = slices.Grow(buf[:0], n)[:n]; return buf, nil })
		if err != nil {
			return err
		}
		answers, err := f.message(t, frame, &b)
		if err != nil {
			return err
		}
		var cut, mute bool
		f.set(func() { f.messages++; cut, mute = f.cutAfter > 0 && n >= f.cutAfter, f.mute })
		if cut {
			return nil
		}
		if mute || len(answers) == 0 {
			continue
		}
		if _, err := c.Write(answers); err != nil {
			return nil
		}
		if t == schema.MsgBye {
			return nil
		}
	}
}

func (f *fake) deafness() context.Context {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.deaf
}

// chatter answers what says nothing, once a second, and reads nothing.
func chatter(ctx context.Context, c net.Conn) error {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
		if _, err := c.Write(schema.AppendResponse(nil, schema.Version2, &schema.Response{Status: tlog.StatusRecvOK, Epoch: 1})); err != nil {
			return nil
		}
	}
}

// welcome attaches: what was received is made durable first.
func (f *fake) welcome(h schema.Hello) (schema.Welcome, []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hellos = append(f.hellos, h)
	if h.Generation > f.generation {
		f.tb.Errorf("fake: hello with generation %d, the log has %d", h.Generation, f.generation)
	}
	if int(h.LastFlushed) > f.durable || h.Chain != f.chainAt(int(h.LastFlushed)) {
		f.tb.Errorf("fake: hello with LastFlushed %d and chain %v; %d are durable", h.LastFlushed, h.Chain, f.durable)
	}
	f.durable = len(f.log)
	f.generation++
	w := schema.Welcome{
		Version: schema.Version2, Status: tlog.HandshakeOK,
		LastFlushed: tlog.Sequence(f.durable), Chain: f.chainAt(f.durable),
		Generation: f.generation, Epoch: 1, CreditRecords: 4096, CreditBytes: 16 << 20,
		Hash: h.Hashes[0], Vdisk: tlog.UUID{7}, Durability: "memory",
	}
	if f.durable > 0 {
		w.LastTimestamp = f.log[f.durable-1].Timestamp
	}
	if f.inWelcome != nil {
		f.inWelcome(&w)
	}
	return w, f.raw
}

func (f *fake) chainAt(n int) tlog.Hash {
	if n == 0 {
		return tlog.ChainStart(vdisk)
	}
	return f.chains[n-1]
}

// message takes one message and returns the answers, framed.
func (f *fake) message(t schema.MessageType, frame []byte, b *schema.Batch) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []schema.Response
	switch t {
	case schema.MsgBatch:
		if err := schema.DecodeBatch(frame, b); err != nil {
			return nil, err
		}
		if f.discard {
			last := b.Records[len(b.Records)-1].Sequence
			return schema.AppendResponse(nil, schema.Version2, &schema.Response{Status: tlog.StatusFlushOK, UpTo: last, Chain: b.Chain, Epoch: 1}), nil
		}
		if err := f.receive(b); err != nil {
			return nil, err
		}
		out = append(out, schema.Response{Status: tlog.StatusRecvOK, UpTo: tlog.Sequence(len(f.log)), Epoch: 1})
	default:
		ct, seq, err := schema.DecodeCommand(frame)
		if err != nil {
			return nil, err
		}
		if ct != t {
			return nil, tlog.Protocolf("type byte %d ahead of command %d", t, ct)
		}
		if out, err = f.command(ct, seq); err != nil {
			return nil, err
		}
	}
	var p []byte
	for i := range out {
		if f.inAnswer != nil {
			f.inAnswer(&out[i])
		}
		p = schema.AppendResponse(p, schema.Version2, &out[i])
	}
	return p, nil
}

func (f *fake) receive(b *schema.Batch) error {
	for i := range b.Records {
		r := b.Records[i]
		if int(r.Sequence) != len(f.log)+1 {
			return tlog.Protocolf("record %d after %d", r.Sequence, len(f.log))
		}
		if r.Hash != crypto.HashRecord(tlog.HashBlake2b, r.Data) {
			return tlog.Protocolf("record %d has a wrong hash", r.Sequence)
		}
		if len(f.log) > 0 && r.Timestamp < f.log[len(f.log)-1].Timestamp {
			return tlog.Protocolf("record %d: timestamp decreases", r.Sequence)
		}
		r.Data = slices.Clone(r.Data)
		f.chains = append(f.chains, tlog.ChainNext(f.chainAt(len(f.log)), &r))
		f.log = append(f.log, r)
	}
	if f.chainAt(len(f.log)) != b.Chain {
		return tlog.Protocolf("batch with a wrong chain value after %d", len(f.log))
	}
	return nil
}

func (f *fake) command(t schema.MessageType, seq uint64) ([]schema.Response, error) {
	switch t {
	case schema.MsgForceFlush:
		return append([]schema.Response{{Status: tlog.StatusForceFlushReceived, UpTo: tlog.Sequence(seq)}}, f.flush()...), nil
	case schema.MsgWaitSlaveSync:
		return []schema.Response{{Status: tlog.StatusWaitSlaveSyncReceived}}, nil
	case schema.MsgBye:
		out := f.flush()
		if len(out) == 0 {
			return nil, nil
		}
		return append(out, schema.Response{Status: tlog.StatusByeOK, UpTo: tlog.Sequence(f.durable)}), nil
	}
	return nil, tlog.Protocolf("command of type %d", t)
}

func (f *fake) flush() []schema.Response {
	if f.holdFlush {
		return nil
	}
	f.durable = len(f.log)
	return []schema.Response{{Status: tlog.StatusFlushOK, UpTo: tlog.Sequence(f.durable), Chain: f.chainAt(f.durable), Epoch: 1}}
}

// check compares the log with what the client was given.
func (f *fake) check(want int) {
	f.tb.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.log) != want || f.durable != want {
		f.tb.Errorf("the log has %d records, %d durable; want %d", len(f.log), f.durable, want)
	}
}

// open opens a client of f through a pipe, with changes to its Config.
func open(tb testing.TB, f *fake, edit func(*client.Config)) *client.Client {
	tb.Helper()
	cfg := client.Config{Servers: []string{"fake"}, Vdisk: vdisk, Dial: f.dial}
	if edit != nil {
		edit(&cfg)
	}
	c, err := client.Open(context.Background(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { abandon(c) })
	return c
}

// abandon ends a client at once; one that is closed already stays so.
func abandon(c *client.Client) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = c.Close(ctx)
}

// tempSocket is a short path for a unix socket.
func tempSocket(tb testing.TB) string {
	dir, err := os.MkdirTemp("", "tlog")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	return dir + "/s"
}
