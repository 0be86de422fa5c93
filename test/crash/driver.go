package main

import (
	"bufio"
	"cmp"
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
	Load       load
}

// load is how a driver writes; its zero value is what the rounds of crash have:
// small records, as fast as they are taken, with pauses.
type load struct {
	Rate   float64 // records a second that are asked for; 0: as they are taken
	Blocks int     // of 512 bytes, of a record at most; 0: 16, and of some 128
	Burst  int     // records before a Flush at most; 0: 40, and not always a Flush; below 0: only one Flush, at the end
	Window int     // bytes that may be on their way; 0: 1 MiB
}

// drive is the program of a driver: it writes through the client library, and
// says on standard output, a line each:
//
//	attached GENERATION       before the first record of a session
//	open SEQUENCE             the log ends there
//	given N SEQUENCE          write N got that number
//	flushed SEQUENCE CHAIN EPOCH MICROSECONDS   a Flush has returned, after so long; all up to there is durable
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
	done uint64    // writes
	due  time.Time // when the next burst is asked for, if there is a rate
}

func (d *driver) run(stop context.Context) error {
	ctx := context.Background()
	opening, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var err error
	d.c, err = client.Open(opening, client.Config{
		Servers: d.cfg.Servers, Vdisk: d.cfg.Vdisk, DiskSize: uint64(d.cfg.Size),
		ID: d.cfg.ID, Generation: d.cfg.Generation, Takeover: d.cfg.Takeover, Adopt: true,
		WindowBytes: cmp.Or(d.cfg.Load.Window, 1<<20), MaxBackoff: 200 * time.Millisecond,
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
	most := d.cfg.Load.Burst
	if most <= 0 {
		most = 40
	}
	n := 1 + r.IntN(most)
	d.pace(n)
	for range n {
		rec := d.cfg.workload(d.done)
		seq, err := d.c.Append(ctx, rec.Operation, rec.Offset, rec.Size, rec.Data)
		if err != nil {
			return err
		}
		fmt.Printf("given %d %d\n", d.done, seq)
		d.done++
	}
	switch {
	case d.cfg.Load.Burst < 0:
		return nil
	case d.cfg.Load.Burst > 0 || r.IntN(4) > 0:
		return d.flush(ctx)
	}
	// A pause, so that the machine is not all of ours.
	<-time.After(time.Duration(r.IntN(4000)) * time.Microsecond)
	return nil
}

// pace waits until n more records are asked for. Who is more than a second
// behind is forgiven the rest.
func (d *driver) pace(n int) {
	if d.cfg.Load.Rate <= 0 {
		return
	}
	if now := time.Now(); d.due.Before(now.Add(-time.Second)) {
		d.due = now.Add(-time.Second)
	}
	<-time.After(time.Until(d.due))
	d.due = d.due.Add(time.Duration(float64(n) / d.cfg.Load.Rate * float64(time.Second)))
}

func (d *driver) flush(ctx context.Context) error {
	last, begin := d.c.Last(), time.Now()
	if err := d.c.Flush(ctx); err != nil {
		return err
	}
	p := d.c.Flushed()
	if p.Sequence < last {
		return fmt.Errorf("flush returned with %d durable of %d", p.Sequence, last)
	}
	fmt.Printf("flushed %d %s %d %d\n", p.Sequence, hex.EncodeToString(p.Chain[:]), d.c.Session().Epoch, time.Since(begin).Microseconds())
	return nil
}

// workload is write n of a driver: mostly small writes, some trims and zeroes.
func (c *driverConfig) workload(n uint64) *tlog.Record {
	r := rand.New(rand.NewPCG(c.Seed, ^n))
	const block = 512
	rec := &tlog.Record{Operation: tlog.OpWrite, Size: uint32(block * (1 + r.IntN(cmp.Or(c.Load.Blocks, 16))))}
	switch r.IntN(16) {
	case 0:
		rec.Operation, rec.Size = tlog.OpTrim, rec.Size*4
	case 1:
		rec.Operation, rec.Size = tlog.OpZero, rec.Size*4
	case 2:
		if c.Load.Blocks == 0 {
			rec.Size *= 8
		}
	}
	rec.Offset = uint64(block * r.IntN((c.Size-int(rec.Size))/block))
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
