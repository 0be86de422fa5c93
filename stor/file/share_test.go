package file

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tlog"
	"tlog/stor"
)

// waits is a request of a vdisk, named by a letter; '!' is not an append.
func waits(vdisk byte, pos int, size int64) *request {
	r := &request{ctx: context.Background(), bytes: size}
	if vdisk != '!' {
		r.append = &stor.AppendRequest{Vdisk: tlog.UUID{vdisk}, Position: tlog.Position(pos)}
	}
	return r
}

func names(batch []*request) string {
	var s []string
	for _, r := range batch {
		if r.append == nil {
			s = append(s, "!")
			continue
		}
		s = append(s, fmt.Sprintf("%c%d", r.append.Vdisk[0], r.append.Position))
	}
	return strings.Join(s, " ")
}

func TestBatchesAreShared(t *testing.T) {
	const kib = 1 << 10
	for name, c := range map[string]struct {
		waiting string // vdisk or !, for each 200 KiB; a small letter is 1 KiB
		batches []string
	}{
		"alone, up to the limit":                        {"AAAAAAAA", []string{"A1 A2 A3 A4 A5", "A6 A7 A8"}},
		"a small one is not behind what a busy one has": {"AAAAb", []string{"A1 b5", "A2 A3 A4"}},
		"each has its share":                            {"AAABBB", []string{"A1 B4", "A2 B5", "A3 B6"}},
		"several small ones are one share":              {"aaAbb", []string{"a1 a2 A3 b4 b5"}},
		"a fence waits for what came before it":         {"AAB!B", []string{"A1 B3", "A2 ! B5"}},
		"a fence that nothing waits before":             {"A!B", []string{"A1 ! B3"}},
	} {
		t.Run(name, func(t *testing.T) {
			q := newQueue()
			for i, v := range []byte(c.waiting) {
				size := int64(200 * kib)
				if v >= 'a' {
					size = kib
				}
				q.all = append(q.all, waits(v, i+1, size))
			}
			for _, want := range c.batches {
				if got := names(q.gather(nil)); got != want {
					t.Errorf("batch %q, want %q", got, want)
				}
			}
			if len(q.all) > 0 {
				t.Errorf("%s are left", names(q.all))
			}
		})
	}
}

// Whatever waits: everything is taken once, each vdisk's in order, nothing
// passes a request that is not an append, and a batch has something in it.
func TestBatchesKeepOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := newQueue()
		n := rapid.IntRange(1, 60).Draw(t, "requests")
		place := map[*request]int{}
		for i := range n {
			vdisk := rapid.SampledFrom([]byte("AABC!")).Draw(t, "vdisk")
			r := waits(vdisk, i, rapid.Int64Range(0, 700<<10).Draw(t, "size"))
			place[r] = i
			q.all = append(q.all, r)
		}
		var order []*request
		for len(q.all) > 0 {
			batch := q.gather(nil)
			if len(batch) == 0 {
				t.Fatalf("nothing is taken of %s", names(q.all))
			}
			order = append(order, batch...)
		}
		if len(order) != n {
			t.Fatalf("%d of %d were taken", len(order), n)
		}
		last := map[tlog.UUID]int{}
		for at, r := range order {
			i := place[r]
			for _, o := range order[:at] {
				if (r.append == nil || o.append == nil) && place[o] > i {
					t.Fatalf("request %d was taken before %d", place[o], i)
				}
			}
			if r.append != nil {
				if before, ok := last[r.append.Vdisk]; ok && before > i {
					t.Fatalf("of a vdisk %d came after %d", i, before)
				}
				last[r.append.Vdisk] = i
			}
		}
	})
}
