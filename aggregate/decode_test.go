package aggregate_test

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"pgregory.net/rapid"

	"tlog"
	"tlog/aggregate"
	"tlog/crypto"
	"tlog/schema"
)

// small is a log of genesis and one small data aggregation of two batches.
func small(t testing.TB, k, m int) (*disk, *store) {
	t.Helper()
	d := newDisk(t, k, m)
	s := d.after()
	p, _ := d.start(aggregate.Config{MaxAge: time.Hour}, s)
	mustAppend(t, p, d.next(2, 24))
	mustAppend(t, p, d.next(1, 0))
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d, s
}

// A changed byte anywhere in any stored shard is found, or shows in the chain
// digest that the reader knows.
func TestEveryByte(t *testing.T) {
	d, s := small(t, 2, 1)
	for pos := tlog.Position(1); pos <= 2; pos++ {
		want, err := d.read(s, pos)
		if err != nil {
			t.Fatal(err)
		}
		for i, shard := range s.shards[pos][:2] {
			for at := range shard {
				shard[at] ^= 0x40
				got, err := d.read(s, pos)
				if err == nil && got.Digest == want.Digest {
					t.Fatalf("position %d, shard %d, byte %d: not found", pos, i, at)
				}
				if err != nil && tlog.ClassOf(err) != tlog.Corrupt && !errors.Is(err, crypto.ErrVersion) && !errors.Is(err, crypto.ErrWrongKey) {
					t.Fatalf("position %d, shard %d, byte %d: %v", pos, i, at, err)
				}
				shard[at] ^= 0x40
			}
		}
	}
}

// Shards of one position are not shards of another.
func TestSwapped(t *testing.T) {
	d, s := small(t, 1, 0)
	if _, err := d.decode(s.shards[1], 2); tlog.ClassOf(err) != tlog.Corrupt {
		t.Errorf("the genesis in the place of position 2: %v", err)
	}
	other, theirs := small(t, 1, 0)
	a, err := crypto.CheckShard(s.shards[2][0], diskUUID, 2)
	if err != nil {
		t.Fatal(err)
	}
	b, err := crypto.CheckShard(theirs.shards[2][0], diskUUID, 2)
	if err != nil {
		t.Fatal(err)
	}
	// Head of one, body of the other, of the same position and key: sealed twice.
	again, _ := d.sealPayload(payloadOf(t, d, s), nil)
	c, err := crypto.CheckShard(again, diskUUID, 2)
	if err != nil {
		t.Fatal(err)
	}
	for name, pair := range map[string][2]*crypto.Stored{"other vdisk": {a, b}, "other attempt": {a, c}} {
		if _, err := aggregate.Decode(d.key, diskUUID, 2, pair[0].Head, bytes.Clone(pair[1].Body)); tlog.ClassOf(err) != tlog.Corrupt {
			t.Errorf("body of %s: %v", name, err)
		}
	}
	if _, err := other.decode(s.shards[2], 2); !errors.Is(err, crypto.ErrWrongKey) {
		t.Errorf("with another key: %v", err)
	}
	if _, err := aggregate.Decode(d.key, diskUUID, 2, a.Head[:len(a.Head)-1], bytes.Clone(a.Body)); tlog.ClassOf(err) != tlog.Corrupt {
		t.Errorf("cut head: %v", err)
	}
}

// payloadOf is the plain payload of position 2 of a log of one shard.
func payloadOf(t testing.TB, d *disk, s *store) []byte {
	t.Helper()
	c, err := crypto.CheckShard(s.shards[2][0], diskUUID, 2)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := crypto.Open(d.key, c, bytes.Clone(c.Body))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := aggregate.Unpack(&c.Header, payload)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

// smallHeader is the header of small's position 2.
func (d *disk) smallHeader(payload []byte) crypto.Header {
	return crypto.Header{
		Kind: crypto.KindData, Vdisk: diskUUID, Position: 2, First: 1, Last: 3, Count: 3, FirstTimestamp: 0, LastTimestamp: 1,
		PlainLength: uint32(len(payload)), StoredLength: uint32(len(payload)), K: 1,
	}
}

// sealPayload seals payload at position 2 under a header that change changed.
func (d *disk) sealPayload(payload []byte, change func(*crypto.Header)) ([]byte, error) {
	h := d.smallHeader(payload)
	if change != nil {
		change(&h)
	}
	s, err := crypto.Seal(d.key, h, payload, func([][]byte) error { return nil }, rand.Reader)
	if err != nil {
		return nil, err
	}
	s.Chain(d.head.Digest)
	defer s.Release()
	head, body := s.Shard(0)
	return append(bytes.Clone(head), body...), nil
}

// A writer with the key that writes nonsense is found out, too.
func TestDecodeRefuses(t *testing.T) {
	d, s := small(t, 1, 0)
	plain := payloadOf(t, d, s)
	prelude, batches, err := schema.SplitFrame(plain)
	if err != nil {
		t.Fatal(err)
	}
	batch1, batch2, err := schema.SplitFrame(batches)
	if err != nil {
		t.Fatal(err)
	}
	pre, err := schema.DecodePrelude(prelude)
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(*schema.Prelude), batches ...[]byte) []byte {
		p := pre
		change(&p)
		return append(schema.AppendPrelude(nil, &p), bytes.Join(batches, nil)...)
	}
	same := func(*schema.Prelude) {}
	records := func(change func([]tlog.Record)) []byte {
		var b schema.Batch
		if err := schema.DecodeBatch(bytes.Clone(batch1), &b); err != nil {
			t.Fatal(err)
		}
		change(b.Records)
		b.Chain = pre.Chain
		for i := range b.Records {
			b.Chain = tlog.ChainNext(b.Chain, &b.Records[i])
		}
		return schema.AppendBatch(nil, &b)
	}
	wrongChain := bytes.Clone(batch1)
	wrongChain[len(wrongChain)-1]++
	for _, c := range []struct {
		name    string
		payload []byte
		header  func(*crypto.Header)
		want    string // "" : it is good
	}{
		{"as it was", with(same, batch1, batch2), nil, ""},
		{"empty", nil, nil, ""},
		{"cut", plain[:len(plain)-1], nil, "schema"},
		{"no batches", with(same), nil, "0 records"},
		{"one batch less", with(same, batch1), nil, "2 records"},
		{"one batch more", with(same, batch1, batch2, batch2), nil, "more than 3"},
		{"batches in another order", with(same, batch2, batch1), nil, "sequence 3 in place of 1"},
		{"size", with(func(p *schema.Prelude) { p.Size++ }, batch1, batch2), nil, "prelude of 4"},
		{"timestamp", with(func(p *schema.Prelude) { p.Timestamp++ }, batch1, batch2), nil, "timestamp"},
		{"timestamp before", with(func(p *schema.Prelude) { p.LastTimestamp = 9 }, batch1, batch2), nil, "after 9"},
		{"hash algorithm", with(func(p *schema.Prelude) { p.Hash = 77 }, batch1, batch2), nil, "algorithm 77"},
		{"other hash algorithm", with(func(p *schema.Prelude) { p.Hash = tlog.HashSHA256 }, batch1, batch2), nil, "have its hash"},
		{"chain before", with(func(p *schema.Prelude) { p.Chain[0]++ }, batch1, batch2), nil, "chain value after sequence 2"},
		{"chain after", with(same, wrongChain, batch2), nil, "chain value after sequence 2"},
		{"record hash", with(same, records(func(r []tlog.Record) { r[1].Hash[0]++ }), batch2), nil, "sequence 2 does not have its hash"},
		{"record data", with(same, records(func(r []tlog.Record) { r[0].Data[0]++ }), batch2), nil, "sequence 1 does not have its hash"},
		{"time between batches", with(same, records(func(r []tlog.Record) { r[1].Timestamp = 99 }), batch2), nil, "timestamp of sequence 3"},
		{"numbered otherwise", plain, func(h *crypto.Header) { h.First, h.Last = 2, 4 }, "sequence 1 in place of 2"},
		{"count", plain, func(h *crypto.Header) { h.Count, h.Last = 4, 4 }, "prelude of 3"},
		{"last timestamp", plain, func(h *crypto.Header) { h.LastTimestamp = 50 }, "timestamps 0 to 1"},
		{"control with batches", plain, func(h *crypto.Header) {
			h.Kind, h.Count, h.Last, h.LastTimestamp = crypto.KindBarrier, 0, 0, 0
		}, "prelude of 3"},
		{"control with a tail", with(func(p *schema.Prelude) { p.Size = 0 }, batch1), func(h *crypto.Header) {
			h.Kind, h.Count, h.Last, h.LastTimestamp = crypto.KindBarrier, 0, 0, 0
		}, "after the prelude"},
		{"control without history", with(func(p *schema.Prelude) { p.Size, p.Chain = 0, tlog.Hash{} }), func(h *crypto.Header) {
			h.Kind, h.Count, h.Last, h.LastTimestamp = crypto.KindBarrier, 0, 0, 0
		}, "empty history"},
		{"not S2", plain, func(h *crypto.Header) { h.Compression, h.PlainLength = crypto.CompressS2, h.PlainLength+9 }, "decompress"},
		{"S2 of another length", s2.Encode(nil, plain), func(h *crypto.Header) { h.Compression, h.PlainLength = crypto.CompressS2, 9999 }, "header says 9999"},
	} {
		shard, err := d.sealPayload(c.payload, c.header)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		a, err := d.decode([][]byte{shard}, 2)
		switch {
		case c.name == "as it was" && (err != nil || len(a.Records) != 3):
			t.Errorf("%s: %v", c.name, err)
		case c.name != "as it was" && (tlog.ClassOf(err) != tlog.Corrupt || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want class corrupt, %q", c.name, err, c.want)
		}
	}
}

// A genesis whose clear and sealed names differ is none.
func TestGenesisOfAnother(t *testing.T) {
	d := newDisk(t, 1, 0)
	plain := schema.AppendPrelude(nil, &schema.Prelude{Vdisk: "other", Chain: tlog.ChainStart("other")})
	shard, err := d.sealPayload(plain, func(h *crypto.Header) {
		h.Kind, h.Position, h.First, h.Last, h.Count, h.LastTimestamp = crypto.KindGenesis, 1, 1, 0, 0, 0
		h.Genesis = &crypto.Genesis{Name: diskName}
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.decode([][]byte{shard}, 1); tlog.ClassOf(err) != tlog.Corrupt || !strings.Contains(err.Error(), "in the genesis of") {
		t.Errorf("%v", err)
	}
}

// What compresses is stored compressed, what does not is stored as it is; both
// read back.
func TestCompression(t *testing.T) {
	for _, c := range []struct {
		seed byte
		want crypto.Compression
	}{{0, crypto.CompressS2}, {1, crypto.CompressNone}} {
		d := newDisk(t, 2, 1)
		s := d.after()
		p, _ := d.start(aggregate.Config{}, s)
		want := d.records(20, 4096, c.seed)
		mustAppend(t, p, d.batch(want))
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		a := d.readAll(s)[1]
		if a.Header.Compression != c.want {
			t.Errorf("seed %d: compression %d, want %d", c.seed, a.Header.Compression, c.want)
		}
		if small := a.Header.StoredLength < a.Header.PlainLength/2; small != (c.seed == 0) {
			t.Errorf("seed %d: %d bytes stored of %d", c.seed, a.Header.StoredLength, a.Header.PlainLength)
		}
		if err := sameRecords(a.Records, want); err != nil {
			t.Errorf("seed %d: %v", c.seed, err)
		}
	}
}

var update = flag.Bool("update", false, "write the golden files anew; a change of them is a change of the format")

// The payload is what it was.
func TestGoldenPayload(t *testing.T) {
	d, s := small(t, 1, 0)
	got := payloadOf(t, d, s)
	path := filepath.Join("testdata", "golden", "payload.hex")
	if *update {
		if err := os.WriteFile(path, []byte(hex.EncodeToString(got)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("payload\n%x, want\n%x", got, want)
	}
}

// Any two envelopes of a pool that change places are found out: of two
// positions, of two vdisks, of two attempts at one position.
func TestAnyTwoSwapped(t *testing.T) {
	d := newDisk(t, 2, 1)
	s := d.after()
	p, _ := d.start(aggregate.Config{MaxRecords: 1}, s)
	for range 6 {
		mustAppend(t, p, d.next(1, 40))
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, theirs := small(t, 2, 1)
	rapid.Check(t, func(rt *rapid.T) {
		pos := tlog.Position(rapid.IntRange(1, int(s.end())-1).Draw(rt, "position"))
		from, other := s, tlog.Position(rapid.IntRange(1, int(s.end())-1).Draw(rt, "other position"))
		if rapid.Bool().Draw(rt, "of another log") {
			from, other = theirs, min(pos, 2)
		} else if other == pos {
			return
		}
		// Whole shards of the other, and one of the other among ours.
		if _, err := d.decode(from.shards[other], pos); err == nil {
			rt.Fatalf("position %d reads in the place of %d", other, pos)
		}
		i := rapid.IntRange(0, 2).Draw(rt, "shard")
		mine, err := crypto.CheckShard(s.shards[pos][i], diskUUID, pos)
		if err != nil {
			rt.Fatal(err)
		}
		got, err := crypto.CheckShard(from.shards[other][i], diskUUID, pos)
		if err == nil && got.Digest == mine.Digest {
			rt.Fatalf("shard %d of position %d is taken for one of %d", i, other, pos)
		}
	})
}
