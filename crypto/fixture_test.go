package crypto_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/reedsolomon"

	"tlog"
	"tlog/crypto"
)

var vdiskA = tlog.UUID{0xa1, 0xa2, 0xa3, 0xa4, 15: 0xaf}

// fixedRandom gives the same bytes for the same seed, on every machine.
func fixedRandom(seed byte) io.Reader { return rand.NewChaCha8([32]byte{seed}) }

func testKey(t testing.TB, seed byte) *crypto.DataKey {
	t.Helper()
	key, err := crypto.NewDataKeyFrom(fixedRandom(seed))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func encoder(t testing.TB, k, m int) reedsolomon.Encoder {
	t.Helper()
	e, err := reedsolomon.New(k, m, reedsolomon.WithMaxGoroutines(1))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func dataHeader(payload []byte, k, m int) crypto.Header {
	return crypto.Header{
		Kind: crypto.KindData, Vdisk: vdiskA, Position: 7, First: 100, Last: 102, Count: 3,
		FirstTimestamp: 1_000, LastTimestamp: 2_000,
		PlainLength: uint32(len(payload)), StoredLength: uint32(len(payload)), K: uint8(k), M: uint8(m),
	}
}

func genesisHeader(payload []byte, k, m int) crypto.Header {
	h := dataHeader(payload, k, m)
	h.Kind, h.Position, h.First, h.Last, h.Count, h.FirstTimestamp, h.LastTimestamp = crypto.KindGenesis, 1, 1, 0, 0, 0, 0
	h.Genesis = &crypto.Genesis{
		Name: "disk-1", DiskSize: 1 << 30, BlockSize: 4096, W: uint8(k + m),
		WrappedKey: bytes.Repeat([]byte{0x77}, 69), Created: 1_700_000_000_000_000_000,
		Parent: tlog.UUID{1}, ParentPosition: 2, ParentDigest: tlog.Hash{3},
	}
	return h
}

func barrierHeader(payload []byte, k, m int) crypto.Header {
	h := dataHeader(payload, k, m)
	h.Kind, h.Position, h.First, h.Last, h.Count, h.FirstTimestamp = crypto.KindBarrier, 8, 103, 102, 0, 2_000
	return h
}

func seal(t testing.TB, key *crypto.DataKey, h crypto.Header, payload []byte, random io.Reader) *crypto.Sealed {
	t.Helper()
	s, err := crypto.Seal(key, h, payload, encoder(t, int(h.K), int(h.M)).Encode, random)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// stored is all stored shards of an aggregation and its chain digest.
func stored(s *crypto.Sealed, prev tlog.Hash) (shards [][]byte, digest tlog.Hash) {
	digest = s.Chain(prev)
	for i := range int(s.Header.K) + int(s.Header.M) {
		head, body := s.Shard(i)
		shards = append(shards, append(bytes.Clone(head), body...))
	}
	s.Release()
	return shards, digest
}

// check checks stored shard b, which must be good.
func check(t testing.TB, b []byte, h *crypto.Header) *crypto.Stored {
	t.Helper()
	s, err := crypto.CheckShard(b, h.Vdisk, h.Position)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// join is the data of checked shards, any k of them; the rest is nil.
func join(t testing.TB, shards []*crypto.Stored, h *crypto.Header) []byte {
	t.Helper()
	bodies := make([][]byte, len(shards))
	for i, s := range shards {
		if s != nil {
			bodies[s.Index] = bytes.Clone(shards[i].Body)
		}
	}
	if err := encoder(t, int(h.K), int(h.M)).ReconstructData(bodies); err != nil {
		t.Fatal(err)
	}
	return bytes.Join(bodies[:h.K], nil)
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}
