package bench

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"tlog/internal/bench/proc"
)

// logged is the vdisk that ModeRestore and ModeOpen look at.
const logged = "bench-0000"

// withLog makes a log of the case's length, each block written once, ends its
// server, and calls f.
func (h *Harness) withLog(ctx context.Context, c Case, f func(*store) error) (err error) {
	s, err := h.newStore(c.Store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.end()) }()
	if err := h.prepare(ctx, s); err != nil {
		return err
	}
	server, err := h.startServer(ctx, append([]string{"--flush-size", fmt.Sprint(c.Aggregation)}, s.flags...)...)
	if err != nil {
		return err
	}
	if err := h.fill(ctx, c, server.addr); err != nil {
		server.kill()
		return err
	}
	if err := server.stop(); err != nil {
		return err
	}
	return f(s)
}

func (h *Harness) fill(ctx context.Context, c Case, addr string) error {
	stream := c
	stream.Mode = ModeStream
	l, err := h.load(stream, addr)
	if err != nil {
		return err
	}
	l.Warm, l.Bytes = 0, c.Length
	client, err := h.startClient(ctx, l)
	if err != nil {
		return err
	}
	o, err := client.measure()
	if err == nil && o.Bytes != c.Length {
		err = fmt.Errorf("%d bytes logged, want %d", o.Bytes, c.Length)
	}
	return errors.Join(err, client.end(ctx))
}

// tlogctl runs this program, and tells what it used.
func (h *Harness) tlogctl(ctx context.Context, s *store, v Values, args ...string) (used time.Duration, err error) {
	cmd := exec.CommandContext(ctx, h.cfg.Self, append(args, s.flags...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	start := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("tlogctl %s: %w: %s", args[0], err, out)
	}
	v["seconds"] = time.Since(start).Seconds()
	if r, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		v["rss_client"] = float64(r.Maxrss) / 1024
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}

// restore is tlogctl restore, as an operator calls it.
func (h *Harness) restore(ctx context.Context, c Case) (Values, error) {
	costs, err := h.stages(c)
	if err != nil {
		return nil, err
	}
	all := maps.Clone(costs)
	if all["store"], err = h.bareFetch(c); err != nil {
		return nil, err
	}
	if all["image"], err = h.bareImage(c); err != nil {
		return nil, err
	}
	v := make(Values)
	err = h.withLog(ctx, c, func(s *store) error {
		for _, r := range s.servers[:c.Lost] {
			if err := r.End(syscall.SIGKILL); err != nil {
				return err
			}
		}
		return h.restoreOnce(ctx, c, s, v)
	})
	if err != nil {
		return nil, err
	}
	v.judge(restoreSum(all, c.Hash, c.Lost > 0))
	return v, nil
}

func (h *Harness) restoreOnce(ctx context.Context, c Case, s *store, v Values) (err error) {
	dir, err := os.MkdirTemp(h.cfg.Image, "tlog-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	alive := s.pids()[c.Lost:]
	before, err := proc.Of(alive...)
	if err != nil {
		return err
	}
	used, err := h.tlogctl(ctx, s, v, "restore", logged, "--to", filepath.Join(dir, "disk.img"))
	if err != nil {
		return err
	}
	after, err := proc.Of(alive...)
	if err != nil {
		return err
	}
	v["mbps"] = mbps(c.Length, v["seconds"])
	v["cpu_client"] = perGB(used, c.Length)
	v["cpu"] = v["cpu_client"]
	if len(alive) > 0 {
		v["cpu_store"] = perGB(after.Sub(before).CPU, c.Length)
		v["cpu"] += v["cpu_store"]
	}
	return h.checkImage(filepath.Join(dir, "disk.img"), c)
}

// checkImage looks at the last block.
func (h *Harness) checkImage(path string, c Case) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	got := make([]byte, c.Record)
	if _, err := f.ReadAt(got, c.Length-int64(c.Record)); err != nil {
		return err
	}
	cfg, err := h.stageConfig(c)
	if err != nil {
		return err
	}
	w := writer{load: &Load{Record: c.Record}, data: cfg.Content}
	if string(got) != string(w.block(c.Length-int64(c.Record))) {
		return fmt.Errorf("%s: its last block is not the disk's", path)
	}
	return nil
}

// open is tlogctl info, which finds and reads a log's ends.
func (h *Harness) open(ctx context.Context, c Case) (Values, error) {
	v := make(Values)
	return v, h.withLog(ctx, c, func(s *store) error {
		_, err := h.tlogctl(ctx, s, v, "info", logged)
		return err
	})
}
