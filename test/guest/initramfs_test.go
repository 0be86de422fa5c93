package guest

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"testing"
)

// TestPack reads an archive back, by the kernel's rules: every directory before
// what is in it, names and contents padded to four bytes.
func TestPack(t *testing.T) {
	from := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(from, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	packed, err := pack(map[string]string{"/lib/x86/a": from, "/init": from}, map[string]string{"/modules/order": "text"})
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{".": "directory"}
	for name := ""; name != "TRAILER!!!"; {
		var f [13]int
		for i := range f {
			if _, err := fmt.Sscanf(string(b[6+8*i:14+8*i]), "%x", &f[i]); err != nil || string(b[:6]) != "070701" {
				t.Fatalf("%q is no header: %v", b[:110], err)
			}
		}
		mode, size, head := f[1], f[6], (110+f[11]+3)&^3
		name = string(b[110 : 110+f[11]-1])
		if name != "TRAILER!!!" {
			if got[path.Dir(name)] != "directory" {
				t.Errorf("%s stands before its directory", name)
			}
			got[name] = string(b[head : head+size])
			if mode == isDir {
				got[name] = "directory"
			}
		}
		b = b[head+(size+3)&^3:]
	}
	for name, want := range map[string]string{"init": "12345", "lib/x86/a": "12345", "modules/order": "text", "dev": "directory", "lib/x86": "directory"} {
		if got[name] != want {
			t.Errorf("%s has %q, want %q", name, got[name], want)
		}
	}
	if len(b) != 0 {
		t.Errorf("%d bytes behind the end", len(b))
	}
}
