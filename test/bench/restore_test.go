//go:build e2e

package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tlog/player"
)

// restored is how much of the disk is written before it is restored.
const restored = 128 << 20

// BenchmarkRestore rebuilds a disk whose blocks were written once each. An
// operation is a whole restore: finding the log, all its links, all its
// records. The log is in the page cache, or in Redis' memory.
func BenchmarkRestore(b *testing.B) {
	for _, kind := range []string{"file", "redis"} {
		for _, size := range []int{4 << 10, 64 << 10} {
			b.Run(fmt.Sprintf("store=%s/record=%dKiB", kind, size>>10), func(b *testing.B) {
				s := openStore(b, kind)
				c, stop := s.attach(b)
				w := writer{c: c, size: size}
				for range restored / size {
					w.write(b)
				}
				stop()
				b.Run("to=nowhere", func(b *testing.B) { s.benchmarkRestore(b, func() player.Target { return nowhere{} }) })
				b.Run("to=file", func(b *testing.B) { s.benchmarkRestore(b, func() player.Target { return newImage(b) }) })
			})
		}
	}
}

func (s *store) benchmarkRestore(b *testing.B, open func() player.Target) {
	ctx := context.Background()
	b.SetBytes(restored)
	b.ReportAllocs()
	m := startMeter(b, s.redis)
	for b.Loop() {
		l, err := player.Open(ctx, s.pool, s.keys, vdisk, player.Config{})
		if err != nil {
			b.Fatal(err)
		}
		when, err := player.ParseWhen("latest", time.Now())
		if err != nil {
			b.Fatal(err)
		}
		p, err := l.Resolve(ctx, when)
		if err != nil {
			b.Fatal(err)
		}
		t := open()
		r, err := l.Restore(ctx, p, t, player.RestoreOptions{Fresh: true})
		if err != nil {
			b.Fatal(err)
		}
		if r.Bytes != restored || len(r.Damaged) > 0 {
			b.Fatalf("%d bytes restored, %d damaged; want %d and none", r.Bytes, len(r.Damaged), restored)
		}
		if i, ok := t.(*image); ok {
			i.finish()
		}
	}
	m.report(int64(b.N) * restored)
}

// nowhere is a disk that keeps nothing.
type nowhere struct{}

func (nowhere) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }

func (nowhere) Zero(_, _ int64) error { return nil }

// image is a sparse file.
type image struct {
	*os.File
	b *testing.B
}

func newImage(b *testing.B) *image {
	f, err := os.Create(filepath.Join(b.TempDir(), "image"))
	if err != nil {
		b.Fatal(err)
	}
	return &image{f, b}
}

func (i *image) Zero(_, _ int64) error { return nil }

// finish makes the image durable, looks at it, and removes it.
func (i *image) finish() {
	err := i.Sync()
	if err == nil {
		at := int64(restored - 4096)
		got := make([]byte, 4096)
		if _, err = i.ReadAt(got, at); err == nil && string(got) != string(content[at%int64(len(content)):][:4096]) {
			err = fmt.Errorf("the image's last block is not the disk's")
		}
	}
	if err == nil {
		err = os.Remove(i.Name())
	}
	if cerr := i.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		i.b.Fatal(err)
	}
}
