package file

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"tlog"
	"tlog/stor"
)

// countingFS counts what is made durable.
type countingFS struct {
	fsys
	syncs *atomic.Int64
}

func (d countingFS) create(name string) (file, error) {
	f, err := d.fsys.create(name)
	return countingFile{f, d.syncs}, err
}

type countingFile struct {
	file
	syncs *atomic.Int64
}

func (f countingFile) sync() error {
	f.syncs.Add(1)
	return f.file.sync()
}

// BenchmarkGroupCommit is a number of vdisks that share a directory and each
// append and wait, as they do when their guests flush at depth 1. An operation
// is one such append; syncs/op says how many of them shared a sync.
func BenchmarkGroupCommit(b *testing.B) {
	for _, vdisks := range []int{1, 4, 16, 64, 256} {
		b.Run(fmt.Sprintf("vdisks=%d", vdisks), func(b *testing.B) { benchmarkGroupCommit(b, vdisks) })
	}
}

func benchmarkGroupCommit(b *testing.B, vdisks int) {
	var syncs atomic.Int64
	s, err := open("counted", countingFS{osFS(b.TempDir()), &syncs}, Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	initialise(b, s)
	body := make([]byte, 1100)
	owners := make([]tlog.UUID, vdisks)
	for i := range owners {
		owners[i] = tlog.UUID{1, byte(i), byte(i >> 8)}
		fence := &stor.FenceRequest{Identity: testRequest(1, 0).Identity, Owner: testRequest(1, 0).Owner, Vdisk: owners[i]}
		if _, err := s.Fence(bg, fence); err != nil {
			b.Fatal(err)
		}
	}
	before := syncs.Load()
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for _, vdisk := range owners {
		wg.Go(func() { appendAndWait(b, s, vdisk, body, &left) })
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(syncs.Load()-before)/float64(b.N), "syncs/op")
}

// appendAndWait appends one position after the other while there are any left.
func appendAndWait(b *testing.B, s *Server, vdisk tlog.UUID, body []byte, left *atomic.Int64) {
	answered := make(chan error, 1)
	done := func(_ stor.Meta, err error) { answered <- err }
	r := testRequest(0, 0)
	r.Vdisk, r.Head, r.Body = vdisk, nil, body
	for left.Add(-1) >= 0 {
		r.Position++
		s.Append(bg, r, done)
		if err := <-answered; err != nil {
			b.Error(err)
			return
		}
	}
}
