package bench

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"tlog"
	"tlog/internal/bench/proc"
)

// Load is what a client process does.
type Load struct {
	Mode   string // ModeStream, …
	Server string
	Name   string // of the vdisks, with a number behind; empty: bench
	Vdisks int    // 0: 1
	Record int    // bytes of a record's data
	Hash   string // blake2b or sha256
	Data   string // DataRandom, …
	Image  string // file of DataExt4
	Depth  int    // ModeSync: writers; ModeBlocks: blocks that are not flushed
	// Rate of ModePaced, in bytes a second.
	Rate float64
	// Warm and For are how long it runs, before and while it is measured.
	Warm, For time.Duration
	// Bytes, if set, are written, once each, instead.
	Bytes int64
	// Shared gives data to the client without a copy.
	Shared bool
	// Disk is the size of the disk in bytes; 0: 4 GiB. Scatter writes its blocks in
	// an order without pattern, each equally often in the long run, from From on.
	Disk    int64
	Scatter bool
	From    int64
	Adopt   bool // goes on behind the records that are there
}

// disk is the size of the disk.
func (l *Load) disk() int64 { return cmp.Or(l.Disk, diskSize) }

// The modes of a Load.
const (
	ModeStream = "stream" // as fast as records are taken
	ModeSync   = "sync"   // writers that flush after each record
	ModePaced  = "paced"  // a rate, flushed by the server's rules
	ModeBlocks = "blocks" // as a version-1 client: block by block
	ModeIdle   = "idle"   // attached, and nothing more
)

// Outcome is what a client process has done while it was measured.
type Outcome struct {
	Records, Bytes int64
	Seconds        float64
	CPU            time.Duration
	Calls          int64 // system calls that read or write
	Allocs         int64
	RecvOK         Spread // ModeSync and ModePaced only
	FlushOK        Spread // of a record until it is durable; ModeSync: of write and flush
}

// worker does a mode's work, again each time it is called, and leaves nothing
// unflushed. tally, if not nil, is for what it has done.
type worker interface {
	work(ctx context.Context, d time.Duration, tally *Outcome) error
	close() error
}

// words of the conversation with the harness.
const (
	wordReady = "ready"
	wordGo    = "go"
)

// ServeLoad is the client process: it reads a Load from in, says on out when it
// is warm, waits for the word, works, answers with an Outcome, and ends when in does.
func ServeLoad(ctx context.Context, in io.Reader, out io.Writer) error {
	r := bufio.NewReader(in)
	line, err := r.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("bench: load: %w", err)
	}
	var l Load
	if err := json.Unmarshal(line, &l); err != nil {
		return fmt.Errorf("bench: load: %w", err)
	}
	w, err := l.open(ctx)
	if err != nil {
		return err
	}
	return errors.Join(l.serve(ctx, w, r, out), w.close())
}

func (l *Load) serve(ctx context.Context, w worker, r *bufio.Reader, out io.Writer) error {
	if l.Warm > 0 {
		if err := w.work(ctx, l.Warm, nil); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintln(out, wordReady); err != nil {
		return err
	}
	switch _, err := r.ReadString('\n'); { // wordGo, there is no other
	case err == io.EOF:
		return nil // it was only to get warm
	case err != nil:
		return err
	}
	o, err := measured(func(o *Outcome) error { return w.work(ctx, l.For, o) })
	if err != nil {
		return err
	}
	if err := json.NewEncoder(out).Encode(o); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	return nil
}

// measured runs f and fills in what this process has used for it.
func measured(f func(*Outcome) error) (*Outcome, error) {
	var o Outcome
	before, err := proc.Own()
	if err != nil {
		return nil, err
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	allocs, start := m.Mallocs, time.Now()
	if err := f(&o); err != nil {
		return nil, err
	}
	o.Seconds = time.Since(start).Seconds()
	runtime.ReadMemStats(&m)
	after, err := proc.Own()
	if err != nil {
		return nil, err
	}
	used := after.Sub(before)
	o.CPU, o.Calls, o.Allocs = used.CPU, used.Calls, int64(m.Mallocs-allocs)
	return &o, nil
}

func (l *Load) open(ctx context.Context) (worker, error) {
	data, err := content(l.Data, l.Image)
	if err != nil {
		return nil, err
	}
	if l.Record < 1 || l.Record > contentBytes {
		return nil, fmt.Errorf("bench: records of %d bytes: out of range", l.Record)
	}
	switch l.Mode {
	case ModeStream, ModeSync, ModePaced, ModeIdle:
		return openWriters(ctx, l, data)
	case ModeBlocks:
		return openBlocks(l, data)
	}
	return nil, fmt.Errorf("bench: no mode %q", l.Mode)
}

// HashOf is the algorithm of a name.
func HashOf(name string) (tlog.HashAlgorithm, error) {
	switch name {
	case "blake2b":
		return tlog.HashBlake2b, nil
	case "sha256":
		return tlog.HashSHA256, nil
	}
	return 0, fmt.Errorf("bench: hash %q: want blake2b or sha256", name)
}
