package proc

import (
	"os"
	"testing"
	"time"
)

func TestTicks(t *testing.T) {
	for name, c := range map[string]struct {
		stat string
		want int64 // −1: an error
	}{
		"plain":           {"1 (a) S 0 1 1 0 -1 4 5 6 7 8 120 34 9 9", 154},
		"brackets inside": {"1 (a) (b) S 0 1 1 0 -1 4 5 6 7 8 1 2 9 9", 3},
		"short":           {"1 (a) S 0 1", -1},
		"no number":       {"1 (a) S 0 1 1 0 -1 4 5 6 7 8 x 34 9 9", -1},
	} {
		got, err := ticks([]byte(c.stat))
		if (err != nil) != (c.want < 0) || err == nil && got != c.want {
			t.Errorf("%s: %d, %v; want %d", name, got, err, c.want)
		}
	}
}

// What this process uses is seen from inside and from outside.
func TestOwn(t *testing.T) {
	before, err := Own()
	if err != nil {
		t.Fatal(err)
	}
	for x := before; x.Sub(before).CPU < 50*time.Millisecond; {
		if x, err = Own(); err != nil {
			t.Fatal(err)
		}
	}
	own, err := Own()
	if err != nil {
		t.Fatal(err)
	}
	same, err := Of(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if used := own.Sub(before); used.CPU < 50*time.Millisecond || used.Calls < 1 {
		t.Errorf("used %+v", used)
	}
	if same.CPU < own.CPU-30*time.Millisecond || same.Calls < own.Calls {
		t.Errorf("from outside %+v, from inside before it %+v", same, own)
	}
	now, peak, err := Memory(os.Getpid())
	if err != nil || now < 1<<20 || peak < now {
		t.Errorf("memory %d, at most %d, %v", now, peak, err)
	}
	if all, err := Machine(); err != nil || all < own.CPU-30*time.Millisecond {
		t.Errorf("the machine used %v, %v; this process %v", all, err, own.CPU)
	}
	if _, err := Of(-1); err == nil {
		t.Error("found a process that there is none of")
	}
}
