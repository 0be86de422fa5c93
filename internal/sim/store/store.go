// Package store is a shard server as a pure model: what a Redis with the
// scripts of stor/redis answers, in a few lines, without a clock or a socket.
//
// It has two states. Every change is made to the first at once, and to the
// second, which a crash leaves, when Sync says so; a crash may keep any number
// of the changes in between, oldest first, as an append-only file does. Tests
// compare it with stor/memory and, under the build tag e2e, with a real Redis,
// call by call.
//
// A Store is not safe for concurrent use. It keeps the slices it is given, and
// what it returns must not be changed.
package store

import (
	"errors"
	"reflect"
	"slices"

	"tlog"
	"tlog/stor"
)

// Shard is what is held of one position.
type Shard struct {
	Meta stor.Meta
	Data []byte // nil: it is gone
}

// disk is one state. Positions are dense: shards[i] is position i+1.
type disk struct {
	cookie   tlog.UUID // zero: not initialised
	config   uint64
	manifest *stor.Manifest // nil with a cookie: of New, without one
	control  stor.Control
	shards   []Shard
}

// change is one write: the new control, a shard if its position is not 0, and
// a manifest if there is one.
type change struct {
	control  stor.Control
	shard    Shard
	cookie   tlog.UUID
	manifest *stor.Manifest
}

func (d *disk) apply(c change) {
	d.control = c.control
	if c.manifest != nil {
		d.cookie, d.config, d.manifest = c.cookie, c.manifest.ConfigVersion, c.manifest
	}
	if n := int(c.shard.Meta.Position); n > 0 {
		if n > len(d.shards) {
			d.shards = append(d.shards, make([]Shard, n-len(d.shards))...)
		}
		d.shards[n-1] = c.shard
	}
}

func (d *disk) copy() disk {
	c := *d
	c.shards = slices.Clone(d.shards)
	return c
}

// Store is a shard server that holds one vdisk's shards.
type Store struct {
	Name    string
	live    disk
	durable disk
	pending []change // of live, not of durable
}

// New makes a store that was initialised.
func New(name string, cookie tlog.UUID, config uint64) *Store {
	d := disk{cookie: cookie, config: config}
	return &Store{Name: name, live: d, durable: d}
}

// Pending is the number of changes that a crash may undo.
func (s *Store) Pending() int { return len(s.pending) }

// Sync makes the oldest n changes durable.
func (s *Store) Sync(n int) {
	for _, c := range s.pending[:n] {
		s.durable.apply(c)
	}
	s.pending = slices.Clone(s.pending[n:])
}

// Crash ends the process and keeps n of the changes that were not synced.
func (s *Store) Crash(n int) {
	s.Sync(n)
	s.pending = nil
	s.live = s.durable.copy()
}

// Wipe makes it an empty server: amnesia.
func (s *Store) Wipe() { *s = Store{Name: s.Name} }

// Copy is an old copy to restore later.
func (s *Store) Copy() *Store {
	return &Store{Name: s.Name, live: s.durable.copy(), durable: s.durable.copy()}
}

// Restore puts an old copy in place.
func (s *Store) Restore(old *Store) { *s = *old.Copy() }

// AfterPowerLoss is what would be left if the power failed now.
func (s *Store) AfterPowerLoss() *Store { return s.Copy() }

// Damage changes what is stored, behind the server's back: f gets the shard
// of a position and returns what is to be read from now on.
func (s *Store) Damage(pos tlog.Position, f func(Shard) Shard) {
	for _, d := range []*disk{&s.live, &s.durable} {
		if n := int(pos); n > 0 && n <= len(d.shards) && d.shards[n-1].Meta.Position != 0 {
			d.shards[n-1] = f(d.shards[n-1])
		}
	}
}

// Cookie is the incarnation; zero: it is empty.
func (s *Store) Cookie() tlog.UUID { return s.live.cookie }

// Manifest is what Init was given last; nil: the store is empty.
func (s *Store) Manifest() *stor.Manifest { return s.live.manifest }

// Init is the script of that name: it makes an empty store a member, and tells
// a member of a newer manifest, never of an older or another one of its version.
func (s *Store) Init(cookie tlog.UUID, m *stor.Manifest) error {
	d := &s.live
	switch {
	case d.cookie.IsZero():
	case d.cookie != cookie:
		return s.refuse(stor.WrongStore)
	case d.config > m.ConfigVersion:
		return s.refuse(stor.OldConfig)
	case d.config == m.ConfigVersion && d.manifest != nil && !reflect.DeepEqual(d.manifest, m):
		return s.refuse(stor.Conflict)
	}
	s.write(change{control: d.control, cookie: cookie, manifest: m})
	return nil
}

func (s *Store) refuse(code stor.Code) *stor.Refusal {
	return &stor.Refusal{Code: code, Server: s.Name, Err: errRefused}
}

var errRefused = errors.New("refused by the model")

func (s *Store) identify(id *stor.Identity) error {
	switch {
	case s.live.cookie.IsZero() || id.Cookie != s.live.cookie:
		return s.refuse(stor.WrongStore)
	case id.ConfigVersion < s.live.config:
		return s.refuse(stor.OldConfig)
	}
	return nil
}

func (s *Store) write(c change) {
	s.live.apply(c)
	s.pending = append(s.pending, c)
}

func (s *Store) fenced() error {
	r := s.refuse(stor.Fenced)
	r.Owner = s.live.control.Owner
	return r
}

// Fence is the script FENCE.
func (s *Store) Fence(r *stor.FenceRequest) (stor.Control, error) {
	if err := s.identify(&r.Identity); err != nil {
		return stor.Control{}, err
	}
	c := s.live.control
	if c.Epoch > r.Epoch || c.Epoch == r.Epoch && c.ID != r.ID {
		return stor.Control{}, s.fenced()
	}
	c.Owner = r.Owner
	s.write(change{control: c})
	return c, nil
}

// Append is the script APPEND with the SET before it; without Head and Body no
// data arrived.
func (s *Store) Append(r *stor.AppendRequest) (stor.Meta, error) {
	if err := s.identify(&r.Identity); err != nil {
		return stor.Meta{}, err
	}
	c := s.live.control
	if c.Owner != r.Owner {
		return stor.Meta{}, s.fenced()
	}
	held := s.shard(r.Position)
	next := Shard{Meta: stor.Meta{Position: r.Position, Epoch: r.Epoch, Digest: r.Digest, Index: r.Index}}
	take := true
	switch {
	case held.Meta.Position == 0:
	case held.Meta.Digest != r.Digest:
		if held.Meta.Epoch >= r.Epoch {
			return held.Meta, s.refuse(stor.Conflict)
		}
	case !r.Replace && held.Data != nil:
		next.Meta.Index, next.Data, take = held.Meta.Index, held.Data, false
	}
	if take {
		if len(r.Head)+len(r.Body) == 0 {
			return held.Meta, s.refuse(stor.NoData)
		}
		next.Data = append(slices.Clone(r.Head), r.Body...)
	}
	c.Head, c.Commit = max(c.Head, r.Position), max(c.Commit, r.Commit)
	s.write(change{control: c, shard: next})
	if next.Meta.Index != r.Index {
		e := s.refuse(stor.HasIndex)
		e.Index = next.Meta.Index
		return next.Meta, e
	}
	return next.Meta, nil
}

func (s *Store) shard(pos tlog.Position) Shard {
	if n := int(pos); n > 0 && n <= len(s.live.shards) {
		return s.live.shards[n-1]
	}
	return Shard{}
}

// Control reads owner and hints.
func (s *Store) Control() stor.Control { return s.live.control }

// Metas reads what is claimed of positions from … to.
func (s *Store) Metas(from, to tlog.Position) []stor.Meta {
	var metas []stor.Meta
	for p := max(from, 1); p <= min(to, tlog.Position(len(s.live.shards)), s.live.control.Head); p++ {
		if m := s.shard(p).Meta; m.Position != 0 {
			metas = append(metas, m)
		}
	}
	return metas
}

// Shard reads a stored shard; false if the position has none.
func (s *Store) Shard(pos tlog.Position) ([]byte, bool) {
	b := s.shard(pos).Data
	return b, b != nil
}
