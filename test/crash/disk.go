package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"tlog/internal/failpoint"
)

// disk is fio on a disk that tlognbd protects, behind a front that reconnects
// and makes every write FUA, since fio cannot reconnect.
type disk struct {
	w      *world
	ledger *ledger
	socket string
	base   string
	undo   string // journals of the base and its marker
	front  string
	p      *process // nbdkit with the plugin
	pf     *process // the front

	wg   sync.WaitGroup
	mu   sync.Mutex
	stop bool
	done int // rounds of fio
	pfio *process
}

const diskSize = 16 << 20

func (w *world) newDisk() (*disk, error) {
	d := &disk{w: w, ledger: w.newLedger("fio", diskSize), socket: filepath.Join(w.dir, "disk.sock"),
		base: filepath.Join(w.dir, "base.img"), undo: filepath.Join(w.dir, "undo-disk"), front: filepath.Join(w.dir, "front.sock")}
	if err := os.Mkdir(d.undo, 0o700); err != nil {
		return nil, err
	}
	if err := d.start(nil); err != nil {
		return nil, err
	}
	var err error
	d.pf, err = w.launch("front", nil, "nbdkit", "-f", "-U", d.front, "--filter=fua", "--filter=retry", "nbd", "socket="+d.socket,
		"fuamode=force", "retries=120", "retry-delay=1", "retry-exponential=no")
	if err != nil {
		return nil, err
	}
	if err := listens(d.pf, "unix", d.front); err != nil {
		return nil, err
	}
	d.wg.Go(d.write)
	return d, nil
}

// start starts the disk's process, to die at a point if there is one.
func (d *disk) start(at *point) error {
	env := []string{"TLOG_UNDO=" + d.undo}
	if at != nil {
		env = append(env, fmt.Sprintf("TLOG_FAILPOINT=%s:%d", at.name, 1+d.w.rng.IntN(at.most)))
	}
	args := append([]string{"serve", string(d.ledger.vdisk), "--size", fmt.Sprint(diskSize), "--server", strings.Join(d.w.addrs(), ","),
		"--base", d.base, "--listen", "unix:" + d.socket, "--flush-deadline", patience.String()}, d.w.pool.flags...)
	var err error
	if d.p, err = d.w.launch("disk", env, d.w.cfg.bin("tlognbd"), args...); err != nil {
		return err
	}
	return nil
}

// refused reports whether the disk's process ended before it served, because so
// many shard servers were down that its base could not be brought up to the log.
// It is started again with everything else that is dead.
func (d *disk) refused() bool {
	const notEnough = 6 // the exit code of it
	return !d.p.alive() && d.p.cmd.ProcessState.ExitCode() == notEnough && d.p.told("tlognbd: vdisk "+string(d.ledger.vdisk)+", ") == ""
}

// powerLoss loses what was not synced of the base image and of its marker. The
// process must be dead.
func (d *disk) powerLoss() error {
	d.w.stats.baseCuts++
	odds := 1 + d.w.rng.IntN(4)
	for _, path := range []string{d.base, d.base + ".tlog"} {
		const sector = 512
		n, err := failpoint.Undo(d.undo, path, sector, func() bool { return d.w.rng.IntN(5) >= odds })
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		d.w.stats.baseBytes += int64(n * sector)
	}
	return nil
}

// write has fio write and verify, round after round.
func (d *disk) write() {
	for round := 0; !d.stopping(); round++ {
		out, code, err := d.fio(fmt.Sprintf("--name=round%d", round), "--ioengine=nbd",
			"--uri=nbd+unix:///?socket="+d.front, "--rw=randwrite", "--bsrange=4k-64k", fmt.Sprintf("--size=%d", diskSize), "--io_size=2m", "--iodepth=8",
			fmt.Sprintf("--randseed=%d", round), "--fsync=16", "--verify=crc32c", "--do_verify=1", "--verify_fatal=1", "--verify_state_save=0")
		switch {
		case strings.Contains(out, "nbd_connect_uri:"): // the disk was just dead: nothing was written
		case err != nil || code != 0:
			if d.stopping() && code < 0 {
				return
			}
			d.w.violated(fmt.Errorf("fio, round %d: exit code %d, %v\n%s", round, code, err, out))
			return
		default:
			d.mu.Lock()
			d.done++
			d.mu.Unlock()
		}
	}
}

// fio runs one round. After kill -9 of its server it would write its log for
// ever, so it is ended before the front is.
func (d *disk) fio(args ...string) (string, int, error) {
	p, err := d.w.launch("fio", nil, "fio", args...)
	if err != nil {
		return "", 0, err
	}
	d.mu.Lock()
	d.pfio = p
	d.mu.Unlock()
	if !p.within(4 * patience) {
		p.kill()
	}
	return p.tail(), p.cmd.ProcessState.ExitCode(), nil
}

func (d *disk) stopping() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stop
}

// finish ends the round of fio, and compares the disk with what was logged of it.
func (d *disk) finish() error {
	d.mu.Lock()
	d.stop = true
	d.mu.Unlock()
	d.wg.Wait()
	d.w.stats.fio += d.done
	if err := listens(d.p, "unix", d.socket); err != nil {
		return err
	}
	image := filepath.Join(d.w.dir, "disk.img")
	if err := d.w.must("nbdcopy", nil, "nbdcopy", "nbd+unix:///?socket="+d.socket, image); err != nil {
		return err
	}
	if code := d.p.stop(); code != 0 {
		return fmt.Errorf("tlognbd ended with code %d\n%s", code, d.p.tail())
	}
	d.pf.kill()
	got, err := os.ReadFile(image)
	if err != nil {
		return err
	}
	return d.ledger.disk(got)
}

// disk compares a disk at rest with everything that was acknowledged.
func (l *ledger) disk(image []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	want := l.rec.Image(l.rec.Durable())
	if string(want) != string(image) {
		return fmt.Errorf("vdisk %s: the disk is not what its log says", l.vdisk)
	}
	return nil
}

func (d *disk) end() {
	d.mu.Lock()
	d.stop = true
	if d.pfio != nil {
		d.pfio.kill()
	}
	d.mu.Unlock()
	if d.pf != nil {
		d.pf.kill()
	}
	d.p.kill()
	d.wg.Wait()
}
