package main

import (
	"context"
	"fmt"
	"io"
	"time"
)

// plan is what a restore would do.
type plan struct {
	Vdisk     string    `json:"vdisk"`
	Sequence  uint64    `json:"sequence"`
	Time      time.Time `json:"time"`
	DiskSize  int64     `json:"disk_size_bytes"`
	Data      int64     `json:"data_bytes"` // written; zeroes among them stay holes of a file
	Extents   int64     `json:"extents"`    // runs of data on the disk
	Positions int       `json:"positions"`  // that are read
	Read      int64     `json:"read_bytes"` // as stored, without parity
	Seconds   float64   `json:"estimated_seconds"`
}

// probes is how many positions are read to see how fast that is.
const probes = 24

func planOf(ctx context.Context, src *source) (*plan, error) {
	p := &plan{Vdisk: string(src.log.Info().Vdisk), Sequence: uint64(src.point.Sequence), Time: src.point.Time.UTC(), DiskSize: src.past.Size()}
	p.Data, p.Read, p.Positions = src.past.Need()
	src.past.Extents(0, src.past.Size(), func(_, _ int64, data bool) bool {
		if data {
			p.Extents++
		}
		return true
	})
	began := time.Now()
	read, err := src.past.Probe(ctx, probes)
	if err != nil {
		return nil, err
	}
	if read > 0 {
		p.Seconds = time.Since(began).Seconds() / float64(read) * float64(p.Read)
	}
	return p, nil
}

// dryRun tells what a restore would do.
func (t *tool) dryRun(ctx context.Context, out io.Writer, src *source) error {
	p, err := planOf(ctx, src)
	if err != nil {
		return err
	}
	if t.json {
		return emit(out, p)
	}
	_, err = fmt.Fprintf(out, "%s at seq:%d (%s): disk of %s, %s of data in %d extents; %d positions to read, %s, about %v\n",
		p.Vdisk, p.Sequence, timeText(p.Time), bytesText(uint64(p.DiskSize)), bytesText(uint64(p.Data)), p.Extents,
		p.Positions, bytesText(uint64(p.Read)), time.Duration(p.Seconds*float64(time.Second)).Round(100*time.Millisecond))
	return err
}
