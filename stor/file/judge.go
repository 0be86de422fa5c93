package file

import (
	"encoding/json"
	"fmt"
	"reflect"

	"tlog"
	"tlog/stor"
)

// verdict is what the server answers to a request once its frame, and those
// before it, are durable.
type verdict struct {
	control stor.Control
	meta    stor.Meta
	err     error
}

// frame is a frame to be written.
type frame struct {
	at     place // set when it is written
	header header
	data   [2][]byte
}

// bench judges the requests of one batch, in order: each against what is
// durable and the effects of those before it in the batch. It changes nothing
// but itself; the verdicts that need a frame hold once the frames are durable.
//
// The checks are those of the Redis scripts FENCE and APPEND.
type bench struct {
	name  string
	index *index // what is durable
	// digest reads the digest of a position that the index holds.
	digest func(tlog.UUID, held) (tlog.Hash, error)

	// Effects of the batch.
	cookie   tlog.UUID
	manifest *stor.Manifest
	controls map[tlog.UUID]stor.Control
	metas    map[slot]stor.Meta
	frames   []frame
	bytes    int64 // that the frames take
	verdicts []verdict
}

type slot struct {
	vdisk    tlog.UUID
	position tlog.Position
}

// reset begins a new batch.
func (b *bench) reset() {
	b.cookie, b.manifest = b.index.cookie, b.index.manifest
	if b.controls == nil {
		b.controls, b.metas = make(map[tlog.UUID]stor.Control), make(map[slot]stor.Meta)
	}
	clear(b.controls)
	clear(b.metas)
	clear(b.verdicts)
	b.frames, b.bytes, b.verdicts = b.frames[:0], 0, b.verdicts[:0]
}

func (b *bench) add(h header, data ...[]byte) {
	f := frame{header: h}
	for i, d := range data {
		f.data[i] = d
		f.header.length += uint32(len(d))
	}
	b.frames = append(b.frames, f)
	b.bytes += f.header.span()
}

func (b *bench) refuse(code stor.Code, format string, a ...any) *stor.Refusal {
	return &stor.Refusal{Code: code, Server: b.name, Err: fmt.Errorf(format, a...)}
}

// identify reports whether the caller means this server.
func (b *bench) identify(id *stor.Identity) error {
	switch {
	case b.manifest == nil:
		return b.refuse(stor.WrongStore, "%w; initialise it, or replace it in the pool", stor.ErrEmpty)
	case id.Cookie != b.cookie:
		return b.refuse(stor.WrongStore, "its cookie is %v, not %v: another server, or one that was wiped", b.cookie, id.Cookie)
	case id.ConfigVersion < b.manifest.ConfigVersion:
		return b.refuse(stor.OldConfig, "its config version is %d, the caller's %d", b.manifest.ConfigVersion, id.ConfigVersion)
	}
	return nil
}

func (b *bench) control(id tlog.UUID) stor.Control {
	if c, ok := b.controls[id]; ok {
		return c
	}
	if v := b.index.get(id); v != nil {
		return v.control
	}
	return stor.Control{}
}

// meta gives what is held of a position; the zero Meta if nothing is.
func (b *bench) meta(id tlog.UUID, pos tlog.Position) (stor.Meta, error) {
	if m, ok := b.metas[slot{id, pos}]; ok {
		return m, nil
	}
	h, ok := b.index.find(id, pos)
	if !ok {
		return stor.Meta{}, nil
	}
	d, err := b.digest(id, h)
	if err != nil {
		return stor.Meta{}, b.refuse(stor.Unfit, "damaged: %w; repair or replace it", err)
	}
	return stor.Meta{Position: pos, Epoch: h.epoch, Digest: d, Index: h.index}, nil
}

func (b *bench) fenced(held stor.Owner, asked stor.Owner) error {
	r := b.refuse(stor.Fenced, "epoch %d of owner %v is not the one held: %d of %v", asked.Epoch, asked.ID, held.Epoch, held.ID)
	r.Owner = held
	return r
}

// init judges stor.Server.Init.
func (b *bench) init(cookie tlog.UUID, m *stor.Manifest) verdict {
	if b.manifest != nil {
		switch {
		case cookie != b.cookie:
			return verdict{err: b.refuse(stor.WrongStore, "it is initialised with cookie %v, not %v", b.cookie, cookie)}
		case m.ConfigVersion < b.manifest.ConfigVersion:
			return verdict{err: b.refuse(stor.OldConfig, "its config version is %d, not %d", b.manifest.ConfigVersion, m.ConfigVersion)}
		case m.ConfigVersion == b.manifest.ConfigVersion:
			if !reflect.DeepEqual(m, b.manifest) {
				return verdict{err: b.refuse(stor.Conflict, "another manifest has config version %d", m.ConfigVersion)}
			}
			return verdict{}
		}
	}
	data, err := json.Marshal(m)
	if err != nil {
		return verdict{err: b.refuse(stor.ServerError, "manifest: %w", err)}
	}
	kept := new(stor.Manifest)
	if err := json.Unmarshal(data, kept); err != nil {
		return verdict{err: b.refuse(stor.ServerError, "manifest: %w", err)}
	}
	b.cookie, b.manifest = cookie, kept
	b.add(header{kind: kindInit, vdisk: cookie, position: tlog.Position(m.ConfigVersion)}, data)
	return verdict{}
}

// fence judges stor.Server.Fence.
func (b *bench) fence(r *stor.FenceRequest) verdict {
	if err := b.identify(&r.Identity); err != nil {
		return verdict{err: err}
	}
	c := b.control(r.Vdisk)
	switch {
	case r.Epoch == 0:
		return verdict{err: b.refuse(stor.ServerError, "epoch 0 owns nothing")}
	case r.Epoch < c.Epoch, r.Epoch == c.Epoch && r.ID != c.ID:
		return verdict{err: b.fenced(c.Owner, r.Owner)}
	case r.Owner == c.Owner:
		return verdict{control: c}
	}
	c.Owner = r.Owner
	b.controls[r.Vdisk] = c
	b.add(header{kind: kindFence, vdisk: r.Vdisk, epoch: r.Epoch, owner: r.ID})
	return verdict{control: c}
}

// append judges stor.Server.Append.
func (b *bench) append(r *stor.AppendRequest) verdict {
	if err := b.identify(&r.Identity); err != nil {
		return verdict{err: err}
	}
	if r.Position == 0 || r.Index < 0 || r.Index > 254 || len(r.Head)+len(r.Body) > maxData {
		return verdict{err: b.refuse(stor.ServerError, "position %d, index %d, %d bytes: out of range", r.Position, r.Index, len(r.Head)+len(r.Body))}
	}
	c := b.control(r.Vdisk)
	if r.Epoch == 0 || r.Owner != c.Owner {
		return verdict{err: b.fenced(c.Owner, r.Owner)}
	}
	held, err := b.meta(r.Vdisk, r.Position)
	if err != nil {
		return verdict{err: err}
	}
	want := stor.Meta{Position: r.Position, Epoch: r.Epoch, Digest: r.Digest, Index: r.Index}
	if held.Position != 0 {
		switch {
		case held.Digest != r.Digest && held.Epoch == r.Epoch:
			return verdict{meta: held, err: b.refuse(stor.Conflict, "position %d holds digest %v of the same epoch, not %v", r.Position, held.Digest, r.Digest)}
		case held.Digest == r.Digest && !r.Replace:
			return b.renew(r, held)
		}
	}
	if len(r.Head)+len(r.Body) == 0 {
		return verdict{meta: held, err: b.refuse(stor.NoData, "position %d came without data", r.Position)}
	}
	b.add(b.headerOf(kindShard, r, r.Index), r.Head, r.Body)
	b.hold(r, want)
	return verdict{meta: want}
}

// renew answers an append of a digest that is held: nothing needs to be
// written if its epoch is the one held, as what is held is durable or ahead in
// this batch.
func (b *bench) renew(r *stor.AppendRequest, held stor.Meta) verdict {
	if held.Epoch != r.Epoch {
		held.Epoch = r.Epoch
		b.add(b.headerOf(kindRenew, r, held.Index))
		b.hold(r, held)
	}
	if held.Index == r.Index {
		return verdict{meta: held}
	}
	refusal := b.refuse(stor.HasIndex, "position %d holds index %d of the digest, not %d", r.Position, held.Index, r.Index)
	refusal.Index = held.Index
	return verdict{meta: held, err: refusal}
}

func (b *bench) headerOf(kind byte, r *stor.AppendRequest, index int) header {
	return header{
		kind: kind, index: byte(index), vdisk: r.Vdisk, position: r.Position, epoch: r.Epoch, owner: r.ID,
		digest: r.Digest, commit: r.Commit,
	}
}

// hold notes the effects of an append for the rest of the batch.
func (b *bench) hold(r *stor.AppendRequest, m stor.Meta) {
	b.metas[slot{r.Vdisk, r.Position}] = m
	c := b.control(r.Vdisk)
	c.Head, c.Commit = max(c.Head, r.Position), max(c.Commit, r.Commit)
	b.controls[r.Vdisk] = c
}
