package group

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestStamp(t *testing.T) {
	made := time.Unix(1_795_000_000, 0)
	s := newStamp("vm-1", made, 0)
	if s == 0 || !s.Of("vm-1") || s.Of("vm-2") || s.IsClosed() || s.Name() != NameID("vm-1") {
		t.Errorf("%v", s)
	}
	c := s.Closed()
	if !c.IsClosed() || !c.Of("vm-1") || !c.SameClock(s) || c == s || c == 0 {
		t.Errorf("closed: %v", c)
	}
	if n := newStamp("vm-1", made, 1); n == s || !n.SameClock(s) {
		t.Errorf("another attachment: %v", n)
	}
	if n := newStamp("vm-1", made.Add(time.Second), 0); n.SameClock(s) || !n.Of("vm-1") {
		t.Errorf("another clock: %v", n)
	}
	var none Stamp
	if none.Of("vm-1") || none.IsClosed() || none.String() != "no group" {
		t.Errorf("no stamp: %v", none)
	}
}

// No attachment has the run of the last one, and none has the run of an end.
func TestRuns(t *testing.T) {
	before := Stamp(0)
	for n := range uint64(2000) {
		s := newStamp("g", time.Unix(5, 0), n)
		if s == before || s.IsClosed() {
			t.Fatalf("attachment %d: %v after %v", n, s, before)
		}
		before = s
	}
}

// What a stamp says of the clock's age holds for as long as its bits go round.
func TestCreated(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		made := rapid.Int64Range(1, 1<<33).Draw(t, "made")
		age := rapid.Int64Range(0, 1<<createdBits-1).Draw(t, "age")
		s := newStamp("g", time.Unix(made, 0), 7)
		at := uint64(made+age) * uint64(time.Second)
		if got := s.Created(at).Unix(); got != made {
			t.Fatalf("created %d, want %d", got, made)
		}
		if got := s.Closed().Created(at + 999_999_999).Unix(); got != made {
			t.Fatalf("created %d, want %d", got, made)
		}
	})
}
