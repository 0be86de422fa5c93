package bench_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"tlog"
	"tlog/crypto"
	"tlog/internal/bench"
	"tlog/server"
	"tlog/stor"
	"tlog/stor/discard"
	"tlog/stor/memory"
)

func check(b []byte, vdisk tlog.UUID, pos tlog.Position, headOnly bool) (stor.Checked, error) {
	s, err := crypto.Check(b, vdisk, pos, headOnly)
	if err != nil {
		return stor.Checked{}, err
	}
	return stor.Checked{Digest: s.Digest, Prev: s.Header.Prev, Index: s.Index,
		K: int(s.Header.K), M: int(s.Header.M), Head: s.Head, Body: s.Body}, nil
}

// serve starts a server that keeps nothing.
func serve(t *testing.T) (addr string) {
	t.Helper()
	var servers []stor.Server
	for range 3 {
		s, err := memory.New()
		if err != nil {
			t.Fatal(err)
		}
		servers = append(servers, discard.New(s))
	}
	cfg := stor.Config{K: 2, M: 1, Durability: stor.DurabilityMemory, Check: check}
	if _, err := stor.Init(t.Context(), cfg, servers); err != nil {
		t.Fatal(err)
	}
	pool, err := stor.Open(t.Context(), cfg, servers)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := crypto.NewKeyring()
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(server.Config{Pool: pool, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(context.Background(), ln) }()
	t.Cleanup(func() {
		if err := errors.Join(srv.Shutdown(context.Background()), <-served, pool.Close()); err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

// client has one conversation, as the harness has it.
func client(t *testing.T, l bench.Load) bench.Outcome {
	t.Helper()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := bench.ServeLoad(t.Context(), inR, outW)
		_ = outW.CloseWithError(err)
		ended <- err
	}()
	spec, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := inW.Write(append(spec, '\n')); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(outR)
	if line, err := r.ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("%s: %q, %v; want ready", l.Mode, line, err)
	}
	if _, err := io.WriteString(inW, "go\n"); err != nil {
		t.Fatal(err)
	}
	line, err := r.ReadBytes('\n')
	if err != nil {
		t.Fatalf("%s: %v", l.Mode, err)
	}
	var o bench.Outcome
	if err := json.Unmarshal(line, &o); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(inW.Close(), <-ended); err != nil {
		t.Errorf("%s: %v", l.Mode, err)
	}
	return o
}

// Every mode works, counts what it did, and tells latencies of each record.
func TestLoads(t *testing.T) {
	// A busy machine may keep the process waiting for 100 ms.
	base := bench.Load{Record: 4 << 10, Hash: "sha256", Data: bench.DataRandom, Warm: 20 * time.Millisecond, For: 500 * time.Millisecond}
	for name, c := range map[string]struct {
		change   func(*bench.Load)
		received bool
	}{
		"stream": {func(l *bench.Load) { l.Mode = bench.ModeStream }, false},
		"vdisks": {func(l *bench.Load) { l.Mode, l.Vdisks, l.Shared = bench.ModeStream, 5, true }, false},
		"bytes":  {func(l *bench.Load) { l.Mode, l.Warm, l.Bytes = bench.ModeStream, 0, 1<<20 }, false},
		"sync":   {func(l *bench.Load) { l.Mode, l.Depth = bench.ModeSync, 4 }, true},
		"paced":  {func(l *bench.Load) { l.Mode, l.Rate = bench.ModePaced, 4<<20 }, true},
		"blocks": {func(l *bench.Load) { l.Mode, l.Depth = bench.ModeBlocks, 100 }, false},
	} {
		t.Run(name, func(t *testing.T) {
			l := base
			l.Server = serve(t)
			c.change(&l)
			o := client(t, l)
			if o.Records < 1 || o.Bytes != o.Records*int64(l.Record) || o.Seconds <= 0 || o.CPU < 0 || o.Calls < 1 || o.Allocs < 1 {
				t.Errorf("outcome %+v", o)
			}
			if l.Bytes > 0 && o.Bytes != l.Bytes {
				t.Errorf("%d bytes written, want %d", o.Bytes, l.Bytes)
			}
			if o.FlushOK.Count != int(o.Records) || o.FlushOK.P50 <= 0 || o.FlushOK.P99 < o.FlushOK.P50 {
				t.Errorf("FlushOK of %d records: %+v", o.Records, o.FlushOK)
			}
			want := 0
			if c.received {
				want = int(o.Records)
			}
			if got := o.RecvOK.Count; got != want {
				t.Errorf("RecvOK of %d records, want %d", got, want)
			}
		})
	}
}

func TestLoadRefuses(t *testing.T) {
	in, out := io.Pipe()
	go func() { _, _ = io.WriteString(out, `{"Mode":"none","Record":4096,"Data":"random"}`+"\n") }()
	if err := bench.ServeLoad(t.Context(), in, io.Discard); err == nil {
		t.Error("served a mode that there is none of")
	}
}
