package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"tlog"
	"tlog/player"
)

// images is a directory of raw disk images in the making. It appears under its
// name whole and durable, or not at all.
type images struct {
	path string
	temp string
}

// createImages begins a directory that is to become path, which does not exist
// or is empty.
func createImages(path string) (*images, error) {
	entries, err := os.ReadDir(path)
	switch {
	case err == nil && len(entries) > 0:
		return nil, fmt.Errorf("%s is not empty: a group is restored into a new directory", path)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	path, err = filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	temp, err := os.MkdirTemp(filepath.Dir(path), "."+filepath.Base(path)+".restore-*")
	if err != nil {
		return nil, err
	}
	return &images{path: path, temp: temp}, nil
}

func imageName(v tlog.VdiskID) string { return string(v) + ".img" }

// restore writes the image of one disk, durably.
func (d *images) restore(ctx context.Context, p player.CutPoint) (*player.Report, error) {
	f, err := os.OpenFile(filepath.Join(d.temp, imageName(p.Disk())), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	bar := newProgress("restore "+string(p.Disk()), os.Stderr)
	r, err := p.Index.Restore(ctx, p.Point, sparse{f}, player.RestoreOptions{Fresh: true, Progress: bar.step})
	bar.end()
	if err == nil {
		err = errors.Join(f.Truncate(int64(r.DiskSize)), f.Sync())
	}
	return r, errors.Join(err, f.Close())
}

// publish gives the directory its name, durably.
func (d *images) publish() error {
	if err := syncDir(d.temp); err != nil {
		return err
	}
	if err := os.Rename(d.temp, d.path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(d.path))
}

// syncDir makes the names in a directory durable.
func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// discard removes what was not published.
func (d *images) discard() error { return os.RemoveAll(d.temp) }
