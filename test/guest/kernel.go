package guest

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// Kernel is an unpacked Debian package of a kernel.
type Kernel struct {
	Image   string            // the file that boots
	Version string            // as uname says it
	files   map[string]string // modules, by name
}

// Find finds the kernel that scripts/guest.sh unpacked into dir.
func Find(dir string) (*Kernel, error) {
	images, err := filepath.Glob(filepath.Join(dir, "boot", "vmlinuz-*"))
	if err != nil || len(images) != 1 {
		return nil, fmt.Errorf("guest: %d kernels in %s (run scripts/guest.sh): %w", len(images), dir, err)
	}
	k := &Kernel{Image: images[0], files: map[string]string{}}
	k.Version = strings.TrimPrefix(filepath.Base(k.Image), "vmlinuz-")
	err = filepath.WalkDir(filepath.Join(dir, "lib", "modules", k.Version), func(path string, d fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(filepath.Base(path), ".ko"); ok {
			k.files[moduleName(name)] = path
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("guest: modules: %w", err)
	}
	return k, nil
}

// moduleName is the name by which modules name each other.
func moduleName(s string) string { return strings.ReplaceAll(s, "-", "_") }

// modules are the files of the named modules and of all that they need, in the
// order in which they can be loaded. What the package has no file of is taken to
// be built in.
func (k *Kernel) modules(names ...string) (order []string, err error) {
	for _, name := range names {
		file, ok := k.files[moduleName(name)]
		if !ok {
			continue
		}
		needs, err := depends(file)
		if err != nil {
			return nil, err
		}
		before, err := k.modules(needs...)
		if err != nil {
			return nil, err
		}
		for _, f := range append(before, file) {
			if !slices.Contains(order, f) {
				order = append(order, f)
			}
		}
	}
	return order, nil
}

// depends reads which modules a module needs.
func depends(file string) ([]string, error) {
	f, err := elf.Open(file)
	if err != nil {
		return nil, fmt.Errorf("guest: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	s := f.Section(".modinfo")
	if s == nil {
		return nil, fmt.Errorf("guest: %s is no kernel module", file)
	}
	info, err := s.Data()
	if err != nil {
		return nil, fmt.Errorf("guest: %s: %w", file, err)
	}
	for entry := range bytes.SplitSeq(info, []byte{0}) {
		if names, ok := strings.CutPrefix(string(entry), "depends="); ok && names != "" {
			return strings.Split(names, ","), nil
		}
	}
	return nil, nil
}
