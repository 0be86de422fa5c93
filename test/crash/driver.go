package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"tlog"
	"tlog/client"
)

// driverConfig is what a driver process gets as its argument.
type driverConfig struct {
	Servers    []string
	Vdisk      tlog.VdiskID
	Size       int // of the disk, bytes
	ID         tlog.UUID
	Generation tlog.Generation
	Takeover   bool
	Seed       uint64
}

// drive is the program of a driver: it writes through the client library, and
// says on standard output, a line each:
//
//	attached GENERATION       before the first record of a session
//	open SEQUENCE             the log ends there
//	given N SEQUENCE          write N got that number
//	flushed SEQUENCE CHAIN EPOCH   a Flush has returned; all up to there is durable
//	ended [WHY]               how the client ended; WHY is one word, then text
//
// What write N is, workload tells to both sides. Any line on standard input, or
// its end, makes the driver flush, close and end.
func drive(arg string) int {
	var cfg driverConfig
	if err := json.Unmarshal([]byte(arg), &cfg); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	stop, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		cancel()
	}()
	err := (&driver{cfg: cfg}).run(stop)
	if err != nil {
		fmt.Printf("ended %s %v\n", reason(err), err)
		return 1
	}
	fmt.Println("ended")
	return 0
}

func reason(err error) string {
	for name, e := range map[string]error{
		"fenced": client.ErrFenced, "behind": client.ErrLogBehind, "diverged": client.ErrDiverged,
		"denied": client.ErrDenied, "refused": client.ErrRefused,
	} {
		if errors.Is(err, e) {
			return name
		}
	}
	return "failed"
}

type driver struct {
	cfg  driverConfig
	c    *client.Client
	done uint64 // writes
}

func (d *driver) run(stop context.Context) error {
	ctx := context.Background()
	opening, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var err error
	d.c, err = client.Open(opening, client.Config{
		Servers: d.cfg.Servers, Vdisk: d.cfg.Vdisk, DiskSize: uint64(d.cfg.Size),
		ID: d.cfg.ID, Generation: d.cfg.Generation, Takeover: d.cfg.Takeover, Adopt: true,
		WindowBytes: 1 << 20, MaxBackoff: 200 * time.Millisecond,
		OnAttach: func(s client.Session) { fmt.Printf("attached %d\n", s.Generation) },
	})
	if err != nil {
		return err
	}
	fmt.Printf("open %d\n", d.c.Start().Sequence)
	for stop.Err() == nil && err == nil {
		err = d.burst(ctx)
	}
	last, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err == nil {
		err = d.flush(last)
	}
	return errors.Join(err, d.c.Close(last))
}

// burst writes a few records and, mostly, flushes.
func (d *driver) burst(ctx context.Context) error {
	r := rand.New(rand.NewPCG(d.cfg.Seed, d.done))
	for range 1 + r.IntN(40) {
		rec := workload(d.cfg.Seed, d.done, d.cfg.Size)
		seq, err := d.c.Append(ctx, rec.Operation, rec.Offset, rec.Size, rec.Data)
		if err != nil {
			return err
		}
		fmt.Printf("given %d %d\n", d.done, seq)
		d.done++
	}
	if r.IntN(4) > 0 {
		return d.flush(ctx)
	}
	// A pause, so that the machine is not all of ours.
	<-time.After(time.Duration(r.IntN(4000)) * time.Microsecond)
	return nil
}

func (d *driver) flush(ctx context.Context) error {
	last := d.c.Last()
	if err := d.c.Flush(ctx); err != nil {
		return err
	}
	p := d.c.Flushed()
	if p.Sequence < last {
		return fmt.Errorf("flush returned with %d durable of %d", p.Sequence, last)
	}
	fmt.Printf("flushed %d %s %d\n", p.Sequence, hex.EncodeToString(p.Chain[:]), d.c.Session().Epoch)
	return nil
}

// workload is write n of a seed: mostly small writes, some trims and zeroes.
func workload(seed, n uint64, size int) *tlog.Record {
	r := rand.New(rand.NewPCG(seed, ^n))
	const block = 512
	rec := &tlog.Record{Operation: tlog.OpWrite, Size: uint32(block * (1 + r.IntN(16)))}
	switch r.IntN(16) {
	case 0:
		rec.Operation, rec.Size = tlog.OpTrim, rec.Size*4
	case 1:
		rec.Operation, rec.Size = tlog.OpZero, rec.Size*4
	case 2:
		rec.Size *= 8
	}
	rec.Offset = uint64(block * r.IntN((size-int(rec.Size))/block))
	if rec.Operation == tlog.OpWrite {
		rec.Data = make([]byte, rec.Size)
		for i := range rec.Data {
			if i%8 == 0 || i%64 > 48 { // compressible, as most data is
				rec.Data[i] = byte(r.Uint32())
			}
		}
	}
	return rec
}
