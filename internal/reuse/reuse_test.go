package reuse_test

import (
	"testing"

	"tlog/internal/reuse"
)

func TestSizes(t *testing.T) {
	for _, c := range []struct{ n, want int }{
		{0, 1 << 10}, {1, 1 << 10}, {1024, 1 << 10}, {1025, 1280}, {1280, 1280}, {1281, 1536}, {2048, 2048}, {2049, 2560},
		{1<<20 - 1, 1 << 20}, {1 << 20, 1 << 20}, {1<<20 + 1, 1<<20 + 1<<18}, {3 << 19, 3 << 19}, {24 << 20, 24 << 20},
	} {
		if got := reuse.Size(c.n); got != c.want {
			t.Errorf("Size(%d) = %d, want %d", c.n, got, c.want)
		}
	}
	for n := 1; n < 1<<22; n = n*9/8 + 1 {
		size := reuse.Size(n)
		if size < n || n > 1<<10 && size-n > size/5 {
			t.Errorf("%d bytes get a buffer of %d", n, size)
		}
		if got := reuse.Size(size); got != size {
			t.Errorf("%d bytes get a buffer of %d, which is of another class: %d", n, size, got)
		}
	}
}

func TestBuffersOfOneClass(t *testing.T) {
	var b reuse.Buffers
	for range 100 {
		v, w := b.Get(5000), b.Get(100<<10)
		if len(v.Bytes) != 5000 || cap(v.Bytes) != reuse.Size(5000) || len(w.Bytes) != 100<<10 {
			t.Fatalf("got %d of %d, and %d bytes", len(v.Bytes), cap(v.Bytes), len(w.Bytes))
		}
		v.Bytes = v.Bytes[:10]
		b.Put(v)
		b.Put(w)
	}
}

func TestBufferWithAnotherSlice(t *testing.T) {
	var b reuse.Buffers
	v := b.Get(5000)
	v.Bytes = make([]byte, 5000)
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	b.Put(v)
}

func TestObjects(t *testing.T) {
	type object struct{ list []int }
	o := reuse.Objects[object]{New: func() *object { return &object{list: make([]int, 0, 8)} }}
	for range 100 {
		v := o.Get()
		if len(v.list) != 0 || cap(v.list) != 8 {
			t.Fatalf("list of %d, capacity %d", len(v.list), cap(v.list))
		}
		o.Put(v)
	}
}
