package bookmark

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"tlog"
)

// version of an entry. A reader takes no newer one.
const version = 1

// entry is a record's data: one JSON object and a line feed.
type entry struct {
	Version  int           `json:"version"`
	ID       string        `json:"id"` // of the call that appended it, which may have to append it again
	Vdisk    tlog.VdiskID  `json:"vdisk"`
	UUID     tlog.UUID     `json:"uuid"`
	Name     string        `json:"name"`
	Deleted  bool          `json:"deleted,omitempty"` // the fields below are absent
	Sequence tlog.Sequence `json:"sequence,omitempty"`
	Position tlog.Position `json:"position,omitempty"`
	Digest   string        `json:"digest,omitempty"` // hexadecimal
	Time     *time.Time    `json:"time,omitempty"`
	Made     *time.Time    `json:"made,omitempty"`
	Note     string        `json:"note,omitempty"`

	digest tlog.Hash
}

// newID is the identity of one change of the bookmarks.
func newID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func newEntry(b *Bookmark, id string) *entry {
	at, made := b.Time.UTC(), b.Made.UTC()
	return &entry{Version: version, ID: id, Vdisk: b.Vdisk, UUID: b.UUID, Name: b.Name,
		Sequence: b.Sequence, Position: b.Position, Digest: b.Digest.String(), Time: &at, Made: &made, Note: b.Note, digest: b.Digest}
}

func (e *entry) bookmark() Bookmark {
	b := Bookmark{Vdisk: e.Vdisk, UUID: e.UUID, Name: e.Name, Sequence: e.Sequence, Position: e.Position, Digest: e.digest, Note: e.Note}
	if e.Time != nil {
		b.Time = e.Time.UTC()
	}
	if e.Made != nil {
		b.Made = e.Made.UTC()
	}
	return b
}

func (e *entry) encode() ([]byte, error) {
	b, err := json.Marshal(e)
	return append(b, '\n'), err
}

// decode reads an entry. Errors: class tlog.Corrupt, or that it is of a newer version.
func decode(data []byte) (*entry, error) {
	var v struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return nil, tlog.Corruptf("it is no entry: %w", err)
	}
	if v.Version > version {
		return nil, fmt.Errorf("entry of version %d, and this program knows %d: update it", v.Version, version)
	}
	e := new(entry)
	if err := json.Unmarshal(data, e); err != nil {
		return nil, tlog.Corruptf("it is no entry: %w", err)
	}
	if e.Version < 1 || e.ID == "" || e.UUID.IsZero() {
		return nil, tlog.Corruptf("entry without version, id or uuid")
	}
	if e.Deleted {
		return e, nil
	}
	digest, err := hex.DecodeString(e.Digest)
	if err != nil || len(digest) != len(e.digest) {
		return nil, tlog.Corruptf("digest %q", e.Digest)
	}
	copy(e.digest[:], digest)
	b := e.bookmark()
	if err := b.check(); err != nil {
		return nil, tlog.WithClass(tlog.Corrupt, err)
	}
	return e, nil
}
