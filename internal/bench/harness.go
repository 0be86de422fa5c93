package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"
)

// Config of a Harness. The programs are needed.
type Config struct {
	Self        string // tlogctl
	LoadCommand string // its argument that makes it a client: ServeLoad
	Server      string // tlogserver
	NBD         string // tlognbd

	Dir   string        // where directories of stores are made; empty: the system's for temporary files
	Image string        // where restored images go; empty: memory, where there is /dev/shm, else Dir
	Tree  string        // files of which the ext4 image is made; empty: /usr
	Runs  int           // turns; 0: 3
	Warm  time.Duration // before a measurement; 0: 1.5 s, longer than until the first repair pass of a server
	For   time.Duration // of a measurement; 0: 1.5 s
	Stage time.Duration // of a stage alone; 0: a twelfth of For

	Progress io.Writer // told what is measured; nil: nobody
}

func (c Config) withDefaults() Config {
	orDefault := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	orDefault(&c.Warm, 1500*time.Millisecond)
	orDefault(&c.For, 1500*time.Millisecond)
	orDefault(&c.Stage, c.For/12)
	if c.Runs <= 0 {
		c.Runs = 3
	}
	if c.Tree == "" {
		c.Tree = "/usr"
	}
	if c.Image == "" {
		c.Image = c.Dir
		if st, err := os.Stat("/dev/shm"); err == nil && st.IsDir() {
			c.Image = "/dev/shm"
		}
	}
	if c.Progress == nil {
		c.Progress = io.Discard
	}
	return c
}

// Harness measures cases. It is for one goroutine.
type Harness struct {
	cfg   Config
	dir   string
	image string // of ext4, made when it is first needed
	// turn is what was measured in this turn: the stages, by what they work on.
	turn map[string]Costs
	// asking is how many allocations a look at a server's metrics costs it.
	asking float64
}

// Case is one thing to measure.
type Case struct {
	Name   string
	Mode   string // a Load's, or one of the modes below
	Store  string
	Record int // bytes
	// Aggregation is the server's --flush-size.
	Aggregation int
	Hash        string
	Data        string
	Vdisks      int
	Depth       int   // of ModeSync, ModeBlocks and ModeFio
	Length      int64 // bytes of a log; ModeRestore, ModeOpen
	Lost        int   // shard servers that are lost; ModeRestore
	FlushEvery  int   // writes for a flush; ModeFio; 0: none
	Shared      bool  // the client takes data without a copy
	Disk        int64 // bytes; ModePast
	Once        bool  // in the first turn only: no target hangs on it
}

// Modes that are not a Load's.
const (
	ModeRestore = "restore" // tlogctl restore
	ModeOpen    = "open"    // tlogctl info: what opening a log costs
	ModeFair    = "fair"    // writers that flush, alone and beside a stream of another vdisk
	ModePast    = "past"    // index, mount and restore of a disk that was overwritten at random
	ModeFio     = "fio"     // fio through tlognbd, and through nbdkit's file plugin
)

// Result is what was measured of a case.
type Result struct {
	Case    Case
	Turns   []Values
	Medians Values
}

// Report is all that was measured in one run of the harness.
type Report struct {
	Results []Result
	Stages  Costs // medians of those of 4 KiB records, 256 an aggregation, incompressible
}

// Run measures cases, each once in every turn, or in the first turn only.
func Run(ctx context.Context, cfg Config, cases []Case) (_ *Report, err error) {
	h := &Harness{cfg: cfg.withDefaults()}
	if h.dir, err = os.MkdirTemp(h.cfg.Dir, "tlog-bench-"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(h.dir)) }()
	r := &Report{Results: make([]Result, len(cases))}
	var stages []Values
	for turn := range h.cfg.Runs {
		h.turn = make(map[string]Costs)
		for i, c := range cases {
			r.Results[i].Case = c
			if c.Once && turn > 0 {
				continue
			}
			_, _ = fmt.Fprintf(h.cfg.Progress, "turn %d of %d: %s\n", turn+1, h.cfg.Runs, c.Name)
			v, err := h.measure(ctx, c)
			if err != nil {
				return nil, fmt.Errorf("bench: %s: %w", c.Name, err)
			}
			r.Results[i].Turns = append(r.Results[i].Turns, v)
		}
		c, err := h.stages(Case{Record: 4 << 10, Aggregation: 256, Data: DataRandom})
		if err != nil {
			return nil, err
		}
		stages = append(stages, Values(c))
	}
	for i := range r.Results {
		r.Results[i].Medians = medians(r.Results[i].Turns)
	}
	r.Stages = Costs(medians(stages))
	return r, nil
}

func (h *Harness) measure(ctx context.Context, c Case) (Values, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	switch c.Mode {
	case ModeStream, ModeBlocks:
		return h.stream(ctx, c)
	case ModeSync, ModePaced:
		return h.latency(ctx, c)
	case ModeIdle:
		return h.idle(ctx, c)
	case ModeRestore:
		return h.restore(ctx, c)
	case ModeOpen:
		return h.open(ctx, c)
	case ModeFair:
		return h.fair(ctx, c)
	case ModeFio:
		return h.fio(ctx, c)
	case ModePast:
		return h.past(ctx, c)
	}
	return nil, fmt.Errorf("no mode %q", c.Mode)
}

// judge adds R_cpu and R_mbps to what was measured.
func (v Values) judge(s float64) {
	v["s"] = s
	v["r_cpu"] = s / v["cpu"]
	v["r_mbps"] = v["mbps"] / 1000 * s / float64(runtime.NumCPU())
}

// load is the client's part of a case.
func (h *Harness) load(c Case, server string) (Load, error) {
	l := Load{Mode: c.Mode, Server: server, Vdisks: c.Vdisks, Record: c.Record, Hash: c.Hash, Data: c.Data,
		Depth: c.Depth, Warm: h.cfg.Warm, For: h.cfg.For, Shared: c.Shared}
	if c.Data != DataExt4 {
		return l, nil
	}
	var err error
	l.Image, err = h.ext4()
	return l, err
}

func (h *Harness) ext4() (string, error) {
	if h.image != "" {
		return h.image, nil
	}
	var err error
	h.image, err = makeImage(h.dir, h.cfg.Tree)
	return h.image, err
}
