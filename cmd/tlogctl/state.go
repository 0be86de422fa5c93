package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"tlog/cmd/internal/storage"
	"tlog/player"
)

// restoreState says of which moment what is in a target is, and how far it is.
type restoreState struct {
	Vdisk    string `json:"vdisk_uuid"`
	Sequence uint64 `json:"sequence"`
	Position uint64 `json:"position"`
	Digest   string `json:"digest"` // chain digest of the position: the log up to it
	DiskSize int64  `json:"disk_size_bytes"`
	// Floor is the lowest position all of whose data is, durably, in the target, and
	// so is that of every position above it.
	Floor uint64 `json:"floor"`
	// Marks are some of what was written to a target that others can write to.
	Marks []mark `json:"marks,omitempty"`
}

func stateOf(ctx context.Context, src *source) (*restoreState, error) {
	digest, err := src.log.Digest(ctx, src.point.Position)
	if err != nil {
		return nil, err
	}
	return &restoreState{Vdisk: src.log.Info().UUID.String(), Sequence: uint64(src.point.Sequence), Position: uint64(src.point.Position),
		Digest: digest.String(), DiskSize: int64(src.log.Info().DiskSize)}, nil
}

// same reports whether the states are of the same moment of the same log.
func (s *restoreState) same(other *restoreState) bool {
	return s.Vdisk == other.Vdisk && s.Sequence == other.Sequence && s.Position == other.Position && s.Digest == other.Digest && s.DiskSize == other.DiskSize
}

// readState reads what write wrote. Of an image without a state nothing counts.
func readState(path string) (*restoreState, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s := new(restoreState)
	if err := json.Unmarshal(b, s); err != nil {
		return nil, err
	}
	if s.Floor == 0 || s.Vdisk == "" {
		return nil, fmt.Errorf("%s: not the state of a restore", path)
	}
	return s, nil
}

// write puts the state in place of the one before, durably.
func (s *restoreState) write(path string) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return replaceFile(path, append(b, '\n'))
}

// replaceFile puts a file in place, whole and durable or not at all.
func replaceFile(path string, b []byte) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, remove(f.Name()))
	}
	return syncParent(path)
}

// lossOf is the error of a restore of best effort that did not find everything.
func lossOf(to string, r *player.Report) error {
	if len(r.Missing) == 0 {
		return nil
	}
	total := uint64(0)
	for _, m := range r.Missing {
		total += m.Size
	}
	return &storage.Exit{Code: storage.ExitIntegrity, Err: fmt.Errorf("%s is not the disk of the moment: %s in %d places are missing, or may be older, since %d positions cannot be read; --json says where, and %s.missing beside an image",
		to, bytesText(total), len(r.Missing), len(r.Lost), to)}
}

// writeMissing writes beside an image what is missing in it, a JSON object a
// line, before the image has its name; of a whole one no such file is left.
func writeMissing(path string, r *player.Report) error {
	if len(r.Missing) == 0 {
		return remove(path)
	}
	var b bytes.Buffer
	for _, m := range missingList(r) {
		if err := emit(&b, m); err != nil {
			return err
		}
	}
	return replaceFile(path, b.Bytes())
}

// lostPosition is a player.Lost as JSON shows it.
type lostPosition struct {
	Position uint64 `json:"position"`
	Reason   string `json:"reason"`
}

// missing is a player.Missing as JSON shows it.
type missing struct {
	Offset   uint64 `json:"offset"`
	Size     uint64 `json:"size"`
	Position uint64 `json:"position"`
	Content  string `json:"content"` // zeroes; or older: as before the position, or as at the moment
}

func lostList(r *player.Report) []lostPosition {
	list := make([]lostPosition, 0, len(r.Lost))
	for _, l := range r.Lost {
		list = append(list, lostPosition{uint64(l.Position), l.Err.Error()})
	}
	return list
}

func missingList(r *player.Report) []missing {
	list := make([]missing, 0, len(r.Missing))
	for _, m := range r.Missing {
		content := "zeroes"
		if m.Older {
			content = "older"
		}
		list = append(list, missing{m.Offset, m.Size, uint64(m.Position), content})
	}
	return list
}
