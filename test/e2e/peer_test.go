//go:build e2e

package e2e

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"tlog"
	"tlog/crypto"
	"tlog/schema"
)

// peer is a version-2 client that says what the test wants, and sees every
// answer: what the library would do by itself is not in between.
type peer struct {
	t       testing.TB
	nc      net.Conn
	r       *schema.Reader
	welcome schema.Welcome
	last    tlog.Sequence
	chain   tlog.Hash
}

// patience is a limit for a process that is alive, on a loaded machine.
const patience = 60 * time.Second

// greet connects to addr and says hello for client. The answer is in welcome.
func greet(t testing.TB, addr string, h schema.Hello) *peer {
	t.Helper()
	network, address := "tcp", addr
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		network, address = "unix", path
	}
	nc, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	p := &peer{t: t, nc: nc, r: schema.NewReader(nc)}
	h.Version, h.MinVersion, h.Vdisk = schema.Version2, schema.Version2, vdisk
	_ = nc.SetDeadline(time.Now().Add(patience))
	if _, err := nc.Write(schema.AppendHello(nil, &h)); err != nil {
		t.Fatal(err)
	}
	frame, err := p.r.Frame(schema.MaxHandshake, nil)
	if err != nil {
		t.Fatalf("%s: handshake: %v", addr, err)
	}
	if p.welcome, err = schema.DecodeWelcome(frame); err != nil {
		t.Fatal(err)
	}
	p.last, p.chain = p.welcome.LastFlushed, p.welcome.Chain
	return p
}

// attach is greet, again and again while the log is being moved.
func attach(t testing.TB, addr string, h schema.Hello) *peer {
	t.Helper()
	var p *peer
	eventually(t, "attach to "+addr, func() error {
		p = greet(t, addr, h)
		if p.welcome.Status == tlog.HandshakeOK {
			return nil
		}
		if p.welcome.Status.Permanent() && p.welcome.Status != tlog.HandshakeMoved {
			t.Fatalf("%s: %v: %s", addr, p.welcome.Status, p.welcome.Message)
		}
		return errors.New(p.welcome.Message)
	})
	return p
}

// again is what a client of p's history says in its next hello.
func (p *peer) again(client tlog.UUID) schema.Hello {
	return schema.Hello{Client: client, Generation: p.welcome.Generation, LastFlushed: p.last, Chain: p.chain}
}

// send writes one record of data and asks for a flush, without waiting.
func (p *peer) send(data string) {
	p.t.Helper()
	rec := tlog.Record{
		Sequence: p.last + 1, Operation: tlog.OpWrite, Size: uint32(len(data)), Data: []byte(data),
		Timestamp: uint64(time.Now().UnixNano()), Hash: crypto.HashRecord(p.welcome.Hash, []byte(data)),
	}
	chain := tlog.ChainNext(p.chain, &rec)
	b := schema.AppendBatch([]byte{byte(schema.MsgBatch)}, &schema.Batch{Records: []tlog.Record{rec}, Chain: chain})
	b = schema.AppendCommand(b, schema.MsgForceFlush, uint64(rec.Sequence))
	_ = p.nc.SetDeadline(time.Now().Add(patience))
	if _, err := p.nc.Write(b); err != nil {
		p.t.Fatal(err)
	}
	p.last, p.chain = rec.Sequence, chain
}

// answers reads until FlushOK at s, or the end of the connection. It reports
// which of the two came.
func (p *peer) answers(s tlog.Sequence) (flushed bool, statuses []tlog.BlockStatus) {
	p.t.Helper()
	_ = p.nc.SetDeadline(time.Now().Add(patience))
	for {
		frame, err := p.r.Frame(schema.MaxBatch, nil)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			p.t.Fatalf("after %v the connection is neither answered nor closed", statuses)
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				p.t.Logf("connection ended: %v", err)
			}
			return false, statuses
		}
		m, err := schema.DecodeResponse(frame)
		if err != nil {
			p.t.Fatal(err)
		}
		statuses = append(statuses, m.Status)
		if m.Message != "" {
			p.t.Logf("%v: %s", m.Status, m.Message)
		}
		if m.Status == tlog.StatusFlushOK && m.UpTo >= s {
			return true, statuses
		}
	}
}

// write makes one record durable.
func (p *peer) write(data string) {
	p.t.Helper()
	p.send(data)
	if ok, got := p.answers(p.last); !ok {
		p.t.Fatalf("record %d is not durable, answers %v", p.last, got)
	}
}
