package server_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tlog"
	"tlog/aggregate"
	"tlog/crypto"
	"tlog/schema"
	"tlog/server"
	"tlog/stor"
	"tlog/stor/file"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gate is a shard server that can be told to hang or to refuse appends.
type gate struct {
	stor.Server

	mu     sync.Mutex
	open   chan struct{} // closed: appends pass
	refuse error
	rotten bool                   // shards are read with a bit flipped
	whole  map[tlog.Position]bool // but for those that were replaced
}

func newGate(s stor.Server) *gate {
	g := &gate{Server: s, open: make(chan struct{})}
	close(g.open)
	return g
}

// hang holds appends back until the result is called.
func (g *gate) hang() (resume func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := make(chan struct{})
	g.open = c
	return sync.OnceFunc(func() { close(c) })
}

// fail answers appends with err; nil ends that.
func (g *gate) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refuse = err
}

func (g *gate) Append(ctx context.Context, r *stor.AppendRequest, done func(stor.Meta, error)) {
	g.mu.Lock()
	open, refuse := g.open, g.refuse
	if r.Replace && g.rotten {
		if g.whole == nil {
			g.whole = map[tlog.Position]bool{}
		}
		g.whole[r.Position] = true
	}
	g.mu.Unlock()
	if refuse != nil {
		done(stor.Meta{}, refuse)
		return
	}
	select {
	case <-open:
		g.Server.Append(ctx, r, done)
		return
	default:
	}
	go func() {
		select {
		case <-open:
			g.Server.Append(ctx, r, done)
		case <-ctx.Done():
			done(stor.Meta{}, ctx.Err())
		}
	}()
}

// store is a pool of four directories, 2+1, with its keys. It outlives servers.
type store struct {
	pool  *stor.Pool
	keys  *crypto.Keyring
	gates []*gate
}

func check(b []byte, vdisk tlog.UUID, pos tlog.Position, headOnly bool) (stor.Checked, error) {
	s, err := crypto.Check(b, vdisk, pos, headOnly)
	if err != nil {
		return stor.Checked{}, err
	}
	return stor.Checked{
		Digest: s.Digest, Prev: s.Header.Prev, Index: s.Index,
		K: int(s.Header.K), M: int(s.Header.M), Head: s.Head, Body: s.Body,
	}, nil
}

func newStore(t testing.TB) *store {
	t.Helper()
	dir := t.TempDir()
	keys, err := crypto.CreateKeyFile(filepath.Join(dir, "key"))
	if err != nil {
		t.Fatal(err)
	}
	s := &store{keys: keys}
	var servers []stor.Server
	for i := range 4 {
		f, err := file.Open(filepath.Join(dir, fmt.Sprint(i)), file.Options{})
		if err != nil {
			t.Fatal(err)
		}
		g := newGate(f)
		s.gates = append(s.gates, g)
		servers = append(servers, g)
	}
	cfg := stor.Config{K: 2, M: 1, Check: check}
	if _, err := stor.Init(t.Context(), cfg, servers); err != nil {
		t.Fatal(err)
	}
	if s.pool, err = stor.Open(t.Context(), cfg, servers); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.pool.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *store) hang() (resume func()) {
	var all []func()
	for _, g := range s.gates {
		all = append(all, g.hang())
	}
	return func() {
		for _, f := range all {
			f()
		}
	}
}

func (s *store) fail(err error) {
	for _, g := range s.gates {
		g.fail(err)
	}
}

// running is a server on a loopback port.
type running struct {
	*server.Server
	addr string
	stop func() error // Shutdown with a generous deadline, once
}

func start(t testing.TB, s *store, change func(*server.Config)) *running {
	t.Helper()
	cfg := server.Config{Pool: s.pool, Keys: s.keys, Aggregate: aggregate.Config{MaxAge: 20 * time.Millisecond}, Logger: slog.New(slog.NewTextHandler(logTo{t}, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	if change != nil {
		change(&cfg)
	}
	srv, err := server.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(context.Background(), ln) }()
	r := &running{Server: srv, addr: ln.Addr().String()}
	r.stop = sync.OnceValue(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err := srv.Shutdown(ctx)
		return errors.Join(err, <-served)
	})
	t.Cleanup(func() {
		_ = r.stop()
		if used, _ := srv.BudgetInUse(); used != 0 {
			t.Errorf("%d bytes of the memory budget are lost", used)
		}
	})
	return r
}

// logTo shows a server's log with the test that fails.
type logTo struct{ t testing.TB }

func (l logTo) Write(b []byte) (int, error) {
	l.t.Logf("%s", b[:len(b)-1])
	return len(b), nil
}

// peer is a version-2 client, or a hostile one, by hand.
type peer struct {
	t       testing.TB
	c       net.Conn
	r       *schema.Reader
	version schema.Version
	hash    tlog.HashAlgorithm
}

func dial(t testing.TB, addr string) *peer {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	return &peer{t: t, c: c, r: schema.NewReader(c), version: schema.Version2}
}

func (p *peer) send(b []byte) {
	p.t.Helper()
	if _, err := p.c.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) hello(h schema.Hello) schema.Welcome {
	p.t.Helper()
	if h.Version == 0 {
		h.Version, h.MinVersion = schema.Version2, schema.Version2
	}
	p.send(schema.AppendHello(nil, &h))
	return p.welcome()
}

func (p *peer) welcome() schema.Welcome {
	p.t.Helper()
	frame, err := p.r.Frame(schema.MaxHandshake, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	w, err := schema.DecodeWelcome(frame)
	if err != nil {
		p.t.Fatal(err)
	}
	p.hash = w.Hash
	return w
}

// attach is hello that must succeed.
func (p *peer) attach(h schema.Hello) schema.Welcome {
	p.t.Helper()
	w := p.hello(h)
	if w.Status != tlog.HandshakeOK {
		p.t.Fatalf("handshake: %v: %s", w.Status, w.Message)
	}
	return w
}

func (p *peer) batch(h *history, from, to int) {
	p.t.Helper()
	p.send(schema.AppendBatch([]byte{byte(schema.MsgBatch)}, &schema.Batch{Records: h.records[from-1 : to], Chain: h.chains[to]}))
}

func (p *peer) command(t schema.MessageType, seq uint64) {
	p.t.Helper()
	p.send(schema.AppendCommand(nil, t, seq))
}

func (p *peer) response() schema.Response {
	p.t.Helper()
	frame, err := p.r.Frame(schema.MaxResponse, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	r, err := schema.DecodeResponse(frame)
	if err != nil {
		p.t.Fatal(err)
	}
	return r
}

// until reads answers up to one of that status for s or more.
func (p *peer) until(status tlog.BlockStatus, s tlog.Sequence) schema.Response {
	p.t.Helper()
	for {
		r := p.response()
		if r.Status == status && r.UpTo >= s {
			return r
		}
		if r.Status < 0 && r.Status != status {
			p.t.Fatalf("answer %d: %s; want %d for %d", r.Status, r.Message, status, s)
		}
	}
}

// ended checks that the server closes, and closes.
func (p *peer) ended() {
	p.t.Helper()
	defer func() { _ = p.c.Close() }()
	var b [1]byte
	if n, err := p.c.Read(b[:]); err == nil || isTimeout(err) {
		p.t.Fatalf("connection still open: read %d bytes, %v", n, err)
	}
}

// closed checks that the server closes, after nothing but answers to what it was
// sent before.
func (p *peer) closed() {
	p.t.Helper()
	for {
		frame, err := p.r.Frame(schema.MaxResponse, nil)
		if err != nil {
			if isTimeout(err) {
				p.t.Fatalf("connection still open: %v", err)
			}
			_ = p.c.Close()
			return
		}
		r, err := schema.DecodeResponse(frame)
		if err != nil || r.Status < 0 {
			p.t.Fatalf("answer %d: %s, %v; want none", r.Status, r.Message, err)
		}
	}
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// history is records 1…n of a vdisk, and their chain values.
type history struct {
	records []tlog.Record
	chains  []tlog.Hash
}

func makeHistory(vdisk tlog.VdiskID, n, size int) *history {
	h := &history{chains: []tlog.Hash{tlog.ChainStart(vdisk)}}
	start := uint64(time.Now().UnixNano())
	for i := range n {
		data := make([]byte, size)
		copy(data, fmt.Sprintf("record %d", i+1))
		r := tlog.Record{
			Sequence: tlog.Sequence(i + 1), Offset: uint64(i * size), Size: uint32(size), Timestamp: start + uint64(i),
			Operation: tlog.OpWrite, Hash: crypto.HashRecord(tlog.HashBlake2b, data), Data: data,
		}
		h.records = append(h.records, r)
		h.chains = append(h.chains, tlog.ChainNext(h.chains[i], &r))
	}
	return h
}

var alice, bob = tlog.UUID{0xa}, tlog.UUID{0xb}
