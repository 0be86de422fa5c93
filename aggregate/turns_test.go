package aggregate

import (
	"testing"

	"pgregory.net/rapid"

	"tlog"
	"tlog/crypto"
)

// Whatever is pushed and popped, each line keeps its order, and nothing is lost.
func TestTurns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const longest = 4 * quantum
		lines := make([]line, rapid.IntRange(1, 5).Draw(t, "lines"))
		queued, popped := make([][]int, len(lines)), make([]int, len(lines))
		var u turns
		order := make([]int, len(lines)) // of the next job of each
		push := func(i int) {
			n := len(queued[i]) + popped[i]
			bytes := rapid.SampledFrom([]int{0, 1, 6 << 10, quantum, quantum + 1, longest}).Draw(t, "bytes")
			queued[i] = append(queued[i], bytes)
			u.push(&lines[i], &job{bytes: bytes, position: tlog.Position(n), header: crypto.Header{K: uint8(i)}})
		}
		for range 200 {
			if rapid.Bool().Draw(t, "push") {
				push(rapid.IntRange(0, len(lines)-1).Draw(t, "line"))
				continue
			}
			next := u.next()
			if again := u.next(); next != again {
				t.Fatal("the next task changes before it is popped")
			}
			if next == nil {
				continue
			}
			j := u.pop()
			who, which := int(j.header.K), int(j.position)
			if which != order[who] || len(queued[who]) == 0 {
				t.Fatalf("line %d: task %d, want %d of %d", who, which, order[who], len(queued[who]))
			}
			order[who]++
			popped[who]++
			queued[who] = queued[who][1:]
		}
		for i := range queued {
			for range queued[i] {
				if u.next() == nil {
					t.Fatal("tasks are lost")
				}
				u.pop()
			}
		}
		if u.next() != nil || len(u.lines) != 0 {
			t.Fatal("more tasks than were pushed")
		}
	})
}

// While several lines have work all the time, each gets the same bytes, whatever
// the size of its tasks.
func TestTurnsAreFairByBytes(t *testing.T) {
	sizes := []int{6 << 10, 100 << 10, quantum, 3*quantum + 7, 6 * quantum}
	lines := make([]line, len(sizes))
	got := make([]int, len(sizes))
	var u turns
	push := func(i int) { u.push(&lines[i], &job{bytes: sizes[i], header: crypto.Header{K: uint8(i)}}) }
	for i := range lines {
		for range 100 { // a line is never empty below
			push(i)
		}
	}
	for total := 0; total < 1000*quantum; {
		u.next()
		who := u.pop().header.K
		got[who] += sizes[who]
		total += sizes[who]
		push(int(who))
		for i := range got {
			for j := range got {
				if ahead := got[i] - got[j]; ahead > 2*quantum+sizes[i]+sizes[j] {
					t.Fatalf("after %d bytes line %d is %d bytes ahead of line %d", total, i, ahead, j)
				}
			}
		}
	}
}

// A small job waits for at most a quantum, or the one job that is longer, of each
// other line, and not for what they have queued.
func TestSmallJobOvertakesQueues(t *testing.T) {
	var u turns
	busy := make([]line, 3)
	for i := range busy {
		for range 50 {
			u.push(&busy[i], &job{bytes: quantum / 2})
		}
	}
	u.next()
	u.pop()
	var quiet line
	small := &job{bytes: 4 << 10}
	u.push(&quiet, small)
	waited := 0
	for u.next() != small {
		u.pop()
		waited++
	}
	if most := 2*len(busy) + 1; waited > most {
		t.Errorf("it waited for %d tasks, want at most %d", waited, most)
	}
}
