//go:build e2e

package bench

import (
	"context"
	"errors"
	"net"
	"testing"

	"tlog"
	"tlog/internal/bench/stage"
	"tlog/schema"
	"tlog/server"
)

// BenchmarkServer is the server alone, without a store: messages of 64 records
// of 4 KiB whose hashes were taken before are read, checked, ordered, sealed
// and acknowledged. What making the messages takes is the stages encode and
// chain, and half of tcp.
func BenchmarkServer(b *testing.B) {
	s := openStore(b, "null")
	srv, err := server.New(server.Config{Pool: s.pool, Keys: s.keys})
	if err != nil {
		b.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(context.Background(), ln) }()
	p := dialPeer(b, ln.Addr().String())

	bytes := perBatch * stages.Record
	b.SetBytes(int64(bytes))
	b.ReportAllocs()
	m := startMeter(b, nil)
	for b.Loop() {
		p.send()
	}
	b.StartTimer()
	p.flush()
	b.StopTimer()
	m.report(int64(b.N) * int64(bytes))
	if err := errors.Join(p.conn.Close(), srv.Shutdown(context.Background()), <-served); err != nil {
		b.Fatal(err)
	}
}

// peer sends the same data again and again, as new records.
type peer struct {
	b        *testing.B
	conn     net.Conn
	template []tlog.Record
	batch    schema.Batch
	vecs     [][]byte
	scratch  []byte
	last     tlog.Sequence
	flushed  chan tlog.Sequence // closed when nothing more is received
}

func dialPeer(b *testing.B, addr string) *peer {
	b.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := c.Write(schema.AppendHello(nil, &schema.Hello{Version: schema.Version2, MinVersion: schema.Version2,
		Vdisk: string(vdisk), DiskSize: diskSize, Client: tlog.UUID{1}, Chain: tlog.ChainStart(vdisk),
		Hashes: []tlog.HashAlgorithm{tlog.HashBlake2b}})); err != nil {
		b.Fatal(err)
	}
	r := schema.NewReader(c)
	frame, err := r.Frame(schema.MaxHandshake, nil)
	if err != nil {
		b.Fatal(err)
	}
	w, err := schema.DecodeWelcome(frame)
	if err != nil || w.Status != tlog.HandshakeOK {
		b.Fatalf("handshake: %v, %s, %v", w.Status, w.Message, err)
	}
	p := &peer{b: b, conn: c, template: stage.Records(&stages), flushed: make(chan tlog.Sequence, 1)}
	p.batch = schema.Batch{Records: make([]tlog.Record, perBatch), Chain: tlog.ChainStart(vdisk)}
	go p.receive(r)
	return p
}

// receive keeps the newest FlushOK in p.flushed.
func (p *peer) receive(r *schema.Reader) {
	defer close(p.flushed)
	for {
		frame, err := r.Frame(schema.MaxResponse, nil)
		if err != nil {
			return
		}
		a, err := schema.DecodeResponse(frame)
		if err != nil || a.Status < 0 {
			p.b.Errorf("answer %d: %s, %v", a.Status, a.Message, err)
			return
		}
		if a.Status != tlog.StatusFlushOK {
			continue
		}
		select {
		case <-p.flushed:
		default:
		}
		p.flushed <- a.UpTo
	}
}

func (p *peer) send() {
	rs := p.batch.Records
	at := int(p.last) % len(p.template)
	copy(rs, p.template[at:at+len(rs)])
	for i := range rs {
		p.last++
		rs[i].Sequence = p.last
		p.batch.Chain = tlog.ChainNext(p.batch.Chain, &rs[i])
	}
	p.vecs, p.scratch = schema.BatchVectors(p.vecs[:0], p.scratch[:0], &p.batch)
	buffers := net.Buffers(p.vecs)
	if _, err := buffers.WriteTo(p.conn); err != nil {
		p.b.Fatal(err)
	}
}

// flush waits until all that was sent is acknowledged durable.
func (p *peer) flush() {
	if _, err := p.conn.Write(schema.AppendCommand(nil, schema.MsgForceFlush, uint64(p.last))); err != nil {
		p.b.Fatal(err)
	}
	for s := range p.flushed {
		if s == p.last {
			return
		}
	}
	p.b.Fatal("the connection ended before everything was flushed")
}
