package vdisk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"

	"tlog"
	"tlog/client"
)

// marker says which point of which log a base image holds, and who its client
// is. It lies beside the base, in BASE.tlog, in two slots of 512 bytes at 0 and
// 4096, which are written in turn: a torn write leaves the other one. The valid
// slot with the higher count rules.
//
//	off size field       meaning; what a reader does
//	  0    8 magic       "TLOGBASE"; else the slot is empty
//	  8    4 version     1; greater: refused, written by a later tlog
//	 12    4 block size  bytes
//	 16    8 count       of writes of the marker
//	 24   16 vdisk UUID  zero: not known yet
//	 40   16 client UUID
//	 56    8 generation  the last that the client was given
//	 64    8 sequence    the base holds every record up to it
//	 72   32 chain       value at that sequence
//	104    8 disk size   bytes
//	112    4 name length 1…128
//	116  128 vdisk name  filled up with zeroes
//	244  264 zero
//	508    4 CRC-32C     of the 508 bytes before
//
// All little-endian. The checksum finds torn writes and bit rot; it does not
// protect against forgery, nor against an older copy of base and marker
// together, which is caught up like any base that is behind.
type marker struct {
	count      uint64
	vdiskUUID  tlog.UUID
	client     tlog.UUID
	generation tlog.Generation
	point      client.Point
	diskSize   uint64
	blockSize  uint32
	vdisk      tlog.VdiskID
}

const (
	markerMagic   = "TLOGBASE"
	markerVersion = 1
	slotSize      = 512
	slotStride    = 4096
)

var (
	castagnoli     = crc32.MakeTable(crc32.Castagnoli)
	errSlotEmpty   = errors.New("empty")
	errSlotVersion = errors.New("written by a later version of tlog: use that version")
)

func (m *marker) encode() []byte {
	b := make([]byte, slotSize)
	copy(b, markerMagic)
	le := binary.LittleEndian
	le.PutUint32(b[8:], markerVersion)
	le.PutUint32(b[12:], m.blockSize)
	le.PutUint64(b[16:], m.count)
	copy(b[24:], m.vdiskUUID[:])
	copy(b[40:], m.client[:])
	le.PutUint64(b[56:], uint64(m.generation))
	le.PutUint64(b[64:], uint64(m.point.Sequence))
	copy(b[72:], m.point.Chain[:])
	le.PutUint64(b[104:], m.diskSize)
	le.PutUint32(b[112:], uint32(len(m.vdisk)))
	copy(b[116:], m.vdisk)
	le.PutUint32(b[508:], crc32.Checksum(b[:508], castagnoli))
	return b
}

func decodeMarker(b []byte) (*marker, error) {
	le := binary.LittleEndian
	if len(b) < slotSize || string(b[:8]) != markerMagic {
		return nil, errSlotEmpty
	}
	if v := le.Uint32(b[8:]); v > markerVersion {
		return nil, errSlotVersion
	}
	if le.Uint32(b[508:]) != crc32.Checksum(b[:508], castagnoli) {
		return nil, tlog.Corruptf("wrong checksum")
	}
	n := le.Uint32(b[112:])
	if n > 128 {
		return nil, tlog.Corruptf("vdisk name of %d bytes", n)
	}
	m := &marker{
		count:      le.Uint64(b[16:]),
		vdiskUUID:  tlog.UUID(b[24:40]),
		client:     tlog.UUID(b[40:56]),
		generation: tlog.Generation(le.Uint64(b[56:])),
		point:      client.Point{Sequence: tlog.Sequence(le.Uint64(b[64:])), Chain: tlog.Hash(b[72:104])},
		diskSize:   le.Uint64(b[104:]),
		blockSize:  le.Uint32(b[12:]),
		vdisk:      tlog.VdiskID(b[116 : 116+n]),
	}
	if err := m.vdisk.Check(); err != nil || m.client.IsZero() {
		return nil, tlog.Corruptf("no vdisk or client in it")
	}
	return m, nil
}

// newest decodes a marker file: nil if neither slot was ever written.
func newestMarker(b []byte) (*marker, error) {
	var best *marker
	var bad error
	for off := 0; off < len(b); off += slotStride {
		m, err := decodeMarker(b[off:])
		switch {
		case errors.Is(err, errSlotVersion):
			return nil, err
		case err != nil && !errors.Is(err, errSlotEmpty):
			bad = err
		case err == nil && (best == nil || m.count > best.count):
			best = m
		}
	}
	if best == nil {
		return nil, bad
	}
	return best, nil
}

// markerFile is the marker, open for advancing.
type markerFile struct {
	f *os.File

	mu  sync.Mutex // held over the write: the keeper and the client's attach meet here
	now marker
}

// readMarker returns nil, nil when there is no marker.
func readMarker(path string) (*marker, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err == nil && len(b) > 2*slotStride {
		err = errors.New("too long for a marker")
	}
	if err != nil {
		return nil, fmt.Errorf("vdisk: marker %s: %w", path, err)
	}
	m, err := newestMarker(b)
	if err != nil {
		return nil, fmt.Errorf("vdisk: marker %s: %w", path, err)
	}
	return m, nil
}

// createMarker puts a new file in place of whatever is at path, whole or not at all.
func createMarker(path string, m marker) (*markerFile, error) {
	f, err := os.OpenFile(path+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("vdisk: marker: %w", err)
	}
	mf := &markerFile{f: f, now: m}
	err = mf.update(func(*marker) {})
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("vdisk: marker: %w", err), f.Close())
	}
	return mf, nil
}

// openMarker opens the file that m was read from.
func openMarker(path string, m marker) (*markerFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("vdisk: marker: %w", err)
	}
	return &markerFile{f: f, now: m}, nil
}

// get is the marker as it was last written.
func (mf *markerFile) get() marker {
	mf.mu.Lock()
	defer mf.mu.Unlock()
	return mf.now
}

// update makes what change leaves the marker, durably. After an error nobody
// knows which of the last two is on disk, and it must not be used again.
func (mf *markerFile) update(change func(*marker)) error {
	mf.mu.Lock()
	defer mf.mu.Unlock()
	m := mf.now
	change(&m)
	m.count++
	if _, err := writeAt(mf.f, m.encode(), int64(m.count%2)*slotStride); err != nil {
		return fmt.Errorf("vdisk: marker: %w", err)
	}
	if err := datasync(mf.f); err != nil {
		return fmt.Errorf("vdisk: marker: %w", err)
	}
	mf.now = m
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// BaseOf is the vdisk whose base image path is, or was, by the marker beside it;
// empty if there is none. A marker that cannot be read is an error.
func BaseOf(path string) (tlog.VdiskID, error) {
	m, err := readMarker(markerPath(path))
	if m == nil || err != nil {
		return "", err
	}
	return m.vdisk, nil
}
