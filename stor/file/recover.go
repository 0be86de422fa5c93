package file

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"tlog/internal/failpoint"
)

// recover makes the writing end of what a scan without damage found.
//
// What nobody was answered about may be half there. The whole frames of it are
// kept, and written again: if the last process ended because a sync failed,
// the kernel may hold them as clean although the disk does not have them. What
// is behind them is zeroed, durably, before anything is written there: a stale
// frame must never follow a new one.
func recoverLog(dir fsys, s *scan, limit int64) (*log, error) {
	l := &log{fs: dir, limit: limit, store: s.store, segment: s.segment, end: s.off, next: s.next, durable: s.proven,
		draft: s.draft, sealed: make(chan *draft, sealedKept)}
	if err := dir.remove(newSegment); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := removeContents(dir, l.segment); err != nil {
		return nil, err
	}
	if l.segment == 0 {
		l.store = [16]byte{}
		return l, nil
	}
	l.seed = seedOf(l.store, l.segment)
	f, err := dir.open(segmentName(l.segment), true)
	if err != nil {
		return nil, err
	}
	l.f = f
	if err := l.settle(s.undecided); err != nil {
		l.close()
		return nil, fmt.Errorf("recover segment %d: %w", l.segment, err)
	}
	return l, nil
}

// settle makes the end of the active segment what the scan took it for.
func (l *log) settle(undecided place) error {
	size, err := l.f.size()
	if err != nil {
		return err
	}
	l.size = max(size, l.end)
	// The directory entry may be as young as the frames.
	if err := l.fs.sync(); err != nil {
		return err
	}
	if undecided.segment == l.segment && undecided.off < l.end {
		if err := rewrite(l.f, undecided.off, l.end); err != nil {
			return err
		}
	}
	failpoint.Here("file.recover")
	if l.cut, err = wipe(l.f, l.end, size); err != nil {
		return err
	}
	failpoint.Here("file.wiped")
	if err := l.sync(); err != nil {
		return err
	}
	if undecided.segment == 0 {
		return nil
	}
	return l.mark()
}

const copySize = 256 << 10

// rewrite writes the bytes from…to again as they read.
func rewrite(f file, from, to int64) error {
	buf := make([]byte, min(copySize, to-from))
	for from < to {
		b := buf[:min(int64(len(buf)), to-from)]
		n, err := f.ReadAt(b, from)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		clear(b[n:]) // the padding of the last frame, at the end of the file
		if err := f.writeAt([][]byte{b}, from); err != nil {
			return err
		}
		from += int64(len(b))
	}
	return nil
}

// wipe zeroes what is not zero from…to, block by block, and gives the size
// of the blocks that it wrote.
func wipe(f file, from, to int64) (cut int64, err error) {
	buf, zero := make([]byte, copySize), make([]byte, copySize)
	for from < to {
		b := buf[:min(copySize, to-from)]
		n, err := f.ReadAt(b, from)
		if err != nil && !errors.Is(err, io.EOF) {
			return cut, err
		}
		if !bytes.Equal(b[:n], zero[:n]) {
			cut += int64(n)
			if err := f.writeAt([][]byte{zero[:n]}, from); err != nil {
				return cut, err
			}
		}
		from += int64(len(b))
	}
	return cut, nil
}
