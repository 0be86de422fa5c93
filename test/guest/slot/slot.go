// Package slot is the files that the guest replaces over and over: what number
// N has in it is known from N, so that who finds one can tell whether it is whole.
package slot

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

// slots is how many files there are: N replaces N − slots.
const slots = 16

const prefix = "slot-"

// Name is the name of file n.
func Name(n int) string { return fmt.Sprintf("%s%d", prefix, n%slots) }

// Content is what file n has in it: its number, and bytes that follow from it.
func Content(n int) []byte {
	rng := rand.NewPCG(uint64(n), 1)
	b := fmt.Appendf(nil, "%d\n", n)
	size := len(b) + int(rng.Uint64()%40_000)
	for len(b) < size {
		b = fmt.Appendf(b, "%x", rng.Uint64())
	}
	return b
}

// Number reads which file a content is; an error if it is not whole.
func Number(content []byte) (n int, err error) {
	if _, err := fmt.Sscanf(string(content[:min(len(content), 24)]), "%d\n", &n); err != nil {
		return 0, fmt.Errorf("no number in front: %w", err)
	}
	if want := Content(n); !bytes.Equal(content, want) {
		return 0, fmt.Errorf("number %d has %d bytes, want %d, or others", n, len(content), len(want))
	}
	return n, nil
}

// Newest is the highest number of the files in dir, all of which must be whole
// and in their place; 0 if there are none.
func Newest(dir string) (newest int, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefix) {
			continue
		}
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return 0, err
		}
		n, err := Number(content)
		if err == nil && Name(n) != e.Name() {
			err = fmt.Errorf("it has number %d", n)
		}
		if err != nil {
			return 0, fmt.Errorf("%s: %w", e.Name(), err)
		}
		newest = max(newest, n)
	}
	return newest, nil
}
