package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"tlog/player"
)

// lineEvery is how often progress is told where there is no terminal.
const lineEvery = 5 * time.Second

// progress shows how far a long command is: a bar on a terminal, else a plain
// line every few seconds.
type progress struct {
	verb  string
	out   *os.File
	bars  *mpb.Progress // nil: plain lines
	bar   *mpb.Bar
	begin time.Time
	told  time.Time
	bytes int64

	bytesDone bool // what is counted is bytes of a disk, not positions of a log
}

func newProgress(verb string, out *os.File) *progress {
	p := &progress{verb: verb, out: out, begin: time.Now()}
	p.told = p.begin
	if st, err := out.Stat(); err == nil && st.Mode()&os.ModeCharDevice != 0 {
		p.bars = mpb.New(mpb.WithOutput(out), mpb.WithWidth(40))
	}
	return p
}

// step is a player's progress callback.
func (p *progress) step(s player.Progress) {
	p.bytes = s.Bytes
	if p.bars != nil {
		p.draw(s)
		return
	}
	if now := time.Now(); now.Sub(p.told) >= lineEvery {
		p.told = now
		p.line(s, now)
	}
}

func (p *progress) draw(s player.Progress) {
	if p.bar == nil {
		p.bar = p.bars.AddBar(s.Total,
			mpb.PrependDecorators(decor.Name(p.verb+" "), decor.Percentage()),
			mpb.AppendDecorators(
				decor.Any(func(decor.Statistics) string { return p.rate(time.Now()) + " eta " }),
				decor.AverageETA(decor.ET_STYLE_GO)))
	}
	p.bar.SetCurrent(s.Done)
}

func (p *progress) line(s player.Progress, now time.Time) {
	eta := time.Duration(0)
	if s.Done > 0 {
		eta = time.Duration(float64(now.Sub(p.begin)) / float64(s.Done) * float64(s.Total-s.Done)).Round(time.Second)
	}
	at := fmt.Sprintf("position %d of %d", s.Done, s.Total)
	if p.bytesDone {
		at = fmt.Sprintf("%s of %s", humanize.IBytes(uint64(s.Done)), humanize.IBytes(uint64(s.Total)))
	}
	var w io.Writer = p.out
	fmt.Fprintf(w, "tlogctl: %s: %s, %s, eta %v\n", p.verb, at, p.rate(now), eta)
}

func (p *progress) rate(now time.Time) string {
	per := float64(p.bytes) / max(now.Sub(p.begin).Seconds(), 0.001)
	return fmt.Sprintf("%s (%s/s)", humanize.IBytes(uint64(p.bytes)), humanize.IBytes(uint64(per)))
}

// end takes the bar away.
func (p *progress) end() {
	if p.bars == nil {
		return
	}
	if p.bar != nil {
		p.bar.Abort(false)
	}
	p.bars.Wait()
}
