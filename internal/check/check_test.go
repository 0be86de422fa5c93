package check_test

import (
	"crypto/sha256"
	"strings"
	"testing"

	"tlog"
	"tlog/internal/check"
)

const vdisk = tlog.VdiskID("d")

// history gives out n one-byte records behind a point.
func history(t *testing.T, r *check.Recorder, from check.Point, fill byte, n int) ([]tlog.Record, []check.Point) {
	t.Helper()
	var records []tlog.Record
	points := []check.Point{from}
	for i := range n {
		data := []byte{fill + byte(i)}
		rec := tlog.Record{
			Sequence: from.Sequence + tlog.Sequence(i+1), Offset: uint64(i), Size: 1, Timestamp: uint64(100 + i),
			Operation: tlog.OpWrite, Hash: sha256.Sum256(data), Data: data,
		}
		before := points[i].Chain
		if err := r.Sent(before, &rec); err != nil {
			t.Fatal(err)
		}
		records = append(records, rec)
		points = append(points, check.Point{Sequence: rec.Sequence, Chain: tlog.ChainNext(before, &rec)})
	}
	return records, points
}

func start() check.Point { return check.Point{Chain: tlog.ChainStart(vdisk)} }

func TestGoodHistory(t *testing.T) {
	r := check.New(vdisk, 8)
	records, at := history(t, r, start(), 1, 5)
	for _, err := range []error{
		r.Answered(1, at[0]), r.Acknowledged(1, at[3]), r.Believed(0, 1, at[3]), r.Acknowledged(1, at[2]),
		r.Restored(records[:3]), r.Restored(records[:4]), r.Restored(records),
		r.Answered(2, at[4]), r.Acknowledged(2, at[5]), r.Believed(0, 2, at[5]),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	if p, err := r.Disk([]byte{1, 2, 3, 4, 5, 0, 0, 0}); err != nil || p != at[5] {
		t.Errorf("disk: got %v, %v, want %v", p, err, at[5])
	}
	if got := r.Durable(); got != at[5] || len(r.Violations()) != 0 {
		t.Errorf("durable %v, want %v; violations %v", got, at[5], r.Violations())
	}
}

// Everything that is to be seen is seen.
func TestViolations(t *testing.T) {
	type world struct {
		r       *check.Recorder
		records []tlog.Record
		at      []check.Point // 0 … 5; 3 was acknowledged in epoch 2
		other   []check.Point // another history behind 1
	}
	for _, c := range []struct {
		name, want string
		do         func(w *world) error
	}{
		{"acknowledged and never sent", "no such history", func(w *world) error {
			return w.r.Acknowledged(2, check.Point{Sequence: 9, Chain: w.at[5].Chain})
		}},
		{"acknowledged another history", "taken back", func(w *world) error { return w.r.Acknowledged(2, w.other[2]) }},
		{"log too short", "acknowledged", func(w *world) error { return w.r.Restored(w.records[:2]) }},
		{"log with a gap", "not sent behind", func(w *world) error {
			return w.r.Restored(append(append([]tlog.Record{}, w.records[:2]...), w.records[3:]...))
		}},
		{"log with a repeat", "not sent behind", func(w *world) error {
			return w.r.Restored(append(append([]tlog.Record{}, w.records[:2]...), w.records[1:]...))
		}},
		{"log with other times", "not sent behind", func(w *world) error {
			w.records[1].Timestamp++
			return w.r.Restored(w.records)
		}},
		{"log with other bytes", "is not the one that was written", func(w *world) error {
			w.records[1].Data = []byte{77} // under the hash of the right ones
			return w.r.Restored(w.records)
		}},
		{"takeover that lost an acknowledgement", "acknowledged record 3", func(w *world) error { return w.r.Answered(3, w.at[2]) }},
		{"fenced server that acknowledges", "took the log over", func(w *world) error {
			if err := w.r.Answered(3, w.at[3]); err != nil {
				return err
			}
			return w.r.Acknowledged(2, w.at[4])
		}},
		{"client that believes an older epoch", "believes epoch 1 after 2", func(w *world) error {
			if err := w.r.Believed(7, 2, w.at[2]); err != nil {
				return err
			}
			return w.r.Believed(7, 1, w.at[3])
		}},
		{"client that believes what nobody said", "nobody acknowledged", func(w *world) error { return w.r.Believed(7, 2, w.at[4]) }},
		{"disk that is too old", "no prefix", func(w *world) error {
			_, err := w.r.Disk([]byte{1, 2, 0, 0})
			return err
		}},
		{"time that steps back", "is before", func(w *world) error {
			return w.r.Sent(w.at[5].Chain, &tlog.Record{Sequence: 6, Timestamp: 1, Operation: tlog.OpFlush})
		}},
		{"record behind nothing", "nobody sent", func(w *world) error {
			return w.r.Sent(w.at[4].Chain, &tlog.Record{Sequence: 6, Timestamp: 999, Operation: tlog.OpFlush})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &world{r: check.New(vdisk, 4)}
			w.records, w.at = history(t, w.r, start(), 1, 5)
			_, w.other = history(t, w.r, w.at[1], 50, 3)
			if err := w.r.Acknowledged(2, w.at[3]); err != nil {
				t.Fatal(err)
			}
			err := c.do(w)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if v := w.r.Violations(); len(v) != 1 || v[0] != err {
				t.Errorf("violations: got %v, want that one", v)
			}
		})
	}
}
