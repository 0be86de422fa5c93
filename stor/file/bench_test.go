package file

import (
	"fmt"
	"testing"

	"tlog"
	"tlog/stor"
)

// BenchmarkAppend keeps depth appends of a size in flight, on the file system
// of the temporary directory. An operation is one durable append.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{1100, 256 << 10} {
		for _, depth := range []int{1, 32} {
			b.Run(fmt.Sprintf("size=%d/depth=%d", size, depth), func(b *testing.B) { benchmarkAppend(b, size, depth) })
		}
	}
}

func benchmarkAppend(b *testing.B, size, depth int) {
	s, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	initialise(b, s)
	body := make([]byte, size)
	errs := make(chan error, depth)
	inFlight, p := 0, tlog.Position(0)
	await := func() {
		if err := <-errs; err != nil {
			b.Fatal(err)
		}
		inFlight--
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		p++
		r := testRequest(p, 0)
		r.Head, r.Body = nil, body
		s.Append(bg, r, func(_ stor.Meta, err error) { errs <- err })
		if inFlight++; inFlight == depth {
			await()
		}
	}
	for inFlight > 0 {
		await()
	}
}

// BenchmarkOpen opens, to read, a directory of many small frames in sealed
// segments: by their contents files, and by every frame.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	const n = 20_000
	s, err := Open(dir, Options{SegmentBytes: 2 << 20})
	if err != nil {
		b.Fatal(err)
	}
	initialise(b, s)
	errs := make(chan error, n)
	for p := tlog.Position(1); p <= n; p++ {
		s.Append(bg, testRequest(p, 1100), func(_ stor.Meta, err error) { errs <- err })
	}
	for range n {
		if err := <-errs; err != nil {
			b.Fatal(err)
		}
	}
	s.Close()
	for i, name := range []string{"contents", "frames"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r, err := Open(dir, Options{ReadOnly: true, EveryFrame: i == 1})
				if err != nil {
					b.Fatal(err)
				}
				r.Close()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/frame")
		})
	}
}

// BenchmarkDraft is what a contents file costs the writer, for each frame.
func BenchmarkDraft(b *testing.B) {
	h := segmentHeader{number: 1, first: 1}
	d := newDraft(&h)
	f := header{kind: kindShard, lsn: 1, vdisk: testVdisk, epoch: 3, length: 1100}
	b.ReportAllocs()
	for b.Loop() {
		if d.end > defaultSegmentBytes {
			d, f.lsn = newDraft(&h), 1
		}
		f.position++
		f.commit = f.position - 1
		d.add(&f, place{1, d.end})
		f.lsn++
	}
}

// BenchmarkMetas reads a page of 1,000 metas, BenchmarkShard one shard.
func BenchmarkMetas(b *testing.B) {
	s := benchmarkRead(b, 1100)
	for b.Loop() {
		if m, err := s.Metas(bg, testVdisk, 1, 1000); err != nil || len(m) != 1000 {
			b.Fatal(len(m), err)
		}
	}
}

func BenchmarkShard(b *testing.B) {
	s := benchmarkRead(b, 256<<10)
	b.SetBytes(256 << 10)
	b.ReportAllocs()
	p := tlog.Position(0)
	for b.Loop() {
		if _, err := s.Shard(bg, testVdisk, p%1000+1, 0); err != nil {
			b.Fatal(err)
		}
		p++
	}
}

func benchmarkRead(b *testing.B, size int) *Server {
	s, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	initialise(b, s)
	errs := make(chan error, 1000)
	for p := tlog.Position(1); p <= 1000; p++ {
		s.Append(bg, testRequest(p, size), func(_ stor.Meta, err error) { errs <- err })
	}
	for range 1000 {
		if err := <-errs; err != nil {
			b.Fatal(err)
		}
	}
	return s
}
