package vdisk

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"tlog"
	"tlog/client"
	"tlog/internal/alloctest"
)

var update = flag.Bool("update", false, "write the golden file of the marker again")

func testMarker() marker {
	m := marker{
		count: 3, generation: 4, diskSize: 10 << 30, blockSize: 4096, vdisk: "web-01",
		point: client.Point{Sequence: 5},
	}
	for i := range m.vdiskUUID {
		m.vdiskUUID[i], m.client[i] = byte(i+0x10), byte(i+0x40)
	}
	for i := range m.point.Chain {
		m.point.Chain[i] = byte(i + 0x80)
	}
	return m
}

func TestMarkerGolden(t *testing.T) {
	m := testMarker()
	got := hex.EncodeToString(m.encode()) + "\n"
	path := filepath.Join("testdata", "marker-v1.hex")
	if *update {
		check(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	if err != nil || got != string(want) {
		t.Errorf("the marker's layout changed (%v):\n%s", err, got)
	}
	back, err := decodeMarker(m.encode())
	if err != nil || *back != m {
		t.Errorf("decoded %+v, %v", back, err)
	}
}

func TestMarkerDamage(t *testing.T) {
	m := testMarker()
	good := m.encode()
	for n := range slotSize {
		if _, err := decodeMarker(good[:n]); err == nil {
			t.Fatalf("%d bytes accepted", n)
		}
		for bit := range 8 {
			b := bytes.Clone(good)
			b[n] ^= 1 << bit
			if _, err := decodeMarker(b); err == nil {
				t.Fatalf("bit %d of byte %d flipped, accepted", bit, n)
			}
		}
	}
}

// A write that is torn at any byte leaves the marker before it.
func TestTornMarker(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m")
	first := testMarker()
	first.count = 0
	mf, err := createMarker(path, first)
	check(t, err)
	for s := tlog.Sequence(6); s < 9; s++ {
		before, err := os.ReadFile(path)
		check(t, err)
		check(t, mf.update(func(m *marker) { m.point.Sequence = s }))
		after, err := os.ReadFile(path)
		check(t, err)
		for cut := range after {
			torn := append(bytes.Clone(after[:cut]), before[min(cut, len(before)):]...)
			m, err := newestMarker(torn)
			if err != nil || m.point.Sequence != s-1 && m.point.Sequence != s {
				t.Fatalf("torn at %d: %+v, %v", cut, m, err)
			}
		}
		if m, err := readMarker(path); err != nil || *m != mf.get() || m.point.Sequence != s {
			t.Fatalf("read %+v, %v", m, err)
		}
	}
	check(t, mf.f.Close())
}

func FuzzMarker(f *testing.F) {
	m := testMarker()
	f.Add(m.encode())
	f.Add([]byte(markerMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m *marker
		var err error
		alloctest.Bound(t, len(b), func() { m, err = newestMarker(b) })
		if err != nil || m == nil {
			return
		}
		if again, err := decodeMarker(m.encode()); err != nil || *again != *m {
			t.Errorf("%+v does not survive: %+v, %v", m, again, err)
		}
	})
}
