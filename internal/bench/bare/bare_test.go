package bare_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/alicebob/miniredis/v2"

	"tlog/internal/bench/bare"
)

const lanes, positions, size = 3, 100, 1000

func fill(t *testing.T, s *bare.Store) {
	t.Helper()
	for i := range positions - 1 {
		s.Append(bytes.Repeat([]byte{byte(i)}, size))
	}
	s.Drain()
	s.Sync(bytes.Repeat([]byte{positions - 1}, size))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// Everything that was appended is there, in order, in every file.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	s, err := bare.OpenFiles(dir, lanes)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, s)
	for i := range lanes {
		b, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("bare-%02d", i)))
		if err != nil {
			t.Fatal(err)
		}
		for p := range positions {
			if got := b[p*size:][:size]; got[0] != byte(p) || got[size-1] != byte(p) {
				t.Fatalf("file %d, position %d: %d … %d", i, p, got[0], got[size-1])
			}
		}
	}
	if err := bare.Read(dir, lanes, positions, size); err != nil {
		t.Error(err)
	}
	if err := bare.Read(dir, lanes, 1<<20, size); err == nil {
		t.Error("read more than there is")
	}
}

func TestRedis(t *testing.T) {
	var servers []*miniredis.Miniredis
	var addrs []string
	for range lanes {
		r := miniredis.RunT(t)
		servers, addrs = append(servers, r), append(addrs, r.Addr())
	}
	s, err := bare.OpenRedis(addrs)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, s)
	for _, r := range servers {
		for p := range positions {
			got, err := r.Get(fmt.Sprintf("shard:%d", p+1))
			if err != nil || len(got) != size || got[0] != byte(p) {
				t.Fatalf("position %d: %d bytes, %v", p, len(got), err)
			}
		}
	}
	if err := bare.Fetch(addrs, positions, size); err != nil {
		t.Error(err)
	}
	if err := bare.Fetch(addrs, 1, size-1); err == nil {
		t.Error("a shard of another size was taken")
	}
}
