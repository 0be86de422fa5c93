package crypto

import (
	"slices"
	"testing"

	"tlog"
)

// Whatever the processor is good at, both are offered, once each.
func TestRecordHashes(t *testing.T) {
	got := slices.Clone(RecordHashes())
	slices.Sort(got)
	if want := []tlog.HashAlgorithm{tlog.HashBlake2b, tlog.HashSHA256}; !slices.Equal(got, want) {
		t.Errorf("hashes %v, want %v in any order", got, want)
	}
}
