package main

import (
	"fmt"
	"syscall"
	"time"
)

// survivor is the tlogserver that is stopped and cut off, and never killed: what
// leaks, leaks there.
const survivor = 0

// soakFault is something that happens to an installation once in a while.
type soakFault struct {
	name string
	do   func(*soaking) error
}

func soakFaults() []soakFault {
	return []soakFault{
		{"tlogserver stopped for 13 s, beyond every time-out", func(k *soaking) error {
			k.stopFor(13*time.Second, k.servers[survivor].p)
			return nil
		}},
		{"kill -9 of the other tlogserver", func(k *soaking) error {
			k.servers[1-survivor].p.kill()
			return nil
		}},
		{"restart of the other tlogserver", func(k *soaking) error {
			if code := k.servers[1-survivor].p.stop(); code != 0 {
				k.violated(fmt.Errorf("SIGTERM: tlogserver ended with code %d\n%s", code, k.servers[1-survivor].p.tail()))
			}
			return nil
		}},
		{"a Redis stopped for 8 s", func(k *soaking) error {
			k.stopFor(8*time.Second, k.pool.redis[k.rng.IntN(len(k.pool.redis))].p)
			return nil
		}},
		{"all Redis stopped for 13 s, beyond the deadline of requests", func(k *soaking) error {
			var all []*process
			for _, r := range k.pool.redis {
				all = append(all, r.p)
			}
			k.stopFor(13*time.Second, all...)
			return nil
		}},
		{"kill -9 and power loss of a Redis", func(k *soaking) error { return k.cutSome(1) }},
		{"kill -9 and power loss of two Redis", func(k *soaking) error { return k.cutSome(parityShards) }},
		{"kill -9 and power loss of all Redis", func(k *soaking) error { return k.cutSome(len(k.pool.redis)) }},
		{"kill -9 of a client", func(k *soaking) error {
			k.writers[k.rng.IntN(len(k.writers))].kill()
			return nil
		}},
		{"all connections cut for 2 s", func(k *soaking) error {
			for _, s := range k.servers {
				s.link.block(true)
			}
			<-time.After(2 * time.Second)
			for _, s := range k.servers {
				s.link.restore()
			}
			return nil
		}},
	}
}

func (k *soaking) stopFor(d time.Duration, list ...*process) {
	for _, p := range list {
		p.signal(syscall.SIGSTOP)
	}
	<-time.After(d)
	for _, p := range list {
		p.signal(syscall.SIGCONT)
	}
}

// cutSome takes the power from some Redis servers for a few seconds.
func (k *soaking) cutSome(n int) error {
	list := k.rng.Perm(len(k.pool.redis))[:n]
	for _, i := range list {
		k.pool.redis[i].p.kill()
	}
	if err := k.pool.powerLoss(list...); err != nil {
		return err
	}
	<-time.After(3 * time.Second)
	return nil
}

// fault does the next one of a shuffled deck, so that all take turns; then every
// vdisk must get something flushed again.
func (k *soaking) fault() error {
	if len(k.deck) == 0 {
		k.deck = soakFaults()
		k.rng.Shuffle(len(k.deck), func(i, j int) { k.deck[i], k.deck[j] = k.deck[j], k.deck[i] })
	}
	f := k.deck[0]
	k.deck = k.deck[1:]
	k.cfg.say("%s", f.name)
	if err := f.do(k); err != nil {
		return fmt.Errorf("%s: %w", f.name, err)
	}
	k.out.struck(f.name)
	begin := time.Now()
	k.world.watch()
	if err := k.revive(); err != nil {
		return err
	}
	before := map[*writer]int{}
	for _, c := range k.writers {
		_, before[c] = c.ledger.counts()
	}
	for _, c := range k.writers {
		for limit := begin.Add(patience); ; k.progress(time.Second) {
			if _, n := c.ledger.counts(); n > before[c] {
				break
			}
			if time.Now().After(limit) {
				k.violated(fmt.Errorf("%s: nothing of vdisk %s was flushed within %v after it\n%s", f.name, c.ledger.vdisk, patience, c.p.tail()))
				return nil
			}
		}
	}
	k.out.slowest = max(k.out.slowest, time.Since(begin))
	k.cfg.say("  flushes again after %v", time.Since(begin))
	return nil
}
