package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// fault is something that is done to a round.
type fault struct {
	name   string
	weight int
	can    func(w *world) bool // nil: always
	do     func(w *world) error
	by     []string // whose points it tries
}

func onRedis(w *world) bool { return w.shape.redis > 0 }
func onDisk(w *world) bool  { return w.disk != nil }
func twoServers(w *world) bool {
	return len(w.servers) > 1
}

func faults() []fault {
	return []fault{
		{"server", 14, nil, (*world).killServer, nil},
		{"server at a point", 36, nil, (*world).killServerAt, []string{byServer}},
		{"client", 8, nil, (*world).killClient, nil},
		{"client at a point", 12, nil, (*world).killClientAt, []string{byDriver, byDisk}},
		{"client by another", 4, nil, (*world).exchangeClient, nil},
		{"Redis", 8, onRedis, (*world).killRedis, nil},
		{"power of Redis", 12, onRedis, (*world).cutRedis, nil},
		{"power of the disk", 8, onDisk, (*world).cutDisk, nil},
		{"power of everything", 12, nil, (*world).cutAll, nil},
		{"slow Redis", 5, onRedis, (*world).slowRedis, []string{byHedge, bySpare}},
		{"zombie", 6, twoServers, (*world).zombie, []string{byZombie}},
		{"zombie in a takeover", 8, twoServers, (*world).zombieInTakeover, nil},
		{"SIGTERM", 4, nil, (*world).terminate, []string{byStop}},
		{"tool", 4, nil, (*world).killTool, []string{byRestore}},
		{"server lost", 6, (*world).mayLose, (*world).loseServer, []string{byRepair, byReload, byReplace}},
	}
}

// strike does one fault.
func (w *world) strike() error {
	var list []fault
	sum := 0
	for _, f := range faults() {
		if f.can == nil || f.can(w) {
			f.weight *= w.stats.points.urgent(f.by)
			list = append(list, f)
			sum += f.weight
		}
	}
	n := w.rng.IntN(sum)
	for _, f := range list {
		if n -= f.weight; n < 0 {
			w.cfg.say("%s", f.name)
			if err := f.do(w); err != nil {
				return fmt.Errorf("%s: %w", f.name, err)
			}
			return nil
		}
	}
	return nil
}

func (w *world) killed(kind string) { w.stats.kills[kind]++ }

// kill kills a process at a random moment.
func (w *world) kill(p *process, kind string) {
	w.moment()
	alive := p.alive()
	p.kill()
	if !w.struck(p) && alive {
		w.killed(kind)
	}
}

// killServer kills a tlogserver, and lets the other one, if there is one, have
// the vdisks for a while.
func (w *world) killServer() error {
	w.kill(w.servers[w.rng.IntN(len(w.servers))].p, "tlogserver")
	if w.pool.dir != "" && w.rng.IntN(2) == 0 {
		if err := w.pool.save(w.rng.IntN(w.pool.count)); err != nil {
			return err
		}
	}
	if twoServers(w) && w.rng.IntN(2) == 0 {
		w.progress(2 * time.Second)
	}
	return nil
}

// armServer lets one server run alone, with a point.
func (w *world) armServer(by ...string) (*tlogServer, error) {
	at := w.stats.points.next(by...)
	w.moment()
	for _, s := range w.servers {
		s.p.kill()
		w.struck(s.p)
	}
	w.killed("tlogserver")
	s := w.servers[w.rng.IntN(len(w.servers))]
	w.cfg.say("  %s", at.name)
	return s, s.start(at)
}

func (w *world) killServerAt() error {
	kinds := []string{byServer}
	if w.shape.redis == 0 {
		kinds = append(kinds, byFiles)
	}
	s, err := w.armServer(kinds...)
	if err != nil {
		return err
	}
	s.dieOf(armedTime)
	if w.shape.redis == 0 && w.rng.IntN(2) == 0 {
		return w.pool.powerLoss()
	}
	return nil
}

// killClient kills a driver, or the disk's process.
func (w *world) killClient() error {
	if w.disk != nil && w.rng.IntN(3) == 0 {
		w.kill(w.disk.p, "nbdkit")
		return nil
	}
	c := w.writers[w.rng.IntN(len(w.writers))]
	w.kill(c.p, "client")
	return nil
}

func (w *world) killClientAt() error {
	kinds := []string{byDriver}
	if w.disk != nil {
		kinds = append(kinds, byDisk)
	}
	at := w.stats.points.next(kinds...)
	if at.by == byDisk {
		return w.killDiskAt(at)
	}
	c := w.writers[w.rng.IntN(len(w.writers))]
	w.kill(c.p, "client")
	c.gone()
	if err := c.start([]string{fmt.Sprintf("TLOG_FAILPOINT=%s:%d", at.name, 1+w.rng.IntN(at.most))}, c.takeover); err != nil {
		return err
	}
	if !c.p.within(armedTime) {
		c.kill()
	}
	c.gone()
	w.struck(c.p)
	return nil
}

func (w *world) killDiskAt(at *point) error {
	w.kill(w.disk.p, "nbdkit")
	if err := w.disk.start(at); err != nil {
		return err
	}
	if !w.disk.p.within(armedTime) {
		w.disk.p.kill()
	}
	w.struck(w.disk.p)
	if w.rng.IntN(2) == 0 {
		return w.disk.powerLoss()
	}
	return nil
}

// cutDisk cuts the power of the machine of the disk's process.
func (w *world) cutDisk() error {
	w.kill(w.disk.p, "power of nbdkit")
	return w.disk.powerLoss()
}

// exchangeClient lets another client take a vdisk from one that runs, which is
// told so and ends, or is killed as that happens.
func (w *world) exchangeClient() error {
	c := w.writers[w.rng.IntN(len(w.writers))]
	other := w.newWriter(c.ledger)
	other.takeover = true
	if c.takeover && !c.has() {
		w.kill(c.p, "client") // it would take the vdisk back, as it was told to
	}
	if err := other.start(nil, true); err != nil {
		return err
	}
	w.kill(c.p, "client")
	c.gone()
	if err := c.wrong(true); err != nil {
		w.violated(err)
	}
	for i := range w.writers {
		if w.writers[i] == c {
			w.writers[i] = other
		}
	}
	return nil
}

// some chooses servers of the pool that may be down at once.
func (w *world) some(most int) []int {
	most = min(most, w.shape.covered()-len(w.pool.lost))
	if most <= 0 {
		return nil
	}
	return w.rng.Perm(len(w.pool.redis))[:1+w.rng.IntN(most)]
}

func (w *world) killRedis() error {
	for _, i := range w.some(parityShards) {
		w.kill(w.pool.redis[i].p, "Redis")
		if w.rng.IntN(2) == 0 {
			if err := w.pool.save(i); err != nil {
				return err
			}
		}
	}
	w.moment()
	return nil
}

// cutRedis cuts the power of some Redis servers.
func (w *world) cutRedis() error {
	list := w.some(parityShards)
	if len(w.pool.lost) == 0 && w.rng.IntN(2) == 0 {
		list = w.rng.Perm(len(w.pool.redis)) // all of them
	}
	w.moment()
	for _, i := range list {
		w.pool.redis[i].p.kill()
	}
	if len(list) > 0 {
		w.killed("power of Redis")
	}
	return w.pool.powerLoss(list...)
}

// cutAll cuts the power of everything. The shard servers come back first, as a
// takeover while others are still away would count them as lost, too; in the
// meantime the log is read as it lies there.
func (w *world) cutAll() error {
	w.moment()
	for _, r := range w.pool.redis {
		r.p.signal(syscall.SIGKILL)
	}
	for _, s := range w.servers {
		s.p.kill()
		w.struck(s.p)
	}
	for _, c := range w.writers {
		if w.rng.IntN(2) == 0 {
			c.kill()
		}
	}
	if w.disk != nil && w.rng.IntN(2) == 0 {
		w.disk.p.kill()
		if err := w.disk.powerLoss(); err != nil {
			return err
		}
	}
	w.pool.killAll()
	w.killed("power of everything")
	if err := w.pool.powerLoss(w.pool.all()...); err != nil {
		return err
	}
	if err := w.pool.startAll(); err != nil {
		return err
	}
	return w.inspect()
}

// slowRedis stops a Redis for a while, so that requests to it are hedged.
func (w *world) slowRedis() error {
	kinds := []string{byHedge}
	if w.shape.redis > dataShards+parityShards {
		kinds = append(kinds, bySpare)
	}
	list := w.some(1)
	if len(list) == 0 {
		return nil
	}
	s, err := w.armServer(kinds...)
	if err != nil {
		return err
	}
	w.progress(armedTime)
	r := w.pool.redis[list[0]]
	r.p.signal(syscall.SIGSTOP)
	s.dieOf(armedTime)
	if w.rng.IntN(2) == 0 {
		r.p.signal(syscall.SIGCONT)
		return nil
	}
	w.kill(r.p, "Redis")
	return nil
}

// zombie stops a server with records on their way to it, and wakes it when
// another one has taken its vdisks over: it must find that out as it appends.
func (w *world) zombie() error {
	s, err := w.armServer(byZombie)
	if err != nil {
		return err
	}
	w.progress(armedTime)
	if err := w.servers[1-s.i].start(nil); err != nil {
		return err
	}
	w.sleep(s)
	w.progress(armedTime)
	s.p.signal(syscall.SIGCONT)
	s.dieOf(armedTime)
	s.link.restore()
	return nil
}

// sleep stops a server, lets clients send to it what they will, and leaves it
// with connections that seem to be there.
func (w *world) sleep(s *tlogServer) {
	s.p.signal(syscall.SIGSTOP)
	<-time.After(time.Duration(5+w.rng.IntN(60)) * time.Millisecond)
	s.link.hang()
}

// whileTakenOver are the points at which a takeover stands still for a zombie:
// it may still write to whom the new owner has not fenced, and to nobody after.
var whileTakenOver = []string{"takeover.fenced:6:stop", "takeover.quorum:1:stop", "takeover.done:1:stop", "barrier.append:1:stop"}

// zombieInTakeover stops a server with records on their way to it, lets another
// one begin to take its vdisks over, and wakes it in the midst of that, while
// its connections still seem to be there: nothing that it acknowledges then may
// be lost.
func (w *world) zombieInTakeover() error {
	w.moment()
	for _, s := range w.servers {
		s.p.kill()
		w.struck(s.p)
	}
	w.killed("tlogserver")
	s := w.servers[w.rng.IntN(2)]
	other := w.servers[1-s.i]
	if err := s.start(nil); err != nil {
		return err
	}
	w.progress(armedTime)
	if err := other.startWith("TLOG_FAILPOINT=" + whileTakenOver[w.rng.IntN(len(whileTakenOver))]); err != nil {
		return err
	}
	w.moment()
	w.sleep(s)
	if w.stopped(other.p, armedTime) {
		s.p.signal(syscall.SIGCONT)
		w.moment()
		other.p.signal(syscall.SIGCONT)
		w.stats.zombies++
	}
	w.progress(armedTime)
	s.p.signal(syscall.SIGCONT)
	w.kill(s.p, "tlogserver")
	if other.p.told("stopped ") == "" { // it would stand still later
		other.p.kill()
	}
	s.link.restore()
	return nil
}

// stopped waits until a process stands still at its point.
func (w *world) stopped(p *process, most time.Duration) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(most); p.told("stopped ") == ""; {
		select {
		case <-tick.C:
		case <-limit:
			return false
		}
	}
	return true
}

// terminate ends a server in good order, but for a point on the way.
func (w *world) terminate() error {
	s, err := w.armServer(byStop)
	if err != nil {
		return err
	}
	w.progress(armedTime)
	w.moment()
	s.p.signal(syscall.SIGTERM)
	if !s.dieOf(patience) {
		s.p.ending.Store(true)
	}
	return nil
}

// killTool kills a restore. Nothing of it must be taken for an image.
func (w *world) killTool() error {
	at := w.stats.points.next(byRestore)
	image := filepath.Join(w.dir, fmt.Sprintf("killed-%d.img", w.stats.total()))
	env := []string{fmt.Sprintf("TLOG_FAILPOINT=%s:%d", at.name, 1+w.rng.IntN(at.most))}
	p, err := w.launch("restore", env, w.cfg.bin("tlogctl"), append([]string{"restore", string(w.writers[0].ledger.vdisk), "--to", image}, w.pool.flags...)...)
	if err != nil {
		return err
	}
	if !p.within(patience) {
		p.kill()
	}
	if w.struck(p) && exists(image) {
		w.violated(fmt.Errorf("a restore that was killed at %s left an image", at.name))
	}
	// What it left to go on with goes: of the next moment it is worth nothing.
	left, err := filepath.Glob(filepath.Join(w.dir, ".killed-*"))
	for _, path := range left {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}
