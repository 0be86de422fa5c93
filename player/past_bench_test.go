package player

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"tlog"
	"tlog/player/index"
)

// BenchmarkPast maps the newest moment of a log of two million records of 4 KiB
// at random places of a disk of 4 GiB. It tells what an index has on disk, and
// how long opening it takes of the whole.
func BenchmarkPast(b *testing.B) {
	const records, perPosition, size = 2 << 20, 256, 4 << 30
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	key, err := cipher.NewGCM(block)
	if err != nil {
		b.Fatal(err)
	}
	dir, vdisk := b.TempDir(), tlog.UUID{1}
	file, err := index.Open(context.Background(), dir, key, vdisk)
	if err != nil {
		b.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	list := make([]index.Record, perPosition)
	for n := range records / perPosition {
		for i := range list {
			at := n*perPosition + i
			list[i] = index.Record{Offset: rng.Uint64N(size) &^ 4095, Size: 4096, Operation: tlog.OpWrite, Time: uint64(at)*13_000 + rng.Uint64N(10_000),
				At: uint32(40_000 + i*4136)}
			binary.LittleEndian.PutUint64(list[i].Sum[:], rng.Uint64())
			binary.LittleEndian.PutUint64(list[i].Sum[8:], rng.Uint64())
		}
		p := index.Position{Position: tlog.Position(n + 1), First: tlog.Sequence(n*perPosition + 1), Count: perPosition, Stored: 1 << 20, Digest: tlog.Hash{byte(n), byte(n >> 8), byte(n >> 16), 1},
			Layout: index.Layout{Head: 424, K: 4, Hash: tlog.HashBlake2b}}
		binary.LittleEndian.PutUint64(p.Salt[:], rng.Uint64())
		if err := file.Add(p, list); err != nil {
			b.Fatal(err)
		}
	}
	if err := file.Commit(); err != nil {
		b.Fatal(err)
	}
	if err := file.Close(); err != nil {
		b.Fatal(err)
	}
	l := &Log{info: Info{DiskSize: size, Last: records, Positions: records / perPosition}, readers: 4, memory: 1}
	b.ReportAllocs()
	for b.Loop() {
		if file, err = index.Open(context.Background(), dir, key, vdisk); err != nil {
			b.Fatal(err)
		}
		ix := &Index{log: l, file: file, held: -1, piece: layerRecords}
		past, err := ix.Past(Point{Sequence: records})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(file.Size())/records, "MB/million-records")
		b.ReportMetric(float64(len(past.segments)), "segments")
		if err := past.Close(); err != nil {
			b.Fatal(err)
		}
		if err := file.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
