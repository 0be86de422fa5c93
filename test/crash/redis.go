package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// redisServer is a Redis whose power can be cut.
type redisServer struct {
	w      *world
	addr   string
	dir    string
	fsync  string // always, or everysec
	synced string // what the preloaded library wrote
	broken bool   // garbage lies behind its log
	p      *process
}

func (w *world) newRedis(i int, fsync string) (*redisServer, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	r := &redisServer{w: w, addr: addr, fsync: fsync, dir: filepath.Join(w.dir, fmt.Sprintf("redis-%d", i)),
		synced: filepath.Join(w.dir, fmt.Sprintf("redis-%d.synced", i))}
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return nil, err
	}
	return r, r.start()
}

// start starts the process, and waits until it answers.
func (r *redisServer) start() error {
	if r.broken {
		if err := r.fix(); err != nil {
			return err
		}
	}
	_, port, err := net.SplitHostPort(r.addr)
	if err != nil {
		return err
	}
	env := []string{"LD_PRELOAD=" + r.w.cfg.shim, "TLOG_SYNC_LOG=" + r.synced}
	r.p, err = r.w.launch(filepath.Base(r.dir), env, "redis-server", "--bind", "127.0.0.1", "--port", port, "--dir", r.dir,
		"--appendonly", "yes", "--appendfsync", r.fsync, "--save", "", "--daemonize", "no")
	if err != nil {
		return err
	}
	return eventually("redis "+r.addr, func() error {
		answer, err := r.ask("PING")
		if !r.p.alive() {
			r.p.ending.Store(true)
			return fmt.Errorf("redis ended: %s", r.p.tail())
		}
		if err == nil && !strings.HasPrefix(answer, "+PONG") {
			err = errors.New(answer)
		}
		return err
	})
}

func (r *redisServer) ask(command string) (string, error) {
	c, err := net.DialTimeout("tcp", r.addr, time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(c, "%s\r\n", command); err != nil {
		return "", err
	}
	return bufio.NewReader(c).ReadString('\n')
}

// fix does what Redis tells its operator to do: cut off what is no log.
func (r *redisServer) fix() error {
	manifest := filepath.Join(r.dir, "appendonlydir", "appendonly.aof.manifest")
	cmd := exec.Command("redis-check-aof", "--fix", manifest)
	cmd.Stdin = strings.NewReader("y\n")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("redis-check-aof: %w\n%s", err, out)
	}
	r.broken = false
	return nil
}

// durableSizes is how much of each file, by inode, is known to be durable.
func (r *redisServer) durableSizes() (map[uint64]int64, error) {
	f, err := os.Open(r.synced)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sizes := map[uint64]int64{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var inode uint64
		var size int64
		if n, _ := fmt.Sscan(lines.Text(), &inode, &size); n == 2 {
			sizes[inode] = size
		}
	}
	return sizes, lines.Err()
}

// powerLoss does to the files of a killed process what the loss of power might
// have done: each ends somewhere between what was durable and what was written,
// and sometimes with garbage.
func (r *redisServer) powerLoss() error {
	sizes, err := r.durableSizes()
	if err != nil {
		return err
	}
	note, err := os.OpenFile(r.synced, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer note.Close()
	return filepath.WalkDir(r.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		inode := st.Sys().(*syscall.Stat_t).Ino
		from, to := min(sizes[inode], st.Size()), st.Size()
		cut := from + r.w.rng.Int64N(to-from+1)
		r.w.stats.cutBytes += to - cut
		if err := os.Truncate(path, cut); err != nil {
			return err
		}
		if strings.HasSuffix(path, ".incr.aof") && r.w.rng.IntN(4) == 0 {
			if err := r.litter(path); err != nil {
				return err
			}
		}
		_, err = fmt.Fprintf(note, "%d %d\n", inode, cut)
		return err
	})
}

// litter puts garbage behind a log, as a file system may whose metadata came
// to the disk before the data.
func (r *redisServer) litter(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	junk := make([]byte, 1+r.w.rng.IntN(8192))
	if r.w.rng.IntN(2) == 0 {
		for i := range junk {
			junk[i] = byte(r.w.rng.Uint32())
		}
	}
	r.broken = true
	r.w.stats.littered++
	_, err = f.Write(junk)
	return err
}

// allDurable notes that all files are on the disk as they are.
func (r *redisServer) allDurable() error {
	note, err := os.OpenFile(r.synced, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer note.Close()
	return filepath.WalkDir(r.dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(note, "%d %d\n", st.Sys().(*syscall.Stat_t).Ino, st.Size())
		return err
	})
}
