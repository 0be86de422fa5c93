package server

import (
	"testing"

	"tlog"
	"tlog/schema"
)

func TestNegotiate(t *testing.T) {
	const later = schema.Version2 + 1<<24
	for _, c := range []struct {
		highest, lowest, want schema.Version
		ok                    bool
	}{
		{schema.Version1, 0, schema.Version1, true},
		{schema.Version1 - 1, 0, schema.Version1, false},
		{0, 0, schema.Version1, false},
		{0x01020001, 0, schema.Version1, true},
		{schema.Version2 - 1, 0, schema.Version1, true},
		{schema.Version2, 0, schema.Version2, true},
		{schema.Version2, schema.Version1, schema.Version2, true},
		{later, schema.Version2, schema.Version2, true},
		{later, 0, schema.Version2, false}, // its version only
		{later, later, schema.Version2, false},
		{schema.Version1, schema.Version2, schema.Version1, false},
	} {
		if got, ok := negotiate(c.highest, c.lowest); got != c.want || ok != c.ok {
			t.Errorf("negotiate(%#x, %#x) = %#x, %v; want %#x, %v", c.highest, c.lowest, got, ok, c.want, c.ok)
		}
	}
}

func TestVersion1KnowsDocumentedCodesOnly(t *testing.T) {
	for s := tlog.HandshakeUnavailable; s <= tlog.HandshakeOK; s++ {
		want := s
		if s < -4 {
			want = tlog.HandshakeInternal
		}
		if got := documented(schema.Version1, s); got != want {
			t.Errorf("version 1 is told %v for %v, want %v", got, s, want)
		}
		if got := documented(schema.Version2, s); got != s {
			t.Errorf("version 2 is told %v for %v", got, s)
		}
	}
}

func TestConfigDefaultsAndChecks(t *testing.T) {
	if _, err := (Config{}).withDefaults(); err == nil {
		t.Error("a config without pool and keys passed")
	}
	if _, err := New(Config{MemoryBudget: 1}); err == nil {
		t.Error("a config without pool and keys passed New")
	}
}
