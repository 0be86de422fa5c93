package vdisk

import "sync/atomic"

// pins count those who read records' data without a lock, in two groups: those
// who came since the last turn, and those before. Memory of records that no new
// reader can find may be reused when the group before is empty. Readers never
// wait; entering and turning are ordered by the Disk's mu.
type pins struct {
	now    pin // the group of those who come
	inside [2]atomic.Int64
	left   chan struct{} // capacity 1: a group has become empty
}

// pin is the group of a reader.
type pin int

func (p *pins) enter() pin {
	p.inside[p.now].Add(1)
	return p.now
}

func (p *pins) leave(at pin) {
	if p.inside[at].Add(-1) == 0 {
		signal(p.left)
	}
}

// turn begins another group. The one that was before the present one must be
// empty: so one turn's await ends before the next turn.
func (p *pins) turn() { p.now = 1 - p.now }

// await waits until nobody is left of a group. Only one may wait.
func (p *pins) await(before pin) {
	for p.inside[before].Load() > 0 {
		<-p.left
	}
}
