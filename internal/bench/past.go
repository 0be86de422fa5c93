package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// past fills a disk and overwrites it at random, and measures what its past
// costs: the index, a mount from a cold start, a restore, and the same restore
// when as much was overwritten again. All of the disk is alive all the time.
func (h *Harness) past(ctx context.Context, c Case) (_ Values, err error) {
	s, err := h.newStore(c.Store)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.end()) }()
	if err := h.prepare(ctx, s); err != nil {
		return nil, err
	}
	p := &pastDisk{h: h, c: c, s: s, v: make(Values), index: filepath.Join(s.dir, "index"), image: filepath.Join(s.dir, "past.img")}
	for _, step := range []func(context.Context) error{p.fill, p.build, p.restored, p.copied, p.mounted, p.doubled, p.rolledBack} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return p.v, nil
}

// pastDisk is a disk of ModePast.
type pastDisk struct {
	h       *Harness
	c       Case
	s       *store
	v       Values
	index   string // directory
	image   string
	written int64         // bytes, so far
	last    int64         // sequence
	used    time.Duration // CPU time of the last tlogctl
	rss     float64       // MiB of the last tlogctl
	alive   int64         // bytes that the first restore wrote
}

// fill writes the disk from its beginning to its end, and overwrites it.
func (p *pastDisk) fill(ctx context.Context) error {
	if err := p.write(ctx, p.c.Disk, false); err != nil {
		return err
	}
	return p.write(ctx, p.c.Length-p.c.Disk, true)
}

// write writes so many bytes, in order or scattered.
func (p *pastDisk) write(ctx context.Context, length int64, scatter bool) error {
	server, err := p.h.startServer(ctx, append([]string{"--flush-size", strconv.Itoa(p.c.Aggregation)}, p.s.flags...)...)
	if err != nil {
		return err
	}
	stream := p.c
	stream.Mode = ModeStream
	l, err := p.h.load(stream, server.addr)
	if err == nil {
		l.Warm, l.Bytes, l.Disk, l.Scatter, l.From, l.Adopt = 0, length, p.c.Disk, scatter, p.written, p.written > 0
		var client *clientProcess
		if client, err = p.h.startClient(ctx, l); err == nil {
			_, err = client.measure()
			err = errors.Join(err, client.end(ctx))
		}
	}
	if err != nil {
		server.kill()
		return err
	}
	p.written += length
	return server.stop()
}

// build builds the index, or brings it up to date.
func (p *pastDisk) build(ctx context.Context) error {
	var o struct {
		Last    int64   `json:"last_sequence"`
		Bytes   int64   `json:"index_bytes"`
		Seconds float64 `json:"seconds"`
	}
	if err := p.tool(ctx, &o, "index", logged); err != nil {
		return err
	}
	p.last = o.Last
	if _, again := p.v["index_s"]; !again {
		p.v["index_s"], p.v["index_mb"] = o.Seconds, float64(o.Bytes)/float64(o.Last)
	}
	return nil
}

// tool runs tlogctl with the index, and reads its answer.
func (p *pastDisk) tool(ctx context.Context, answer any, args ...string) error {
	args = append(append(args, "--json", "--index", p.index), p.s.flags...)
	cmd := exec.CommandContext(ctx, p.h.cfg.Self, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("tlogctl %s: %w: %s", args[0], err, errs.String())
	}
	p.used = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if r, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		p.rss = float64(r.Maxrss) / 1024
	}
	return json.Unmarshal(out, answer)
}

// restored restores the disk, after asking what that takes.
func (p *pastDisk) restored(ctx context.Context) error {
	var plan struct {
		Data int64 `json:"data_bytes"`
		Read int64 `json:"read_bytes"`
	}
	if err := p.tool(ctx, &plan, "restore", logged, "--to", p.image, "--dry-run"); err != nil {
		return err
	}
	p.v["rss_map"] = p.rss
	took, used, sent, err := p.restores(ctx)
	if err != nil {
		return err
	}
	p.v["restore_s"], p.v["cpu_client"] = took, used
	p.v.divide("positions", float64(plan.Read), float64(plan.Data))
	p.v["read_ratio"] = p.v["positions"]
	if sent > 0 { // the servers have counted
		p.v.divide("read_ratio", float64(sent), float64(plan.Data))
	}
	return nil
}

// restores restores the disk several times, and gives the medians of the seconds
// and the CPU seconds a GB: on a disk that others use too, one restore may take
// half as long again as the next.
func (p *pastDisk) restores(ctx context.Context) (seconds, cpu float64, sent int64, err error) {
	var all, used []float64
	for range pastRestores {
		took, n, err := p.restoreOnce(ctx)
		if err != nil {
			return 0, 0, 0, err
		}
		all, used, sent = append(all, took), append(used, perGB(p.used, p.alive)), n
	}
	return Median(all), Median(used), sent, nil
}

// pastRestores is how often a disk is restored.
const pastRestores = 3

// restoreOnce restores the disk with nothing in the page cache, and tells how
// many bytes Redis servers sent for it.
func (p *pastDisk) restoreOnce(ctx context.Context) (seconds float64, sent int64, err error) {
	before, err := p.s.sent(ctx)
	if err != nil {
		return 0, 0, err
	}
	var answer struct {
		Written int64 `json:"written_bytes"`
		Index   bool  `json:"by_index"`
	}
	if err := os.Remove(p.image); err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, 0, err
	}
	dropCaches()
	start := time.Now()
	if err := p.tool(ctx, &answer, "restore", logged, "--to", p.image); err != nil {
		return 0, 0, err
	}
	seconds = time.Since(start).Seconds()
	p.v["rss_client"], p.alive = max(p.v["rss_client"], p.rss), answer.Written
	if !answer.Index {
		return 0, 0, errors.New("bench: restored without the index")
	}
	after, err := p.s.sent(ctx)
	return seconds, after - before, err
}

// sent is how many bytes the Redis servers have sent so far; 0 without any.
func (s *store) sent(ctx context.Context) (total int64, err error) {
	for _, addr := range s.addrs() {
		host, port, _ := strings.Cut(addr, ":")
		out, err := exec.CommandContext(ctx, "redis-cli", "-h", host, "-p", port, "INFO", "stats").Output()
		if err != nil {
			return 0, fmt.Errorf("redis-cli: %w", err)
		}
		_, rest, _ := strings.Cut(string(out), "total_net_output_bytes:")
		number, _, _ := strings.Cut(rest, "\r\n")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("redis-cli: total_net_output_bytes: %w", err)
		}
		total += n
	}
	return total, nil
}

// copied copies the image beside itself, which a restore is compared with.
func (p *pastDisk) copied(ctx context.Context) error {
	to := p.image + ".copy"
	start := time.Now()
	if out, err := exec.CommandContext(ctx, "cp", "--reflink=never", "--sparse=never", p.image, to).CombinedOutput(); err != nil {
		return fmt.Errorf("cp: %w: %s", err, out)
	}
	f, err := os.Open(to)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	p.v.divide("cp_ratio", time.Since(start).Seconds(), p.v["restore_s"])
	return os.Remove(to)
}

// mounted mounts the disk with nothing in the page cache, reads a block, and
// copies it all, and once more when it has hydrated; then nbdkit's own file plugin
// serves the restored image.
func (p *pastDisk) mounted(ctx context.Context) error {
	dropCaches()
	socket := filepath.Join(p.s.dir, "m")
	start := time.Now()
	args := append([]string{"mount", logged, "--at", "latest", "--index", p.index, "--listen", "unix:" + socket}, p.s.flags...)
	m, err := serving(ctx, socket, p.h.cfg.NBD, args...)
	if err != nil {
		return err
	}
	at := fmt.Sprint(p.c.Disk / 2)
	out, err := exec.CommandContext(ctx, "qemu-io", "-r", "-f", "raw", "-c", "read "+at+" 4k", "nbd+unix:///?socket="+socket).CombinedOutput()
	if err != nil {
		return errors.Join(fmt.Errorf("qemu-io: %w: %s: %s", err, out, m.errs), m.stop())
	}
	p.v["first_s"] = time.Since(start).Seconds()
	first, err := p.nbdcopy(ctx, socket)
	again := 0.0
	if err == nil {
		err = m.says(ctx, "hydrated: 100 %")
	}
	if err == nil {
		again, err = p.nbdcopy(ctx, socket)
	}
	if err := errors.Join(err, m.stop()); err != nil {
		return fmt.Errorf("%w: %s", err, m.errs)
	}
	socket = filepath.Join(p.s.dir, "f")
	f, err := serving(ctx, socket, "nbdkit", "-f", "-U", socket, "file", p.image)
	if err != nil {
		return err
	}
	bare, err := p.nbdcopy(ctx, socket)
	p.v.divide("copy_ratio", bare, first)
	p.v.divide("again_ratio", bare, again)
	return errors.Join(err, f.stop())
}

// serving starts a program that serves a socket, and waits until it does.
func serving(ctx context.Context, socket, program string, args ...string) (*process, error) {
	p, err := start(nil, nil, nil, program, args...)
	if err != nil {
		return nil, err
	}
	if err := p.listens(ctx, socket); err != nil {
		p.kill()
		return nil, fmt.Errorf("%w: %s", err, p.errs)
	}
	return p, nil
}

// says waits until the program has written some words to its standard error.
func (p *process) says(ctx context.Context, words string) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(p.errs.String(), words) {
		select {
		case <-tick.C:
		case <-p.ended:
			return errors.Join(errors.New("bench: it ended"), p.wait(ctx))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// nbdcopy reads a whole disk.
func (p *pastDisk) nbdcopy(ctx context.Context, socket string) (seconds float64, err error) {
	start := time.Now()
	out, err := exec.CommandContext(ctx, "nbdcopy", "nbd+unix:///?socket="+socket, "null:").CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("nbdcopy: %w: %s", err, out)
	}
	return time.Since(start).Seconds(), nil
}

// dropCaches makes the system forget what it has read, where it lets us.
func dropCaches() {
	syscall.Sync()
	f, err := os.OpenFile("/proc/sys/vm/drop_caches", os.O_WRONLY, 0)
	if err != nil {
		return // not root: the start is a warm one
	}
	_, _ = io.WriteString(f, "3\n")
	_ = f.Close()
}

// doubled overwrites as much again and restores once more.
func (p *pastDisk) doubled(ctx context.Context) error {
	if err := p.write(ctx, p.c.Length, true); err != nil {
		return err
	}
	if err := p.build(ctx); err != nil {
		return err
	}
	before := p.alive
	took, used, _, err := p.restores(ctx)
	if err != nil {
		return err
	}
	p.v.divide("grow", took, p.v["restore_s"])
	p.v.divide("grow_live", float64(p.alive), float64(before))
	p.v.divide("grow_cpu", used, p.v["cpu_client"])
	return nil
}

// rolledBack writes a little more, and takes it back.
func (p *pastDisk) rolledBack(ctx context.Context) error {
	before, from := p.last, p.written
	if err := p.write(ctx, max(p.c.Disk>>8, 1<<20), true); err != nil {
		return err
	}
	l := Load{Record: p.c.Record, Disk: p.c.Disk, Scatter: true, From: from}
	touched := make(map[uint64]bool)
	for at := int64(0); at < p.written-from; at += int64(l.Record) {
		touched[l.place(at)] = true
	}
	var o struct {
		Data   int64 `json:"data_bytes"`
		Zeroed int64 `json:"zeroed_bytes"`
	}
	if err := p.tool(ctx, &o, "rollback", logged, "--at", fmt.Sprint("seq:", before), "--takeover"); err != nil {
		return err
	}
	p.v.divide("rollback", float64(o.Data+o.Zeroed), float64(len(touched)*l.Record))
	return nil
}
