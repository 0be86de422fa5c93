package crypto_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"tlog"
	"tlog/crypto"
)

func TestSealOpen(t *testing.T) {
	key, prev := testKey(t, 1), tlog.Hash{9}
	for _, kind := range []struct {
		name   string
		header func([]byte, int, int) crypto.Header
	}{{"data", dataHeader}, {"genesis", genesisHeader}, {"barrier", barrierHeader}} {
		for _, km := range [][2]int{{1, 0}, {1, 2}, {4, 2}, {16, 4}, {200, 55}} {
			for _, size := range []int{1, 15, 16, 17, 100_000} {
				if km[0] == 200 && size != 17 {
					continue // its matrix takes long to make
				}
				t.Run(fmt.Sprintf("%s/%d+%d/%d", kind.name, km[0], km[1], size), func(t *testing.T) {
					payload := pattern(size)
					s := seal(t, key, kind.header(payload, km[0], km[1]), payload, rand.Reader)
					shards, digest := stored(s, prev)
					got := make([]*crypto.Stored, len(shards))
					for i, b := range shards {
						got[i] = check(t, b, &s.Header)
						if got[i].Index != i || got[i].Digest != digest || got[i].Header.Prev != prev {
							t.Fatalf("shard %d: index %d, digest %v, previous %v", i, got[i].Index, got[i].Digest, got[i].Header.Prev)
						}
						if tlog.Hash(sha256.Sum256(got[i].Head)) != digest || !bytes.Equal(got[i].Head, got[0].Head) {
							t.Fatalf("shard %d: head is not what the digest covers", i)
						}
					}
					if want := s.Header; !reflect.DeepEqual(got[0].Header, want) {
						t.Errorf("header:\ngot  %+v\nwant %+v", got[0].Header, want)
					}
					if n := crypto.HeadRoom(km[0], km[1]); kind.name != "genesis" && len(got[0].Head)+8 != n {
						t.Errorf("head of %d bytes and index; HeadRoom %d", len(got[0].Head), n)
					}
					plain, err := crypto.Open(key, got[0], join(t, got, &s.Header))
					if err != nil || !bytes.Equal(plain, payload) {
						t.Fatalf("opened %d bytes, %v; want the payload of %d", len(plain), err, size)
					}
				})
			}
		}
	}
}

// Any k of n shards give the payload.
func TestAnyKShards(t *testing.T) {
	key := testKey(t, 1)
	rapid.Check(t, func(rt *rapid.T) {
		k, m := rapid.IntRange(1, 6).Draw(rt, "k"), rapid.IntRange(0, 4).Draw(rt, "m")
		payload := rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(rt, "payload")
		s := seal(t, key, dataHeader(payload, k, m), payload, rand.Reader)
		shards, _ := stored(s, tlog.Hash{})
		order := rapid.Permutation(indices(k+m)).Draw(rt, "order")
		got := make([]*crypto.Stored, k+m)
		for _, i := range order[:k] {
			got[i] = check(t, shards[i], &s.Header)
		}
		plain, err := crypto.Open(key, got[order[0]], join(t, got, &s.Header))
		if err != nil || !bytes.Equal(plain, payload) {
			rt.Fatalf("shards %v: %x, %v; want %x", order[:k], plain, err, payload)
		}
	})
}

func indices(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = i
	}
	return s
}

// Every changed bit of every stored shard is found: by CheckShard, or because
// the chain digest is another. And a reader who does not know the digest finds
// a changed head by its MAC.
func TestEveryBit(t *testing.T) {
	key, payload := testKey(t, 1), pattern(41) // a byte of padding
	for _, h := range []crypto.Header{dataHeader(payload, 2, 1), genesisHeader(payload, 2, 1), barrierHeader(payload, 2, 1)} {
		s := seal(t, key, h, payload, rand.Reader)
		shards, digest := stored(s, tlog.Hash{5})
		data := join(t, []*crypto.Stored{check(t, shards[0], &h), check(t, shards[1], &h), nil}, &h)
		for i, b := range shards {
			for bit := range 8 * len(b) {
				b[bit/8] ^= 1 << (bit % 8)
				got, err := crypto.CheckShard(b, h.Vdisk, h.Position)
				switch {
				case errors.Is(err, crypto.ErrVersion) && bit/8 == 4:
				case err != nil && tlog.ClassOf(err) != tlog.Corrupt:
					t.Fatalf("%v shard %d bit %d: %v: not of class corrupt", h.Kind, i, bit, err)
				case err == nil && got.Digest == digest:
					t.Fatalf("%v shard %d bit %d: not found", h.Kind, i, bit)
				case err == nil:
					if _, err := crypto.Open(key, got, bytes.Clone(data)); err == nil {
						t.Fatalf("%v shard %d bit %d: opened", h.Kind, i, bit)
					}
				}
				b[bit/8] ^= 1 << (bit % 8)
			}
		}
		for bit := range 8 * len(data) {
			changed := bytes.Clone(data)
			changed[bit/8] ^= 1 << (bit % 8)
			if _, err := crypto.Open(key, check(t, shards[0], &h), changed); tlog.ClassOf(err) != tlog.Corrupt {
				t.Fatalf("%v data bit %d: %v, want class corrupt", h.Kind, bit, err)
			}
		}
	}
}

func TestTruncated(t *testing.T) {
	payload := pattern(40)
	h := genesisHeader(payload, 2, 1)
	shards, _ := stored(seal(t, testKey(t, 1), h, payload, rand.Reader), tlog.Hash{})
	head := len(check(t, shards[0], &h).Head)
	for n := range len(shards[0]) {
		if _, err := crypto.CheckShard(shards[0][:n], h.Vdisk, 1); tlog.ClassOf(err) != tlog.Corrupt {
			t.Fatalf("shard of %d bytes: %v", n, err)
		}
		s, err := crypto.CheckHead(shards[0][:n], h.Vdisk, 1)
		if (err == nil) != (n >= head) {
			t.Fatalf("head of %d bytes (whole: %d): %v", n, head, err)
		}
		if want := -1; err == nil && n < head+8 && s.Index != want {
			t.Fatalf("head of %d bytes: index %d, want %d", n, s.Index, want)
		}
	}
	if _, err := crypto.CheckShard(append(shards[0], 0), h.Vdisk, 1); tlog.ClassOf(err) != tlog.Corrupt {
		t.Errorf("one byte more: %v", err)
	}
}

// An envelope is good at its own place only.
func TestMoved(t *testing.T) {
	key, payload := testKey(t, 1), pattern(40)
	h := dataHeader(payload, 1, 0)
	shards, _ := stored(seal(t, key, h, payload, rand.Reader), tlog.Hash{})
	other := tlog.UUID{1}
	for _, b := range []struct {
		name string
		err  error
	}{
		{"position", second(crypto.CheckShard(shards[0], h.Vdisk, h.Position+1))},
		{"vdisk", second(crypto.CheckShard(shards[0], other, h.Position))},
	} {
		if tlog.ClassOf(b.err) != tlog.Corrupt {
			t.Errorf("other %s: %v", b.name, b.err)
		}
	}
	// Rewriting the header to fit breaks commitment and MAC.
	for _, off := range []int{8, 24} {
		b := bytes.Clone(shards[0])
		b[off]++
		s, _, err := checkAnywhere(b)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := crypto.Open(key, s, bytes.Clone(s.Body)); tlog.ClassOf(err) != tlog.Corrupt {
			t.Errorf("rewritten at %d: %v", off, err)
		}
	}
}

func second[A any](_ A, err error) error { return err }

func checkAnywhere(b []byte) (*crypto.Stored, crypto.Header, error) {
	h, _, err := crypto.ParseHeader(b)
	if err != nil {
		return nil, h, err
	}
	s, err := crypto.CheckShard(b, h.Vdisk, h.Position)
	return s, h, err
}

// Sealing one thing twice gives unrelated keys and ciphertexts.
func TestFreshSalt(t *testing.T) {
	key, payload := testKey(t, 1), pattern(64)
	h := dataHeader(payload, 1, 0)
	a, b := seal(t, key, h, payload, rand.Reader), seal(t, key, h, payload, rand.Reader)
	if a.Header.Salt == b.Header.Salt || a.Header.Commitment == b.Header.Commitment {
		t.Error("salt or commitment repeats")
	}
	_, bodyA := a.Shard(0)
	_, bodyB := b.Shard(0)
	if bytes.Equal(bodyA, bodyB) {
		t.Error("ciphertext repeats")
	}
}

func TestWrongKey(t *testing.T) {
	payload := pattern(40)
	h := dataHeader(payload, 1, 0)
	shards, _ := stored(seal(t, testKey(t, 1), h, payload, rand.Reader), tlog.Hash{})
	s := check(t, shards[0], &h)
	_, err := crypto.Open(testKey(t, 2), s, bytes.Clone(s.Body))
	if !errors.Is(err, crypto.ErrWrongKey) || tlog.ClassOf(err) == tlog.Corrupt {
		t.Errorf("opened with another key: %v", err)
	}
}

type brokenRandom struct{}

func (brokenRandom) Read([]byte) (int, error) { return 0, errors.New("no entropy") }

func TestSealRefuses(t *testing.T) {
	key, payload := testKey(t, 1), pattern(40)
	good := dataHeader(payload, 2, 1)
	noop := func([][]byte) error { return nil }
	if _, err := crypto.Seal(key, good, payload, noop, brokenRandom{}); tlog.ClassOf(err) != tlog.Fatal {
		t.Errorf("without entropy: %v", err)
	}
	if _, err := crypto.Seal(key, good, payload, func([][]byte) error { return errors.New("no") }, rand.Reader); tlog.ClassOf(err) != tlog.Fatal {
		t.Errorf("without parity: %v", err)
	}
	for name, change := range map[string]func(*crypto.Header){
		"no shards":           func(h *crypto.Header) { h.K = 0 },
		"256 shards":          func(h *crypto.Header) { h.K, h.M = 200, 56 },
		"other length":        func(h *crypto.Header) { h.StoredLength-- },
		"longer than plain":   func(h *crypto.Header) { h.PlainLength-- },
		"shorter, not packed": func(h *crypto.Header) { h.PlainLength++ },
		"unknown kind":        func(h *crypto.Header) { h.Kind = 9 },
		"unknown compression": func(h *crypto.Header) { h.Compression = 2 },
		"position 0":          func(h *crypto.Header) { h.Position = 0 },
		"data at 1":           func(h *crypto.Header) { h.Position = 1 },
		"genesis at 7":        func(h *crypto.Header) { h.Kind = crypto.KindGenesis },
		"extension":           func(h *crypto.Header) { h.Genesis = &crypto.Genesis{Name: "x"} },
		"no record":           func(h *crypto.Header) { h.Count, h.Last = 0, 99 },
		"sequence 0":          func(h *crypto.Header) { h.First, h.Last = 0, 2 },
		"gap":                 func(h *crypto.Header) { h.Last++ },
		"time runs back":      func(h *crypto.Header) { h.LastTimestamp = 1 },
	} {
		h := good
		change(&h)
		if _, err := crypto.Seal(key, h, payload, noop, rand.Reader); tlog.ClassOf(err) != tlog.Fatal {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReleaseOnce(t *testing.T) {
	payload := pattern(40)
	s := seal(t, testKey(t, 1), dataHeader(payload, 1, 0), payload, rand.Reader)
	released := 0
	s.OnRelease(func(bytes int) { released += bytes }, 7)
	s.Release()
	s.Release()
	if released != 7 {
		t.Errorf("released %d bytes", released)
	}
}

func TestHashRecord(t *testing.T) {
	for _, c := range []struct {
		alg  tlog.HashAlgorithm
		want string // of no bytes
	}{
		{tlog.HashBlake2b, "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8"},
		{tlog.HashSHA256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
	} {
		if got := crypto.HashRecord(c.alg, nil).String(); got != c.want || !crypto.Supported(c.alg) {
			t.Errorf("algorithm %d: %s, want %s", c.alg, got, c.want)
		}
	}
	if crypto.Supported(0) || crypto.Supported(3) {
		t.Error("unknown algorithms are supported")
	}
}
