package modelcheck

import (
	"fmt"
	"slices"

	"tlog/internal/core/appending"
	"tlog/internal/core/takeover"
)

// checker explores one Config.
type checker struct {
	cfg      Config
	digests  []digest // by digestID; 0 is none
	known    map[digest]digestID
	owners   map[uint64]*owner   // by sum: equal ones are one
	surveyed map[uint64]struct{} // what readers have been tried on
	buf      []byte
	log      func(string) // nil: nobody reads it
	Result
}

func newChecker(cfg Config) *checker {
	return &checker{
		cfg: cfg, digests: make([]digest, 1), known: map[digest]digestID{},
		owners: map[uint64]*owner{}, surveyed: map[uint64]struct{}{},
	}
}

// name gives the digest of what an owner publishes.
func (c *checker) name(d digest) digestID {
	id, ok := c.known[d]
	if !ok {
		id = digestID(len(c.digests))
		if id == 0 {
			panic("modelcheck: internal error: too many digests")
		}
		c.digests = append(c.digests, d)
		c.known[d] = id
	}
	return id
}

func (c *checker) describe(d digestID) string {
	x := c.digests[d]
	if d == 0 {
		return "nothing"
	}
	return fmt.Sprintf("%c%d", 'A'+rune(x.owner), x.position)
}

// turn is one move on its way from a state to the next.
type turn struct {
	*checker
	s       *state
	touched [maxOwners]bool
	todo    []event
	broken  string // the promise that was
}

// event is what a machine of an owner is to be told: of its takeover, or of
// its log.
type event struct {
	owner int
	find  takeover.Event
	log   appending.Event
}

func (t *turn) logf(format string, a ...any) {
	if t.log != nil {
		t.log(fmt.Sprintf(format, a...))
	}
}

func (t *turn) violated(format string, a ...any) {
	if t.broken == "" {
		t.broken = fmt.Sprintf(format, a...)
		t.logf("VIOLATION: %s", t.broken)
	}
}

// owner gives an owner to change.
func (t *turn) owner(i int) *owner {
	if !t.touched[i] {
		t.touched[i] = true
		t.s.owners[i] = t.s.owners[i].clone()
	}
	return t.s.owners[i]
}

func (t *turn) tellFind(i int, e takeover.Event) { t.todo = append(t.todo, event{owner: i, find: e}) }
func (t *turn) tellLog(i int, e appending.Event) { t.todo = append(t.todo, event{owner: i, log: e}) }

// run tells the machines what there is to tell, in order, until nothing is.
func (t *turn) run() {
	for len(t.todo) > 0 {
		e := t.todo[0]
		t.todo = t.todo[1:]
		o := t.owner(e.owner)
		switch {
		case e.find != nil && o.find != nil:
			for _, a := range o.find.Step(e.find) {
				t.searchAction(e.owner, o, a)
			}
		case e.log != nil && o.log != nil:
			for _, a := range o.log.Step(e.log) {
				t.logAction(e.owner, o, a)
			}
		}
	}
}

// end gives the next state its one form.
func (t *turn) end() *state {
	s := t.s
	for i, touched := range t.touched {
		if !touched {
			continue
		}
		o := s.owners[i]
		o.grace = o.grace && slices.ContainsFunc(s.net, func(m message) bool { return int(m.from) == i && m.asked() })
		t.buf = o.append(t.buf[:0])
		o.sum = sum(t.buf)
		if same, ok := t.owners[o.sum]; ok {
			s.owners[i] = same
		} else {
			t.owners[o.sum] = o
		}
	}
	s.net = slices.DeleteFunc(s.net, func(m message) bool { return m.stray && t.harmless(&m) })
	slices.SortFunc(s.net, compareMessages)
	return s
}

// asked reports whether a takeover waits for the answer.
func (m *message) asked() bool { return !m.stray && m.kind <= kindShard }

// harmless reports whether a stray request can never change anything again.
func (t *turn) harmless(m *message) bool {
	sv := &t.s.servers[m.to]
	switch {
	case sv.wiped:
		return true
	case t.cfg.Broken == ExactOwner || t.cfg.Broken == Amnesia || t.cfg.Broken == KeepIndex:
		return false
	case sv.epoch > m.epoch || m.kind != kindAppend && sv.epoch == m.epoch:
		return true
	}
	old := &sv.slots[m.position]
	return m.kind == kindAppend && sv.epoch == m.epoch && !m.replace &&
		old.digest == m.digest && old.epoch == m.epoch && sv.commit >= m.commit
}

// give up makes strays of what an owner has asked: all, or what its takeover asked.
func (t *turn) strayed(i int, all bool) {
	kept := t.s.net[:0]
	for _, m := range t.s.net {
		if int(m.from) != i || m.stray || !all && m.kind > kindShard {
			kept = append(kept, m)
			continue
		}
		if m.lasting() {
			m.stray = true
			kept = append(kept, m)
		}
	}
	t.s.net = kept
}

// lasting reports whether a request changes a server.
func (m *message) lasting() bool {
	return m.kind == kindFence || m.kind == kindAppend || m.kind == kindLateFence
}

// gone ends an owner.
func (t *turn) gone(i int) {
	t.owner(i).end()
	t.strayed(i, true)
}
