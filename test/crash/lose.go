package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// mayLose: one server a round forgets something for good. What is down besides
// it at any time is so kept within the losses that are covered.
func (w *world) mayLose() bool { return len(w.pool.lost) == 0 && w.shape.strict() }

// strict: what is acknowledged is durable, as the pool promises.
func (s shape) strict() bool { return s.fsync == "always" }

// loseServer deletes what a shard server has, or puts it back to an old copy.
func (w *world) loseServer() error {
	for i := range w.pool.saved {
		if w.rng.IntN(2) == 0 {
			return w.rollBack(i)
		}
	}
	i := w.rng.IntN(w.pool.count)
	reload := w.pool.dir == "" && w.rng.IntN(2) == 0
	var s *tlogServer
	if reload {
		var err error
		if s, err = w.armServer(byReload); err != nil {
			return err
		}
		w.progress(armedTime)
	}
	if err := w.exchange(i); err != nil {
		return err
	}
	if reload {
		s.dieOf(armedTime)
	}
	return w.killRepair()
}

// exchange wipes a shard server, and makes it a member of the pool again.
func (w *world) exchange(i int) error {
	w.stopStore(i)
	if err := w.pool.wipe(i); err != nil {
		return err
	}
	w.killed("shard server wiped")
	if w.pool.dir == "" {
		if err := w.pool.redis[i].start(); err != nil {
			return err
		}
	}
	if at := w.stats.points.next(byReplace); at != nil {
		env := []string{fmt.Sprintf("TLOG_FAILPOINT=%s:%d", at.name, 1+w.rng.IntN(at.most))}
		p, err := w.launch("replace", env, w.cfg.bin("tlogctl"), w.replaceArgs(i)...)
		if err != nil {
			return err
		}
		if !p.within(patience) {
			p.kill()
		}
		if !w.struck(p) && p.cmd.ProcessState.ExitCode() == 0 {
			return nil
		}
	}
	return eventually("stores replace", func() error {
		return w.must("replace", nil, w.cfg.bin("tlogctl"), w.replaceArgs(i)...)
	})
}

func (w *world) replaceArgs(i int) []string {
	return append([]string{"stores", "replace", "--server", w.pool.name(i)}, w.pool.flags...)
}

// stopStore kills the process that has a shard server's files open.
func (w *world) stopStore(i int) {
	if w.pool.dir != "" {
		w.kill(w.servers[0].p, "tlogserver")
		return
	}
	w.kill(w.pool.redis[i].p, "Redis")
}

// rollBack puts a shard server back to an old copy.
func (w *world) rollBack(i int) error {
	w.stopStore(i)
	if err := w.pool.rollBack(i); err != nil {
		return err
	}
	w.killed("shard server rolled back")
	if w.pool.dir == "" {
		if err := w.pool.redis[i].start(); err != nil {
			return err
		}
	}
	return w.killRepair()
}

// killRepair kills the server that writes again what was lost. It begins a
// moment after it has the log.
func (w *world) killRepair() error {
	s, err := w.armServer(byRepair)
	if err != nil {
		return err
	}
	s.dieOf(armedTime + 2*time.Second)
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
