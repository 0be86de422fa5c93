package stor

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"tlog"
)

// Damage is something wrong with one stored shard, or with a whole server (Position 0).
type Damage struct {
	Vdisk    tlog.UUID
	Position tlog.Position
	Server   string // "": no server holds it
	Index    int    // −1: unknown
	Err      error
}

// Fetched is an aggregation put together from k valid shards. It is the caller's.
type Fetched struct {
	Position     tlog.Position
	Digest, Prev tlog.Hash
	Head         []byte
	Data         []byte   // the k data shards joined; nil from ReadHead
	Damaged      []Damage // shards that were asked for and are damaged, or gone
}

// View is a vdisk's log as R servers hold it at one moment, found as a
// takeover finds it but without fencing. It reads lazily, and keeps no more
// than a few pages of metas.
type View struct {
	pool  *Pool
	vdisk tlog.UUID
	head  tlog.Position
	base  tlog.Position // first of digests
	found []tlog.Hash   // of base … head: what the survey decided

	pages pageCache

	mu    sync.Mutex
	gone  map[int]error     // by slot: servers that could not be asked
	order []int             // of gone, as noticed
	slow  []bool            // by slot: asked last from now on
	rests map[int]time.Time // by slot: until then not asked for parts
}

func newView(p *Pool, vdisk tlog.UUID) *View {
	return &View{pool: p, vdisk: vdisk, gone: map[int]error{}, slow: make([]bool, p.manifest.P())}
}

// add books a position that the search decided.
func (v *View) add(pos tlog.Position, digest tlog.Hash) {
	if len(v.found) == 0 {
		v.base = pos
	}
	v.found = append(v.found, digest)
}

// extend lets the view of a takeover that still runs reach pos.
func (v *View) extend(pos tlog.Position) { v.head = pos }

func (v *View) finish(_, head tlog.Position) { v.head = head }

// lost books a server that could not be asked.
func (v *View) lost(slot int, err error) {
	if err == nil {
		err = errors.New("stor: no answer in time")
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, known := v.gone[slot]; !known {
		v.order = append(v.order, slot)
		v.gone[slot] = err
	}
	v.slow[slot] = true
}

// demote has a server asked last: it let a reader wait.
func (v *View) demote(slot int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.slow[slot] = true
}

func (v *View) demoted() []bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.slow)
}

// Vdisk is whose log it is.
func (v *View) Vdisk() tlog.UUID { return v.vdisk }

// Head is the last position of the log; 0 if there is none.
func (v *View) Head() tlog.Position { return v.head }

// Damaged lists the servers that did not vote at the survey, and those that could
// not be asked since. Whether they were needed, the reads say.
func (v *View) Damaged() []Damage {
	v.mu.Lock()
	defer v.mu.Unlock()
	var list []Damage
	for _, slot := range v.order {
		list = append(list, Damage{Vdisk: v.vdisk, Server: v.pool.slotName(slot), Index: -1, Err: v.gone[slot]})
	}
	slices.SortStableFunc(list, func(a, b Damage) int { return cmp.Compare(a.Server, b.Server) })
	return list
}

// decided is the digest the survey chose for a position, if it had to.
func (v *View) decided(pos tlog.Position) (tlog.Hash, bool) {
	if len(v.found) == 0 || pos < v.base || pos-v.base >= tlog.Position(len(v.found)) {
		return tlog.Hash{}, false
	}
	return v.found[pos-v.base], true
}

func (v *View) inRange(pos tlog.Position) error {
	if pos < 1 || pos > v.head {
		return fmt.Errorf("stor: vdisk %v: position %d is outside the log, which ends at %d", v.vdisk, pos, v.head)
	}
	return nil
}
