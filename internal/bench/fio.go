package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"tlog/internal/bench/proc"
)

const (
	fioSize = 512 << 20
	nbdTime = 15 * time.Second // until a disk is served
)

// fioJob is what is read of fio's answer.
type fioJob struct {
	Write struct {
		IOPS    float64 `json:"iops"`
		Bytes   float64 `json:"bw_bytes"`
		IOBytes int64   `json:"io_bytes"`
	} `json:"write"`
	Sync struct {
		Latency struct {
			Percentile map[string]float64 `json:"percentile"` // ns
		} `json:"lat_ns"`
	} `json:"sync"`
}

// fio writes at random through nbdkit's file plugin, and then through tlognbd, on
// the same disk.
func (h *Harness) fio(ctx context.Context, c Case) (Values, error) {
	v := make(Values)
	bare, err := h.fioFile(ctx, c)
	if err != nil {
		return nil, err
	}
	own, err := h.fioTlog(ctx, c, v)
	if err != nil {
		return nil, err
	}
	v["ops"], v["mbps"] = own.Write.IOPS, own.Write.Bytes/1e6
	v["bare_ops"] = bare.Write.IOPS
	v.divide("ratio", v["ops"], v["bare_ops"])
	if c.FlushEvery > 0 {
		for name, key := range map[string]string{"p50": "50.000000", "p99": "99.000000"} {
			v["flush_"+name] = own.Sync.Latency.Percentile[key] / 1000
			v["bare_"+name] = bare.Sync.Latency.Percentile[key] / 1000
			v.divide("ratio_"+name, v["flush_"+name], v["bare_"+name])
		}
	}
	return v, nil
}

func (h *Harness) fioFile(ctx context.Context, c Case) (job *fioJob, err error) {
	dir, err := os.MkdirTemp(h.dir, "fio-file-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path, socket := filepath.Join(dir, "disk.img"), filepath.Join(dir, "s")
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, fioSize)); err != nil {
		return nil, err
	}
	p, err := start(nil, nil, nil, "nbdkit", "-f", "-U", socket, "file", path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	if err := p.listens(ctx, socket); err != nil {
		return nil, err
	}
	return h.runFio(ctx, c, dir, socket)
}

func (h *Harness) fioTlog(ctx context.Context, c Case, v Values) (job *fioJob, err error) {
	s, err := h.newStack(ctx, c)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.end(err != nil)) }()
	base, socket := filepath.Join(s.dir, "base.img"), filepath.Join(s.dir, "s")
	p, err := start(nil, nil, nil, h.cfg.NBD, "serve", "bench", "--size", strconv.Itoa(fioSize), "--server", s.server.addr,
		"--base", base, "--listen", "unix:"+socket)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	if err := p.listens(ctx, socket); err != nil {
		return nil, err
	}
	before, err := proc.Of(p.pid(), s.server.pid())
	if err != nil {
		return nil, err
	}
	if job, err = h.runFio(ctx, c, s.dir, socket); err != nil {
		return nil, fmt.Errorf("%w: %s", err, p.errs)
	}
	after, err := proc.Of(p.pid(), s.server.pid())
	v["cpu"] = perGB(after.Sub(before).CPU, max(job.Write.IOBytes, 1))
	return job, err
}

// listens waits until somebody answers at a unix socket.
func (p *process) listens(ctx context.Context, socket string) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(nbdTime)
	for {
		c, err := net.Dial("unix", socket)
		if err == nil {
			return c.Close()
		}
		select {
		case <-tick.C:
		case <-p.ended:
			return p.wait(ctx)
		case <-ctx.Done():
			return ctx.Err()
		case <-end:
			return fmt.Errorf("%s: %w: %s", p.cmd.Path, err, p.errs)
		}
	}
}

func (h *Harness) runFio(ctx context.Context, c Case, dir, socket string) (*fioJob, error) {
	seconds := func(d time.Duration) string { return strconv.FormatInt(max(d.Milliseconds(), 100), 10) + "ms" }
	args := []string{"--name=bench", "--ioengine=nbd", "--uri=nbd+unix:///?socket=" + socket, "--rw=randwrite", "--bs=4k",
		"--size=" + strconv.Itoa(fioSize), "--iodepth=" + strconv.Itoa(c.Depth), "--randseed=1", "--refill_buffers", "--norandommap",
		"--time_based", "--runtime=" + seconds(h.cfg.For), "--ramp_time=" + seconds(h.cfg.Warm), "--output-format=json"}
	if c.FlushEvery > 0 {
		args = append(args, "--fsync="+strconv.Itoa(c.FlushEvery))
	}
	cmd := exec.CommandContext(ctx, "fio", args...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("fio: %w: %s", err, out)
	}
	var answer struct {
		Jobs []fioJob `json:"jobs"`
	}
	// Its engine says that it is connected on standard output too.
	if err := json.Unmarshal(out[max(bytes.IndexByte(out, '{'), 0):], &answer); err != nil || len(answer.Jobs) != 1 {
		return nil, fmt.Errorf("fio: %d jobs, %w", len(answer.Jobs), err)
	}
	return &answer.Jobs[0], nil
}
