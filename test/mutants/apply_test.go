package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestMutantsApply tells at once, and without running any, which mistake no
// longer fits the code.
func TestMutantsApply(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range mutants {
		b, err := os.ReadFile(filepath.Join("..", "..", m.file))
		if err != nil {
			t.Error(err)
		}
		if n := bytes.Count(b, []byte(m.old)); n != 1 || m.old == m.wrong || seen[m.name] {
			t.Errorf("%s: what it changes is there %d times in %s: plant it anew", m.name, n, m.file)
		}
		seen[m.name] = true
	}
	if len(mutants) < 24 {
		t.Errorf("%d mutants", len(mutants))
	}
}
