//go:build e2e

package bench

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"tlog"
	"tlog/internal/bench/stage"
	"tlog/schema"
	"tlog/server"
)

// BenchmarkVersion1 is a client of version 1 as it is found: a block of 4 KiB
// a message, and a system call for each. An operation is a block; what the
// client spends on it, but for its hash, is inside the measure.
func BenchmarkVersion1(b *testing.B) {
	for _, kind := range kinds {
		b.Run("store="+kind, func(b *testing.B) { benchmarkVersion1(b, openStore(b, kind)) })
	}
}

func benchmarkVersion1(b *testing.B, s *store) {
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
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	greet1(b, c)
	drained := make(chan struct{})
	go func() { // the answers
		defer close(drained)
		_, _ = io.Copy(io.Discard, bufio.NewReaderSize(c, 64<<10))
	}()
	history := stage.Records(&stages)
	b.SetBytes(int64(stages.Record))
	b.ReportAllocs()
	m := startMeter(b, s.redis)
	var buf []byte
	for n := uint64(0); b.Loop(); n++ {
		r := &history[int(n)%len(history)]
		buf = schema.AppendBlock(buf[:0], &schema.Block{Sequence: n, Index: int64(n % 1024), Hash: r.Hash, Data: r.Data,
			Timestamp: uint64(time.Now().UnixNano()), Operation: tlog.OpWrite})
		if _, err := c.Write(buf); err != nil {
			b.Fatal(err)
		}
	}
	b.StartTimer()
	if err := errors.Join(srv.Shutdown(context.Background()), <-served); err != nil { // flushes what came
		b.Fatal(err)
	}
	b.StopTimer()
	m.report(int64(b.N) * int64(stages.Record))
	_ = c.Close()
	<-drained
}

func greet1(b *testing.B, c net.Conn) {
	b.Helper()
	if _, err := c.Write(schema.AppendHello(nil, &schema.Hello{Version: schema.Version1, Vdisk: string(vdisk)})); err != nil {
		b.Fatal(err)
	}
	frame, err := schema.NewReader(c).Frame(schema.MaxHandshake, nil)
	if err != nil {
		b.Fatal(err)
	}
	w, err := schema.DecodeWelcome(frame)
	if err != nil || w.Status != tlog.HandshakeOK {
		b.Fatalf("handshake: %v, %s, %v", w.Status, w.Message, err)
	}
}
