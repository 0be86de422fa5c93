package stor

import (
	"context"
	"errors"
	"fmt"

	"tlog"
)

// gathering puts one position together from good shards of one digest.
type gathering struct {
	pool   *Pool
	vdisk  tlog.UUID
	pos    tlog.Position
	digest tlog.Hash
	prev   tlog.Hash
	head   []byte
	bodies [][]byte // by index
	have   int
	memory *Memory // nil: what is fetched gets memory of its own
}

func (p *Pool) gather(vdisk tlog.UUID, pos tlog.Position, digest tlog.Hash) *gathering {
	return &gathering{pool: p, vdisk: vdisk, pos: pos, digest: digest, bodies: make([][]byte, p.manifest.N())}
}

// add takes a checked shard; one of another digest is not taken. An error
// means that the digest's own header does not fit the pool.
func (g *gathering) add(c *Checked) error {
	if c.Digest != g.digest {
		return nil
	}
	m := &g.pool.manifest
	if c.K != m.K || c.M != m.M || c.Index < 0 || c.Index >= m.N() || g.have > 0 && len(c.Body) != g.size() {
		return tlog.Corruptf("stor: vdisk %v: position %d: shard %d of %d+%d shards with %d bytes does not fit the pool's %d+%d", g.vdisk, g.pos, c.Index, c.K, c.M, len(c.Body), m.K, m.M)
	}
	if g.bodies[c.Index] == nil {
		g.bodies[c.Index] = c.Body
		g.have++
	}
	g.head, g.prev = c.Head, c.Prev
	return nil
}

func (g *gathering) size() int {
	for _, b := range g.bodies {
		if b != nil {
			return len(b)
		}
	}
	return 0
}

// complete reports whether the position can be put together.
func (g *gathering) complete() bool { return g.have >= g.pool.manifest.K }

func (g *gathering) fetched() (*Fetched, error) {
	if !g.complete() {
		return nil, tlog.Corruptf("stor: vdisk %v: position %d: %d good shards, %d are needed", g.vdisk, g.pos, g.have, g.pool.manifest.K)
	}
	f := &Fetched{Position: g.pos, Digest: g.digest, Prev: g.prev, Head: g.head}
	var err error
	if g.memory == nil {
		f.Data, err = g.pool.codec.join(nil, g.bodies)
		return f, err
	}
	// The shards' buffers are free when their bytes are copied.
	g.memory.head = append(g.memory.head[:0], g.head...)
	f.Head = g.memory.head
	if g.memory.joined == nil {
		g.memory.joined = []byte{} // lest the join is a shard's buffer
	}
	g.memory.joined, err = g.pool.codec.join(g.memory.joined, g.bodies)
	f.Data = g.memory.joined
	return f, err
}

// rebuilt is an adopted position, all shards of it, as they were first stored.
type rebuilt struct {
	heads, bodies [][]byte
}

func (r *rebuilt) Shard(i int) (head, body []byte) { return r.heads[i], r.bodies[i] }

func (r *rebuilt) Release() {}

// rebuild makes all shards of a position from the good ones, and has each one
// that was not read checked like one that was: what is written again is what
// was written first, byte by byte.
func (p *Pool) rebuild(vdisk tlog.UUID, pos tlog.Position, digest tlog.Hash, good map[int]*Checked) (*rebuilt, error) {
	g := p.gather(vdisk, pos, digest)
	for _, c := range good {
		if err := g.add(c); err != nil {
			return nil, err
		}
	}
	read := append([][]byte(nil), g.bodies...)
	if err := p.codec.complete(g.bodies); err != nil {
		return nil, err
	}
	r := &rebuilt{bodies: g.bodies}
	for i, body := range g.bodies {
		head := append(append([]byte(nil), g.head...), indexTrailer(i)...)
		r.heads = append(r.heads, head)
		if read[i] != nil {
			continue
		}
		c, err := p.cfg.Check(append(append([]byte(nil), head...), body...), vdisk, pos, false)
		if err != nil || c.Digest != digest || c.Index != i {
			return nil, fmt.Errorf("stor: internal error: vdisk %v: position %d: rebuilt shard %d is not what it was: %w", vdisk, pos, i, errors.Join(err))
		}
	}
	return r, nil
}

// indexTrailer is what stands between head and body of a stored shard.
func indexTrailer(i int) []byte { return []byte{byte(i), 0, 0, 0, 0, 0, 0, 0} }

// readShard reads and checks the shard a server holds.
func (p *Pool) readShard(ctx context.Context, s Server, vdisk tlog.UUID, pos tlog.Position) (*Checked, error) {
	b, err := s.Shard(ctx, vdisk, pos, 0)
	if err != nil {
		return nil, err
	}
	return p.check(b, vdisk, pos)
}

// fillShard is readShard into buf, if the server can and it is large enough.
// What the shard lies in, if it was read, is memory.
func (p *Pool) fillShard(ctx context.Context, s Server, vdisk tlog.UUID, pos tlog.Position, buf []byte) (c *Checked, memory []byte, err error) {
	f, can := s.(Filler)
	if !can {
		c, err = p.readShard(ctx, s, vdisk, pos)
		return c, nil, err
	}
	b, memory, err := f.Fill(ctx, vdisk, pos, buf)
	if err != nil {
		return nil, nil, err
	}
	c, err = p.check(b, vdisk, pos)
	return c, memory, err
}

func (p *Pool) check(b []byte, vdisk tlog.UUID, pos tlog.Position) (*Checked, error) {
	c, err := p.cfg.Check(b, vdisk, pos, false)
	if err != nil {
		return nil, tlog.WithClass(tlog.Corrupt, err)
	}
	return &c, nil
}

// isDamage reports whether a read failed because of what is stored, and not
// because the server could not be asked.
func isDamage(err error) bool {
	return errors.Is(err, ErrAbsent) || tlog.ClassOf(err) == tlog.Corrupt
}
