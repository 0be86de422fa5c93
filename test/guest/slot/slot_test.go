package slot_test

import (
	"os"
	"path/filepath"
	"testing"

	"tlog/test/guest/slot"
)

// TestNumber wants every file known by its content, and none that was cut, grew or
// has a byte changed.
func TestNumber(t *testing.T) {
	for n := 1; n < 12; n++ {
		content := slot.Content(n)
		if got, err := slot.Number(content); got != n || err != nil {
			t.Fatalf("file %d is taken for %d, %v", n, got, err)
		}
		for i := 0; i < len(content); i += 1 + len(content)/20 {
			flipped := append([]byte(nil), content...)
			flipped[i] ^= 4
			for what, bad := range map[string][]byte{"cut": content[:i], "flipped": flipped, "zeroed": append(content[:i:i], make([]byte, len(content)-i)...)} {
				if got, err := slot.Number(bad); err == nil {
					t.Errorf("file %d, %s at byte %d, is taken for %d", n, what, i, got)
				}
			}
		}
	}
}

// TestNewest looks at a directory as the guest leaves it.
func TestNewest(t *testing.T) {
	dir := t.TempDir()
	put := func(name string, content []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for n := 1; n <= 20; n++ {
		put(slot.Name(n), slot.Content(n))
	}
	put("next", slot.Content(21)[:5]) // it has not been renamed
	if n, err := slot.Newest(dir); n != 20 || err != nil {
		t.Errorf("the newest is %d, %v, want 20", n, err)
	}
	put(slot.Name(20), slot.Content(21))
	if _, err := slot.Newest(dir); err == nil {
		t.Error("a file in another's place is not seen")
	}
	put(slot.Name(20), nil)
	if _, err := slot.Newest(dir); err == nil {
		t.Error("an empty file is not seen")
	}
}
