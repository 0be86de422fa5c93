package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"tlog/test/guest/slot"
)

// files replaces one file after the other, as programs do that want the old
// content or the new: write, fsync, rename, fsync of the directory. Every disk
// gets each, one after the other, so that what is on one depends on what is on
// the one before. Between them it does what nobody syncs.
func files(disks []disk) error {
	n := 0
	for _, d := range disks {
		if err := errors.Join(os.MkdirAll(d.root+"/files", 0o755), os.MkdirAll(d.root+"/loose", 0o755)); err != nil {
			return err
		}
		newest, err := slot.Newest(d.root + "/files")
		if err != nil {
			return err
		}
		n = max(n, newest)
	}
	for {
		n++
		for _, d := range disks {
			if err := replace(d.root+"/files", n); err != nil {
				return err
			}
		}
		say("file %d", n)
		for _, d := range disks {
			if err := churn(d.root + "/loose"); err != nil {
				return err
			}
		}
	}
}

// replace puts file n into its place.
func replace(dir string, n int) error {
	next := filepath.Join(dir, "next")
	if err := write(next, slot.Content(n)); err != nil {
		return err
	}
	if err := os.Rename(next, filepath.Join(dir, slot.Name(n))); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func write(name string, content []byte) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

// churn makes, grows, cuts, links, moves and removes files and directories.
func churn(dir string) error {
	for range 6 {
		name := filepath.Join(dir, fmt.Sprintf("d%d", rand.IntN(4)), fmt.Sprintf("f%d", rand.IntN(12)))
		err := os.MkdirAll(filepath.Dir(name), 0o755)
		if err != nil {
			return err
		}
		switch rand.IntN(7) {
		case 0, 1:
			err = os.WriteFile(name, make([]byte, rand.IntN(200_000)), 0o644)
		case 2:
			err = os.Truncate(name, int64(rand.IntN(100_000)))
		case 3:
			err = os.Link(name, name+"-linked")
		case 4:
			err = os.Rename(name, filepath.Join(dir, fmt.Sprintf("moved%d", rand.IntN(6))))
		case 5:
			err = os.RemoveAll(filepath.Dir(name))
		case 6:
			err = os.Symlink("somewhere/"+name, name+"-points")
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}
