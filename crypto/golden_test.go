package crypto_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zeebo/blake3"

	"tlog"
	"tlog/crypto"
	"tlog/internal/alloctest"
)

var update = flag.Bool("update", false, "write the golden files anew; a change of them is a change of the format")

var goldenObjects = []struct {
	name   string
	header func([]byte, int, int) crypto.Header
}{{"data", dataHeader}, {"genesis", genesisHeader}, {"barrier", barrierHeader}}

func goldenPath(name string) string { return filepath.Join("testdata", "golden", name+".hex") }

// goldenPayload is what each golden object holds.
var goldenPayload = []byte("what was written stays written")

func readGolden(t testing.TB, name string) (shards [][]byte) {
	t.Helper()
	text, err := os.ReadFile(goldenPath(name))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		b, err := hex.DecodeString(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		shards = append(shards, b)
	}
	return shards
}

// The format is what it was: sealing gives the bytes of the golden files, one
// stored shard a line.
func TestGolden(t *testing.T) {
	for i, o := range goldenObjects {
		h := o.header(goldenPayload, 2, 1)
		shards, _ := stored(seal(t, testKey(t, 1), h, goldenPayload, fixedRandom(byte(10+i))), tlog.Hash{0xee})
		var text strings.Builder
		for _, b := range shards {
			text.WriteString(hex.EncodeToString(b) + "\n")
		}
		if *update {
			if err := os.WriteFile(goldenPath(o.name), []byte(text.String()), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want := readGolden(t, o.name)
		for i := range want {
			if i >= len(shards) || !bytes.Equal(shards[i], want[i]) {
				t.Errorf("%s: shard %d is not what it was:\ngot  %x\nwant %x", o.name, i, shards[i], want[i])
			}
		}
	}
}

// The offsets of docs/format.md and nothing else read the golden data object.
func TestGoldenByHand(t *testing.T) {
	shards := readGolden(t, "data")
	b, le := shards[0], binary.LittleEndian
	if string(b[:4]) != "TLOG" || b[4] != 1 || b[5] != 1 || b[6] != 1 || b[7] != 0 {
		t.Fatalf("magic, version, kind, suite, compression: %x", b[:8])
	}
	for _, f := range []struct {
		name      string
		got, want uint64
	}{
		{"position", le.Uint64(b[24:]), 7}, {"first", le.Uint64(b[32:]), 100}, {"last", le.Uint64(b[40:]), 102},
		{"first timestamp", le.Uint64(b[48:]), 1000}, {"last timestamp", le.Uint64(b[56:]), 2000},
		{"count", uint64(le.Uint32(b[72:])), 3}, {"extension", uint64(le.Uint32(b[84:])), 0},
		{"k", uint64(b[88]), 2}, {"m", uint64(b[89]), 1},
	} {
		if f.got != f.want {
			t.Errorf("%s: %d, want %d", f.name, f.got, f.want)
		}
	}
	stored := int(le.Uint32(b[80:]))
	const head = 160 + 3*32 + 64
	secret := make([]byte, 32)
	if _, err := io.ReadFull(fixedRandom(1), secret); err != nil {
		t.Fatal(err)
	}
	info := append([]byte("tlog seal 1\x00"), b[8:24]...)
	info = binary.BigEndian.AppendUint64(info, 7)
	keys, err := hkdf.Key(sha256.New, secret, b[96:128], string(info), 96)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(keys[64:], b[128:160]) {
		t.Error("commitment")
	}
	mac := hmac.New(sha256.New, keys[32:64])
	mac.Write(b[:head-32])
	if !bytes.Equal(mac.Sum(nil), b[head-32:head]) {
		t.Error("MAC")
	}
	var data []byte
	for i, s := range shards {
		body := s[head+8:]
		if digest := blake3.Sum256(body); s[head] != byte(i) || !bytes.Equal(digest[:], b[160+32*i:][:32]) {
			t.Errorf("shard %d: index or digest", i)
		}
		if i < 2 {
			data = append(data, body...)
		}
	}
	block, err := aes.NewCipher(keys[:32])
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := gcm.Open(nil, make([]byte, 12), data[:stored+16], b[:160])
	if err != nil || !bytes.Equal(payload, goldenPayload) {
		t.Errorf("payload %q, %v", payload, err)
	}
}

// A stored length far beyond the bytes at hand allocates nothing for it.
func TestLengthBombs(t *testing.T) {
	good := readGolden(t, "genesis")[0]
	for name, change := range map[string]func([]byte){
		"plain":  func(b []byte) { binary.LittleEndian.PutUint32(b[76:], 1<<32-1) },
		"stored": func(b []byte) { binary.LittleEndian.PutUint32(b[80:], 1<<32-1) },
		"in limits": func(b []byte) {
			binary.LittleEndian.PutUint32(b[76:], 16<<20)
			binary.LittleEndian.PutUint32(b[80:], 16<<20)
		},
		"extension": func(b []byte) { binary.LittleEndian.PutUint32(b[84:], 1<<32-8) },
		"shards":    func(b []byte) { b[88], b[89] = 255, 0 },
		"name":      func(b []byte) { b[160+13] = 255 },
		"wrapped":   func(b []byte) { b[160+14], b[160+15] = 255, 255 },
	} {
		b := bytes.Clone(good)
		change(b)
		if _, err := crypto.CheckShard(b, vdiskA, 1); tlog.ClassOf(err) != tlog.Corrupt {
			t.Errorf("%s: %v", name, err)
		}
		n := alloctest.Least(func() {
			if _, err := crypto.CheckShard(b, vdiskA, 1); err == nil {
				t.Fatal("accepted")
			}
		})
		if n > 8<<10 {
			t.Errorf("%s: %d bytes allocated", name, n)
		}
	}
}

// Bytes that mean nothing yet must be zero: a later version may give them a
// meaning that this one must not overlook.
func TestReserved(t *testing.T) {
	good := readGolden(t, "genesis")[0]
	head := len(good) - 8 - (len(goldenPayload)+16+1)/2
	for _, at := range []int{90, 95, head + 1, head + 7} {
		b := bytes.Clone(good)
		b[at] = 1
		if _, err := crypto.CheckShard(b, vdiskA, 1); tlog.ClassOf(err) != tlog.Corrupt {
			t.Errorf("byte %d: %v", at, err)
		}
	}
	if _, err := crypto.CheckShard(good, vdiskA, 1); err != nil {
		t.Error(err)
	}
}
