package sim

import (
	"time"

	"tlog/stor"
)

// inject starts the faults of a phase; each kind comes at random times, until
// the phase's faults stop.
func (w *world) inject() {
	w.faulty = true
	w.phase++
	sw := &w.swarm
	for _, f := range []struct {
		every time.Duration
		do    func()
	}{
		{sw.killServer, w.killServer}, {sw.pauseServer, w.pauseServer}, {sw.clockStep, w.stepClock}, {sw.cutServer, w.cutServer},
		{sw.crashStore, w.crashStore}, {sw.pauseStore, w.pauseStore}, {sw.refuseStore, w.refuseStore}, {sw.slow, w.slowStore},
		{sw.killClient, w.killClient}, {sw.pauseClient, w.pauseClient}, {sw.rival, w.rival}, {sw.cutClient, w.cutClient},
		{sw.flip, w.flip}, {sw.swap, w.swap}, {sw.wipe, w.wipe}, {sw.powerLoss, w.powerLoss}, {sw.shutdown, w.shutdown},
		{3 * time.Second, w.copyStore}, {time.Second, w.inspect},
		{w.extra.noScript, w.flushScripts}, {w.extra.rot, w.flip}, {w.extra.wipe, w.wipe}, {w.extra.replace, w.operate},
	} {
		if f.every > 0 {
			w.repeat(w.phase, f.every, f.do)
		}
	}
}

func (w *world) repeat(phase int, every time.Duration, do func()) {
	w.at(w.between(0, 2*every), func() {
		if w.faulty && w.phase == phase && w.broken == nil {
			do()
			w.repeat(phase, every, do)
		}
	})
}

// heal ends all faults, and what they left that ends by itself.
func (w *world) heal() {
	w.logf("faults stop")
	w.faulty = false
	for _, s := range w.stores {
		s.resume()
		s.restart()
		s.mode, s.lag = 0, 0
	}
	for _, s := range w.servers {
		clear(s.cut)
		s.resume()
		s.restart()
	}
	clear(w.operator.cut)
	for _, c := range w.clients {
		clear(c.cutFrom)
		c.resume()
		if !c.alive {
			c.start()
		}
	}
}

func (w *world) anyServer() *server     { return w.servers[w.rng.IntN(len(w.servers))] }
func (w *world) anyStore() *shardServer { return w.stores[w.rng.IntN(len(w.stores))] }
func (w *world) anyClient() *client     { return w.clients[w.rng.IntN(len(w.clients))] }

func (w *world) killServer() {
	s := w.anyServer()
	s.crash()
	w.at(w.between(0, 5*time.Second), s.restart)
}

func (w *world) shutdown() {
	s := w.anyServer()
	s.shutdown()
	w.at(w.between(5*time.Second, 8*time.Second), s.restart)
}

func (w *world) pauseServer() { w.anyServer().pause(w.between(0, 30*time.Second)) }
func (w *world) pauseStore()  { w.anyStore().pause(w.between(0, 20*time.Second)) }
func (w *world) pauseClient() { w.anyClient().pause(w.between(0, 20*time.Second)) }

// stepClock sets a clock to something up to five hours from the right time.
func (w *world) stepClock() {
	p := &w.anyServer().process
	if w.chance(0.7) {
		p = &w.anyClient().process
	}
	p.skew = w.between(-5*time.Hour, 5*time.Hour)
	w.logf("%s has its clock set by %v", p.name, p.skew)
}

// cutServer parts a server from some shard servers for a while.
func (w *world) cutServer() {
	s := w.anyServer()
	for slot := range s.cut {
		if w.chance(0.5) {
			s.cut[slot] = true
			w.at(w.between(0, 15*time.Second), func() { s.cut[slot] = false })
		}
	}
	w.logf("%s is cut from %v", s.name, s.cut)
}

func (w *world) crashStore() {
	s := w.anyStore()
	s.crash()
	w.at(w.between(0, 5*time.Second), s.restart)
}

func (w *world) refuseStore() {
	s := w.anyStore()
	codes := []stor.Code{stor.Full, stor.Replica, stor.Busy, stor.Denied, stor.ServerError}
	s.mode = codes[w.rng.IntN(len(codes))]
	w.logf("%s refuses with code %d", s.name, s.mode)
	w.at(w.between(0, 10*time.Second), func() { s.mode = 0 })
}

func (w *world) slowStore() {
	s := w.anyStore()
	s.lag = w.between(0, 600*time.Millisecond)
	w.at(w.between(0, 5*time.Second), func() { s.lag = 0 })
}

// killClient ends a client, now and then in order, and starts it again.
func (w *world) killClient() {
	c := w.anyClient()
	if w.chance(0.3) {
		c.close()
	} else {
		c.crash()
	}
	w.at(w.between(0, 3*time.Second), func() {
		if !c.alive || c.done && c.gone == nil {
			c.crash()
			c.start()
		}
	})
}

// rival is a second client of the vdisk, or one that ended and comes again.
func (w *world) rival() {
	takeover := w.chance(0.5)
	if len(w.clients) < 3 {
		w.newClient(takeover)
		return
	}
	if c := w.anyClient(); c.done {
		c.crash()
		c.takeover = takeover
		c.start()
	}
}

func (w *world) cutClient() {
	c := w.anyClient()
	if c.link == nil {
		return
	}
	half := w.chance(0.3)
	if half {
		i := c.server
		c.cutFrom[i] = true
		w.at(w.between(0, 15*time.Second), func() { c.cutFrom[i] = false })
	}
	c.link.cutOff(half)
}

// powerLoss ends everything that keeps or owns the log at one moment.
func (w *world) powerLoss() {
	w.logf("power loss")
	for _, s := range w.stores {
		s.crash()
		w.at(w.between(0, 3*time.Second), s.restart)
	}
	for _, s := range w.servers {
		s.crash()
		w.at(w.between(0, 3*time.Second), s.restart)
	}
}

// victim is a shard server that may lose something for good: no more of them
// than an acknowledgement covers.
func (w *world) victim() *shardServer {
	s := w.anyStore()
	if !s.bad {
		if w.bad >= w.swarm.pool.losses() {
			return nil
		}
		s.bad = true
		w.bad++
	}
	return s
}

// flip changes a byte of a committed shard, or loses it.
func (w *world) flip() {
	s := w.victim()
	if s == nil || w.high == 0 {
		return
	}
	w.damage(s)
}

func (w *world) swap() {
	s := w.victim()
	if s == nil || w.high < 2 {
		return
	}
	a := 1 + w.rng.Uint64N(uint64(w.high)-1)
	w.exchange(s, a)
}

func (w *world) wipe() {
	s := w.victim()
	if s == nil || w.extra.replace > 0 && w.votes(s) && !w.room() {
		return // nil: enough are lost; else it could not be replaced
	}
	s.wipe()
	s.restart()
}

func (w *world) copyStore() {
	s := w.anyStore()
	s.old = s.store.Copy()
}
