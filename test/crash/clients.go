package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"tlog"
	"tlog/internal/check"
)

// writer is a driver process, and the ones that follow it: they write one
// vdisk through the client library.
type writer struct {
	w      *world
	ledger *ledger
	id     tlog.UUID
	// takeover: the vdisk was another client's, and perhaps still is.
	takeover bool

	p     *process
	in    io.WriteCloser
	asked bool           // to end
	heard sync.WaitGroup // the reader of the process's output

	mu         sync.Mutex
	generation tlog.Generation
	opened     bool   // the process has the vdisk, or had it
	ended      string // its last line
}

func (w *world) newWriter(l *ledger) *writer { return &writer{w: w, ledger: l, id: w.uuid()} }

// start starts a process. The one before must be gone.
func (c *writer) start(env []string, takeover bool) error {
	c.mu.Lock()
	c.ended, c.opened = "", false
	cfg := driverConfig{Servers: c.w.addrs(), Vdisk: c.ledger.vdisk, Size: c.ledger.size, ID: c.id,
		Generation: c.generation, Takeover: takeover, Seed: c.w.rng.Uint64(), Load: c.w.shape.load}
	c.mu.Unlock()
	arg, err := json.Marshal(cfg)
	if err != nil {
		return err
	}
	inRead, inWrite, err := os.Pipe()
	if err != nil {
		return err
	}
	outRead, outWrite, err := os.Pipe()
	if err != nil {
		return err
	}
	c.in, c.asked = inWrite, false
	c.p, err = c.w.launchWith("driver-"+string(c.ledger.vdisk), env, inRead, outWrite, c.w.cfg.self("driver"), "driver", string(arg))
	inRead.Close()
	outWrite.Close()
	if err != nil {
		return err
	}
	c.w.incarnations++
	incarnation := c.w.incarnations
	c.heard.Go(func() {
		defer outRead.Close()
		c.listen(outRead, &cfg, incarnation)
	})
	return nil
}

// listen takes what a driver says. What was given and not flushed when it died
// is nobody's business.
func (c *writer) listen(out io.Reader, cfg *driverConfig, incarnation int) {
	given := map[tlog.Sequence]uint64{}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var n, seq uint64
		var chain string
		var epoch tlog.Epoch
		line := lines.Text()
		switch word, rest, _ := strings.Cut(line, " "); word {
		case "attached":
			fmt.Sscan(rest, &n)
			c.mu.Lock()
			c.generation = tlog.Generation(n)
			c.mu.Unlock()
		case "open":
			c.mu.Lock()
			c.opened = true
			c.mu.Unlock()
		case "given":
			fmt.Sscan(rest, &n, &seq)
			given[tlog.Sequence(seq)] = n
		case "flushed":
			var took int64
			whole, _ := fmt.Sscan(rest, &seq, &chain, &epoch, &took)
			p := check.Point{Sequence: tlog.Sequence(seq)}
			b, err := hex.DecodeString(chain)
			if copy(p.Chain[:], b) != len(p.Chain) || err != nil || whole != 4 {
				continue // a line that was cut off by a kill
			}
			c.ledger.flushed(incarnation, epoch, p)
			if c.w.took != nil {
				c.w.took(time.Duration(took) * time.Microsecond)
			}
			for s, n := range given {
				if s <= p.Sequence {
					c.ledger.carried(cfg.ID, s, cfg.workload(n))
					delete(given, s)
				}
			}
		case "ended":
			c.mu.Lock()
			c.ended = line
			c.mu.Unlock()
		}
	}
}

// kill kills the process, if there is one, and hears it out.
func (c *writer) kill() {
	if c.p != nil {
		c.p.kill()
		c.in.Close()
		c.heard.Wait()
	}
}

// gone waits until a process that died at a failpoint is heard out.
func (c *writer) gone() {
	<-c.p.done
	c.in.Close()
	c.heard.Wait()
}

// has reports whether the process has the vdisk, or had it.
func (c *writer) has() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.opened
}

// end is how the process ended: "" if it did not say.
func (c *writer) end() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

// wrong is an error if the client ended for a reason that it must not have.
// fenced: another client took the vdisk.
func (c *writer) wrong(fenced bool) error {
	if c.p == nil || c.p.alive() {
		return nil
	}
	c.heard.Wait()
	end := c.end()
	ok := end == "ended" || end == "" && c.p.ending.Load() || c.p.hit() != "" ||
		fenced && (strings.HasPrefix(end, "ended fenced") || strings.HasPrefix(end, "ended denied"))
	if ok {
		return nil
	}
	return fmt.Errorf("a client of vdisk %s: %q (%v)\n%s", c.ledger.vdisk, end, c.p.cmd.ProcessState, c.p.tail())
}

// askEnd has the client flush and end, some time.
func (c *writer) askEnd() error {
	if c.asked {
		return nil
	}
	c.asked = true
	if _, err := io.WriteString(c.in, "end\n"); err != nil && c.p.alive() {
		return err
	}
	return nil
}

// finish lets the client flush and end, which must succeed. The faults are over.
func (c *writer) finish() error {
	if err := c.askEnd(); err != nil {
		return err
	}
	if !c.p.within(patience + 10*time.Second) {
		c.p.signal(syscall.SIGQUIT)
		c.p.within(5 * time.Second)
		err := fmt.Errorf("a client of vdisk %s did not get everything flushed within %v of the last fault\n%s", c.ledger.vdisk, patience, c.p.tail())
		c.kill()
		return err
	}
	c.gone()
	c.p.ending.Store(true)
	if end := c.end(); end != "ended" {
		return fmt.Errorf("a client of vdisk %s, after the last fault: %q", c.ledger.vdisk, end)
	}
	return nil
}
