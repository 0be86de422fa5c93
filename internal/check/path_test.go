package check_test

import (
	"strings"
	"testing"

	"tlog/internal/check"
)

func TestPath(t *testing.T) {
	r := check.New(vdisk, 8)
	_, at := history(t, r, start(), 1, 5) // at the times 100 … 104
	_, other := history(t, r, at[1], 50, 2)
	p, q := r.Path(at[5]), r.Path(other[2])
	if p.Len() != 5 || q.Len() != 3 || r.Path(check.Point{Sequence: 9}) != nil {
		t.Fatalf("lengths %d and %d, want 5 and 3", p.Len(), q.Len())
	}
	if got, want := string(p.Image(3)), "\x01\x02\x03\x00\x00\x00\x00\x00"; got != want {
		t.Errorf("image after 3 records: %q, want %q", got, want)
	}
	if got, want := string(q.Image(3)), "\x32\x33\x00\x00\x00\x00\x00\x00"; got != want {
		t.Errorf("image of the other history: %q, want %q", got, want)
	}
	if p.Record(4).Timestamp != 103 || q.Record(3).Timestamp != 101 {
		t.Errorf("records 4: %v and %v", p.Record(4), q.Record(3))
	}
	for time, want := range map[uint64]uint64{0: 0, 99: 0, 100: 1, 102: 3, 104: 5, 1000: 5} {
		if got := uint64(p.At(time)); got != want {
			t.Errorf("at %d: record %d, want %d", time, got, want)
		}
	}
}

func TestWalk(t *testing.T) {
	r := check.New(vdisk, 8)
	records, at := history(t, r, start(), 1, 5)
	if err := r.Acknowledged(1, at[4]); err != nil {
		t.Fatal(err)
	}
	w := r.Walk()
	for i := range records[:4] {
		if err := w.Add(&records[i]); err != nil {
			t.Fatal(err)
		}
	}
	if p, err := w.End(); err != nil || p != at[4] {
		t.Errorf("end at %v, %v, want %v", p, err, at[4])
	}
	w = r.Walk()
	if err := w.Add(&records[1]); err == nil || !strings.Contains(err.Error(), "not sent behind") {
		t.Errorf("a log that begins with record 2: %v", err)
	}
	if _, err := w.End(); err == nil {
		t.Error("its end is no error")
	}
	if n := len(r.Violations()); n != 1 {
		t.Errorf("%d violations of one", n)
	}
}
