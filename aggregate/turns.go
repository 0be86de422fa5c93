package aggregate

import "slices"

// turns decides what is sealed next, fairly by bytes between pipelines and in
// order within each: deficit round robin (Shreedhar and Varghese, 1995). A
// pipeline that has a little to seal then waits for about one quantum of every
// other one that has work, and not for all that a busy one has handed over.
type turns struct {
	lines []*line // that have tasks; the first has the turn
}

// line is what one pipeline has waiting.
type line struct {
	jobs   []*job
	credit int // bytes that it may seal in this turn
}

// quantum is what a line may seal in each round, in bytes of sealed shards: few
// enough that a round is short, enough that small aggregations need one round.
const quantum = 256 << 10

func (t *turns) push(l *line, j *job) {
	if len(l.jobs) == 0 {
		l.credit = quantum
		t.lines = append(t.lines, l)
	}
	l.jobs = append(l.jobs, j)
}

// next is the job whose turn it is, which pop takes unless one is pushed in
// between; nil: there is none.
func (t *turns) next() *job {
	if len(t.lines) == 0 {
		return nil
	}
	for {
		l := t.lines[0]
		if len(t.lines) == 1 || l.credit >= l.jobs[0].bytes {
			return l.jobs[0]
		}
		l.credit += quantum
		copy(t.lines, t.lines[1:])
		t.lines[len(t.lines)-1] = l
	}
}

// pop takes what next gave. Queues are short, so that moving them up is cheap,
// and leaves no garbage.
func (t *turns) pop() *job {
	l := t.lines[0]
	j := l.jobs[0]
	l.credit = max(0, l.credit-j.bytes) // a line that was alone owes nothing
	l.jobs = slices.Delete(l.jobs, 0, 1)
	if len(l.jobs) == 0 {
		t.lines = slices.Delete(t.lines, 0, 1)
	}
	return j
}
