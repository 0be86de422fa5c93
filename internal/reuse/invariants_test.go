//go:build invariants

package reuse_test

import (
	"fmt"
	"strings"
	"testing"

	"tlog/internal/reuse"
)

// panics calls f and compares the end of what it panics with.
func panics(t *testing.T, want string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if got := fmt.Sprint(recover()); !strings.HasSuffix(got, want) {
			t.Errorf("panic with %q, want %q", got, want)
		}
	}()
	f()
}

// churn puts enough other buffers back that the first one is looked at.
func churn(b *reuse.Buffers) {
	for range 2 {
		var all []*reuse.Buffer
		for range 64 {
			all = append(all, b.Get(4000))
		}
		for _, v := range all {
			b.Put(v)
		}
	}
}

func TestWriteAfterPut(t *testing.T) {
	panics(t, "byte 17 of a buffer of 4096 was written after it was put back", func() {
		var b reuse.Buffers
		v := b.Get(4000)
		stale := v.Bytes
		b.Put(v)
		stale[17] = 1
		churn(&b)
	})
}

func TestReadAfterPut(t *testing.T) {
	var b reuse.Buffers
	v := b.Get(4000)
	stale := v.Bytes
	copy(stale, "a shard")
	b.Put(v)
	if string(stale[:7]) == "a shard" {
		t.Error("a buffer that was put back still has its bytes")
	}
}

func TestPutTwice(t *testing.T) {
	panics(t, "*reuse.Buffer was put back twice", func() {
		var b reuse.Buffers
		v := b.Get(4000)
		b.Put(v)
		b.Put(v)
	})
}

func TestObjectWrittenAfterPut(t *testing.T) {
	panics(t, "*reuse_test.thing was written after it was put back", func() {
		o := reuse.Objects[thing]{New: func() *thing { return new(thing) }}
		v := o.Get()
		o.Put(v)
		v.n = 1
		for range 100 {
			o.Put(new(thing))
		}
	})
}

type thing struct{ n int }
