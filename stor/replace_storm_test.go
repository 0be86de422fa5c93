package stor_test

import (
	"testing"

	"pgregory.net/rapid"

	"tlog"
)

// Servers are wiped, replaced, repaired and made voters in any order, with
// crashes of the owner between, and never more losses at once than are covered:
// nobody ever finds a shorter log.
func TestReplaceStorm(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		f := newFixture(t, 2, 2, 4, 6)
		defer f.close()
		lost := map[int]bool{} // wiped, and not a voter again
		l := f.takeover()
		f.commit(l, 1)
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			switch slot := rapid.IntRange(0, 5).Draw(rt, "slot"); rapid.IntRange(0, 4).Draw(rt, "step") {
			case 0:
				l.Close()
				l = f.takeover()
				f.commit(l, rapid.IntRange(1, 3).Draw(rt, "positions"))
			case 1:
				if !lost[slot] && len(lost) < 2 {
					lost[slot] = true
					l.Close()
					f.wipe(slot)
					f.replace(slot)
					l = f.takeover()
				}
			case 2:
				if at, err := l.Repair(t.Context(), unbounded(rapid.Bool().Draw(rt, "deep"))); err == nil && at.Lost > 0 {
					rt.Fatalf("lost: %+v", at)
				}
			case 3:
				if _, err := f.pool.Settle(t.Context()); err == nil && !f.pool.Joining() {
					clear(lost)
				}
			case 4:
				f.missing(rt, slot, len(lost))
			}
		}
		f.missing(rt, 0, len(lost))
		f.verify()
		l.Close()
	})
}

// missing looks at the log with as many servers away as losses are covered
// beyond those there are, and one more: it is found whole, or not at all.
func (f *fixture) missing(rt *rapid.T, from, lost int) {
	away := []int{from, (from + 1) % 6, (from + 2) % 6}[:max(0, 2-lost)+1]
	for n := 1; n <= len(away); n++ {
		f.away(true, away[:n]...)
		v, err := f.pool.Survey(f.t.Context(), f.vdisk)
		switch {
		case err == nil && v.Head() != tlog.Position(len(f.chain)):
			rt.Fatalf("%d servers away, %d lost: head %d, want %d", n, lost, v.Head(), len(f.chain))
		case err != nil && tlog.ClassOf(err) != tlog.Unavailable:
			rt.Fatalf("%d servers away, %d lost: %v", n, lost, err)
		case err != nil && n+lost <= 2:
			rt.Fatalf("%d servers away, %d lost, and two are covered: %v", n, lost, err)
		}
		for pos := tlog.Position(1); n+lost <= 2 && pos <= v.Head(); pos++ {
			if _, err := v.Read(f.t.Context(), pos); err != nil {
				rt.Fatalf("%d servers away, %d lost: %v", n, lost, err)
			}
		}
		f.away(false, away[:n]...)
	}
}
