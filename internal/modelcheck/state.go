package modelcheck

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"

	"tlog"
	"tlog/internal/core/appending"
	"tlog/internal/core/takeover"
)

const (
	maxServers  = 5
	maxOwners   = 4
	maxPosition = 7
)

// digestID names a digest: its place in checker.digests. 0 is none.
type digestID uint8

// byPosition is the digest of every position; 0 is none or unknown.
type byPosition [maxPosition + 1]digestID

// state is everything, at one time. Servers and what is counted are values;
// owners are shared between states and replaced, never changed.
type state struct {
	servers [maxServers]server
	owners  []*owner
	net     []message // sorted
	acked   byPosition
	ackedBy [maxPosition + 1]uint8 // the lowest epoch that committed it
	ended   [maxPosition + 1]uint8 // a client was told that nothing older than this epoch is there
	lost    uint8                  // servers that lost something, as bits
	left    budget
}

// budget is what may still happen.
type budget struct{ timeouts, repeats, hedges, crashes, downs, wiped, rotten, replaced uint8 }

// server is a shard server: the contract of stor.Server.
type server struct {
	down, wiped  bool
	joining      bool // it is there in place of one that lost everything
	epoch, owner uint8
	head, commit uint8
	slots        [maxPosition + 1]slot
}

// slot is what a server holds of a position.
type slot struct {
	epoch  uint8
	digest digestID
	index  uint8
	rotten bool
}

type kind uint8

const (
	kindFence     kind = iota // of a takeover
	kindMetas                 // of a takeover
	kindShard                 // of a takeover
	kindAppend                // of an owner
	kindLateFence             // of an owner, for a server that missed the takeover
	kindAppended              // the answer to an append
)

// message is a request on its way, or the answer to an append. Of a stray
// request the sender has given up: nobody waits for the answer.
type message struct {
	from, to, round uint8
	kind            kind
	stray           bool
	epoch           uint8
	position        uint8
	index           uint8
	digest          digestID
	commit          uint8
	data, replace   bool
	outcome         appending.Outcome // of an answer, with epoch and index
}

func (m *message) append(b []byte) []byte {
	flags := byte(0)
	for i, f := range []bool{m.stray, m.data, m.replace} {
		if f {
			flags |= 1 << i
		}
	}
	return append(b, m.from, m.to, m.round, byte(m.kind), flags, m.epoch, m.position, m.index, byte(m.digest), m.commit, byte(m.outcome))
}

func (m *message) number() (a, b uint64) {
	var x [16]byte
	m.append(x[:0])
	return binary.BigEndian.Uint64(x[:8]), binary.BigEndian.Uint64(x[8:])
}

func compareMessages(x, y message) int {
	a, b := x.number()
	c, d := y.number()
	return cmp.Or(cmp.Compare(a, c), cmp.Compare(b, d))
}

// owner is one tlogserver's attempt at the log. While over is false exactly
// what it still needs of find and log is there.
type owner struct {
	find *takeover.Machine // until the log is found
	log  *appending.Machine

	over, done, told bool
	refused          bool // a higher epoch is held somewhere: it waits
	grace            bool // its takeover waits only a little longer
	round            uint8
	epoch            uint8
	base, head, next uint8
	chain            byPosition // found, then published
	hedging          uint8      // positions whose hedge timer runs, as bits
	waits            uint8      // servers it waits to see again, as bits
	joining          uint8      // servers that it knows to be joining, as bits
	sum              uint64
}

func (o *owner) clone() *owner {
	c := *o
	if o.find != nil {
		c.find = o.find.Clone()
	}
	if o.log != nil {
		c.log = o.log.Clone()
	}
	return &c
}

// end leaves of an owner what later ones are compared with.
func (o *owner) end() {
	*o = owner{over: true, done: o.done, told: o.told, epoch: o.epoch, head: o.head, chain: o.chain}
	if !o.done {
		*o = owner{over: true}
	}
}

func (o *owner) append(b []byte) []byte {
	for _, f := range []bool{o.over, o.done, o.told, o.refused, o.grace} {
		b = append(b, flag(f))
	}
	b = append(b, o.round, o.epoch, o.base, o.head, o.next, o.hedging, o.waits, o.joining)
	for _, d := range o.chain {
		b = append(b, byte(d))
	}
	b = append(b, flag(o.find != nil), flag(o.log != nil))
	if o.find != nil {
		b = o.find.AppendState(b)
	}
	if o.log != nil {
		b = o.log.AppendState(b)
	}
	return b
}

func flag(f bool) byte {
	if f {
		return 1
	}
	return 0
}

func (s *state) clone() *state {
	c := *s
	c.owners = slices.Clone(s.owners)
	c.net = append(make([]message, 0, len(s.net)+4), s.net...)
	return &c
}

func (s *server) append(b []byte) []byte {
	b = append(b, flag(s.down), flag(s.wiped), flag(s.joining), s.epoch, s.owner, s.head, s.commit)
	for i := range s.slots {
		x := &s.slots[i]
		b = append(b, x.epoch, byte(x.digest), x.index, flag(x.rotten))
	}
	return b
}

// hash is of everything that tells two states apart.
func (s *state) hash(p int, b []byte) (uint64, []byte) {
	b = s.appendStored(p, b[:0])
	for i := range p {
		b = append(b, flag(s.servers[i].down))
	}
	for _, o := range s.owners {
		b = binary.LittleEndian.AppendUint64(b, o.sum)
	}
	l := &s.left
	b = append(b, l.timeouts, l.repeats, l.hedges, l.crashes, l.downs, l.wiped, l.rotten, l.replaced)
	for i := range s.net {
		b = s.net[i].append(b)
	}
	return sum(b), b
}

// appendStored is what a reader's view, and what it must find, depends on.
func (s *state) appendStored(p int, b []byte) []byte {
	for i := range p {
		x := s.servers[i]
		x.down = false
		b = x.append(b)
	}
	for i := range s.acked {
		b = append(b, byte(s.acked[i]), s.ackedBy[i], s.ended[i])
	}
	return append(b, s.lost)
}

// sum is a 64-bit hash after wyhash: multiplications whose halves are folded.
func sum(b []byte) uint64 {
	const k0, k1, k2 = 0xa0761d6478bd642f, 0xe7037ed1a0b428db, 0x8ebc6af09c88c6e3
	h := uint64(len(b)) ^ k2
	for len(b) >= 16 {
		h = fold(binary.LittleEndian.Uint64(b)^k0, binary.LittleEndian.Uint64(b[8:])^h^k1)
		b = b[16:]
	}
	var tail [16]byte
	copy(tail[:], b)
	h = fold(binary.LittleEndian.Uint64(tail[:])^k1, binary.LittleEndian.Uint64(tail[8:])^h^k2)
	return fold(h^k0, k1)
}

func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// digest is what is known of a digestID.
type digest struct {
	owner, epoch, position uint8
	prev                   digestID
}

func (d digestID) hash() (h tlog.Hash) {
	h[0] = byte(d)
	return h
}

func digestOf(h tlog.Hash) digestID { return digestID(h[0]) }
