package failpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// A file's journal is named by its inode, which a rename keeps. Its entries are
// an offset and a length, eight bytes each, and what was there before.
const entryHead = 16

func journalName(st os.FileInfo) string {
	return fmt.Sprintf("%d.undo", st.Sys().(*syscall.Stat_t).Ino)
}

// Undo plays the loss of power in one file whose process is gone: of what was
// written since the last sync each part of size bytes (a sector, or a page) is
// kept or put back to what it was, as keep says. The journal is then empty. It
// reports how many parts were put back.
func Undo(dir, path string, size int, keep func() bool) (int, error) {
	st, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	name := filepath.Join(dir, journalName(st))
	journal, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) || len(journal) == 0 {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	// The newest write is undone first; where one is kept, what lay under it
	// is of no more interest.
	entries := split(journal)
	kept := map[int64]bool{}
	undone := 0
	for i := len(entries) - 1; i >= 0; i-- {
		n, err := entries[i].undo(f, int64(size), kept, keep)
		if err != nil {
			return undone, err
		}
		undone += n
	}
	return undone, os.Remove(name)
}

type written struct {
	off int64
	old []byte
}

// split cuts a journal into its entries. A torn last one is of a write that
// was not begun.
func split(b []byte) []written {
	var list []written
	for len(b) >= entryHead {
		off, n := int64(binary.LittleEndian.Uint64(b)), binary.LittleEndian.Uint64(b[8:])
		if uint64(len(b)-entryHead) < n {
			break
		}
		list = append(list, written{off, b[entryHead : entryHead+n]})
		b = b[entryHead+n:]
	}
	return list
}

func (w written) undo(f io.WriterAt, size int64, kept map[int64]bool, keep func() bool) (undone int, err error) {
	for at := w.off; at < w.off+int64(len(w.old)); {
		part := at / size
		end := min((part+1)*size, w.off+int64(len(w.old)))
		if !kept[part] && keep() {
			kept[part] = true
		}
		if !kept[part] {
			if _, err := f.WriteAt(w.old[at-w.off:end-w.off], at); err != nil {
				return undone, err
			}
			undone++
		}
		at = end
	}
	return undone, nil
}
