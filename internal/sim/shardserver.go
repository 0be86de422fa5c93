package sim

import (
	"errors"
	"fmt"
	"time"

	"tlog"
	"tlog/internal/sim/store"
	"tlog/stor"
)

// reply is a shard server's answer.
type reply struct {
	control  stor.Control
	meta     stor.Meta
	metas    []stor.Meta
	data     []byte
	cookie   tlog.UUID
	manifest *stor.Manifest
	err      error
}

var (
	errLost   = errors.New("no answer")
	errAbsent = stor.ErrAbsent
)

// shardServer is the process around a store: it answers when everything that
// was written before is synced.
type shardServer struct {
	process
	slot  int
	store *store.Store
	old   *store.Store // a copy to roll back to

	scripts map[string]bool // that its cache holds
	temps   map[temporary]temporaryData

	mode    stor.Code // what it refuses with; 0: nothing
	lag     time.Duration
	syncing bool
	written int // changes ever made
	synced  int // of them, durable
	waiting []answerLater
	bad     bool // it lost something for good
	back    bool // it was put back to an old copy, and is bad
	wipes   int
}

// answerLater is an answer that waits for so many changes to be durable.
type answerLater struct {
	after int
	give  func(reply)
	reply reply
}

func newShardServer(w *world, slot int) *shardServer {
	return &shardServer{
		process: process{w: w, name: fmt.Sprintf("store%d", slot), alive: true}, slot: slot,
		scripts: map[string]bool{}, temps: map[temporary]temporaryData{},
	}
}

// wipe leaves an empty server at the same address.
func (s *shardServer) wipe() {
	s.w.logf("%s is wiped", s.name)
	s.crash()
	s.store.Wipe()
	s.wipes++
	s.w.harm++
	clear(s.temps)
}

// request is what a shard server is asked.
type request struct {
	name   string
	write  bool // Fence and Append
	do     func(*shardServer) reply
	script string             // that it runs; "": none
	eval   bool               // with its text
	set    func(*shardServer) // what goes ahead of the script
}

// receive does a request and gives the answer when it may; gone is called if
// there is none because the process ends.
func (s *shardServer) receive(q request, give func(reply)) {
	if !s.alive {
		give(reply{err: errLost}) // connection refused
		return
	}
	s.bound(func() {
		if err := s.admit(q.write); err != nil {
			give(reply{err: err})
			return
		}
		if err := s.load(&q); err != nil {
			give(reply{err: err})
			return
		}
		had := s.store.Pending()
		r := q.do(s)
		s.written += s.store.Pending() - had
		s.answer(give, r)
	})()
}

// admit is what a server in a bad state refuses by itself.
func (s *shardServer) admit(write bool) error {
	if s.mode == stor.Busy || s.mode != 0 && write {
		return &stor.Refusal{Code: s.mode, Server: s.name, Err: errLost}
	}
	return nil
}

func (s *shardServer) answer(give func(reply), r reply) {
	if s.synced == s.written {
		give(r)
		return
	}
	s.waiting = append(s.waiting, answerLater{s.written, give, r})
	s.sync()
}

// sync is a group commit: one at a time, for all that was written before it
// began.
func (s *shardServer) sync() {
	if s.syncing || s.synced == s.written {
		return
	}
	s.syncing = true
	to := s.written
	s.at(s.w.between(100*time.Microsecond, 2*time.Millisecond)+s.lag, func() {
		s.syncing = false
		if n := min(to-s.synced, s.store.Pending()); n > 0 {
			s.store.Sync(n)
		}
		s.synced = max(s.synced, to)
		for len(s.waiting) > 0 && s.waiting[0].after <= s.synced {
			first := s.waiting[0]
			s.waiting = s.waiting[1:]
			first.give(first.reply)
		}
		s.sync()
	})
}

// crash ends the process; any part of what was not synced stays. What was
// asked gets no answer.
func (s *shardServer) crash() {
	if !s.alive {
		return
	}
	keep := s.w.rng.IntN(s.store.Pending() + 1)
	s.w.logf("%s crashes, keeps %d of %d unsynced changes", s.name, keep, s.store.Pending())
	s.kill()
	s.store.Crash(keep)
	clear(s.scripts)
	waiting := s.waiting
	s.syncing, s.waiting, s.synced = false, nil, s.written
	for _, a := range waiting {
		a.give(reply{err: errLost}) // the connection is reset
	}
}

func (s *shardServer) restart() {
	if s.alive {
		return
	}
	s.w.logf("%s starts", s.name)
	s.alive = true
	if s.mode == stor.Busy {
		s.mode = 0
	}
	if s.w.faulty && s.w.chance(0.5) {
		s.mode = stor.Busy // LOADING
		s.at(s.w.between(0, time.Second), func() {
			if s.mode == stor.Busy {
				s.mode = 0
			}
		})
	}
}

func doFence(id stor.Identity, owner stor.Owner, vdisk tlog.UUID) request {
	return request{name: "fence", write: true, script: "fence", do: func(s *shardServer) reply {
		c, err := s.store.Fence(&stor.FenceRequest{Identity: id, Owner: owner, Vdisk: vdisk})
		return reply{control: c, err: err}
	}}
}

// doProbe is Identify and the comparison with the manifest, then Control.
func doProbe(id stor.Identity) request {
	return request{name: "control", do: func(s *shardServer) reply {
		r := reply{cookie: s.store.Cookie(), manifest: s.store.Manifest()}
		switch {
		case r.cookie != id.Cookie || s.mode != 0 && s.mode != stor.Full:
			r.err = &stor.Refusal{Code: stor.WrongStore, Server: s.name, Err: errLost}
		case r.manifest.ConfigVersion > id.ConfigVersion:
			r.err = &stor.Refusal{Code: stor.OldConfig, Server: s.name, Err: errLost}
		default:
			r.control = s.store.Control()
		}
		return r
	}}
}

func doMetas(cookie tlog.UUID, from, to tlog.Position) request {
	return request{name: "metas", do: func(s *shardServer) reply {
		if s.store.Cookie() != cookie { // the shell asks who answered
			return reply{err: &stor.Refusal{Code: stor.WrongStore, Server: s.name, Err: errLost}}
		}
		return reply{metas: s.store.Metas(from, to)}
	}}
}

func doShard(pos tlog.Position) request {
	return request{name: "shard", do: func(s *shardServer) reply {
		b, ok := s.store.Shard(pos)
		if !ok {
			return reply{err: errAbsent}
		}
		return reply{data: b}
	}}
}

func doAppend(r *stor.AppendRequest) request {
	return request{name: "append", write: true, script: "append", set: func(s *shardServer) { s.keep(r) }, do: func(s *shardServer) reply {
		q := *r
		if s.w.faulty && s.w.chance(s.w.swarm.noData) {
			q.Body = s.kept(r) // the SET before the script failed
		}
		m, err := s.store.Append(&q)
		if err == nil {
			delete(s.temps, temporaryOf(r))
		}
		return reply{meta: m, err: err}
	}}
}

// scope is what ends together: the requests of a log or of a search.
type scope struct {
	p     *process
	ended bool
	open  []*call
	onEnd func()
}

type call struct {
	done func(reply)
	over bool
}

func (sc *scope) end() {
	if sc.ended {
		return
	}
	sc.ended = true
	open := sc.open
	sc.open = nil
	for _, c := range open {
		sc.p.at(0, func() { c.finish(reply{err: errLost}) })
	}
	if sc.onEnd != nil {
		sc.onEnd()
	}
}

func (c *call) finish(r reply) {
	if !c.over {
		c.over = true
		c.done(r)
	}
}

const requestTimeout = 10 * time.Second

// ask sends a request over a network that loses, delays, repeats and reorders.
// done is called exactly once while the process lives, never from within ask.
func (sc *scope) ask(slot int, q request, done func(reply)) {
	p := sc.p
	c := &call{done: done}
	if sc.ended {
		p.at(0, func() { c.finish(reply{err: errLost}) })
		return
	}
	sc.open = append(sc.open, c)
	if len(sc.open) > 64 {
		sc.tidy()
	}
	p.at(requestTimeout, func() { c.finish(reply{err: errLost}) })
	sc.send(c, slot, q)
}

// send is one message of a request, and the way of its answer. What has no
// script is sent once more with the script's text, on the same connection: who
// has given up by then does not send it.
func (sc *scope) send(c *call, slot int, q request) {
	p, w := sc.p, sc.p.w
	s := w.stores[slot]
	w.logf("%s asks %s: %s", p.name, s.name, q.name)
	if w.faulty && w.chance(w.swarm.reset) {
		p.at(w.latency(p, slot), func() { c.finish(reply{err: errLost}) })
	}
	life := p.life
	give := func(r reply) {
		if w.lostOnWay(p, slot, w.swarm.answerLost) {
			w.logf("%s did %s for %s, answer lost", s.name, q.name, p.name)
			return
		}
		latency := w.latency(p, slot)
		if p.life != life {
			return // an answer to a life before reaches nobody
		}
		p.at(latency, func() {
			w.logf("%s answers %s: %s %+v %v", s.name, p.name, q.name, r.meta.Index, r.err)
			if errors.Is(r.err, errNoScript) && !q.eval {
				if q.eval = true; !c.over {
					sc.send(c, slot, q)
				}
				return
			}
			c.finish(r)
		})
	}
	if !w.lostOnWay(p, slot, w.swarm.lose) {
		w.at(w.latency(p, slot), func() { s.receive(q, give) })
	}
	if w.faulty && w.chance(w.swarm.twice) {
		w.at(w.between(0, 3*time.Second), func() { s.receive(q, func(reply) {}) })
	}
}

func (sc *scope) tidy() {
	kept := sc.open[:0]
	for _, c := range sc.open {
		if !c.over {
			kept = append(kept, c)
		}
	}
	clear(sc.open[len(kept):])
	sc.open = kept
}

func (w *world) lostOnWay(p *process, slot int, chance float64) bool {
	return p.cut[slot] || w.faulty && w.chance(chance)
}

// latency is of one direction; now and then beyond every time-out.
func (w *world) latency(p *process, slot int) time.Duration {
	if w.faulty && w.chance(w.swarm.late) {
		return w.between(0, 25*time.Second)
	}
	return w.between(50*time.Microsecond, time.Millisecond)
}
