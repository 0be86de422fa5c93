package bench

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
)

// contentBytes is longer than a processor's second-level cache and than what a
// compressor looks back.
const contentBytes = 16 << 20

// The kinds of data that records carry.
const (
	DataRandom = "random" // cannot be compressed
	DataExt4   = "ext4"   // a file system made of a tree of this machine
	DataDB     = "db"     // pages as a database has them
)

// content is data of a kind; of an ext4 image, the file is where it lies.
func content(kind, file string) ([]byte, error) {
	switch kind {
	case DataRandom:
		b := make([]byte, contentBytes)
		_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
		return b, nil
	case DataDB:
		return databasePages(contentBytes), nil
	case DataExt4:
		return readImage(file)
	}
	return nil, fmt.Errorf("bench: data %q: want random, ext4 or db", kind)
}

// databasePages are 8 KiB pages of rows: a header, numbers that count, words
// that repeat, identifiers that do not, and some room that is free.
func databasePages(n int) []byte {
	const page = 8 << 10
	random := rand.New(rand.NewChaCha8([32]byte{2}))
	words := make([][]byte, 512)
	for i := range words {
		words[i] = make([]byte, 4+random.IntN(8))
		for j := range words[i] {
			words[i][j] = byte('a' + random.IntN(26))
		}
	}
	out := make([]byte, 0, n+page)
	for id := uint64(0); len(out) < n; id++ {
		start := len(out)
		out = binary.LittleEndian.AppendUint64(out, id)
		out = binary.LittleEndian.AppendUint64(out, 0x0020_0004_2000_0000+id%7)
		for len(out)-start < page*9/10 {
			out = appendRow(out, random, words)
		}
		out = append(out, make([]byte, start+page-len(out))...)
	}
	return out[:n]
}

func appendRow(out []byte, random *rand.Rand, words [][]byte) []byte {
	out = binary.LittleEndian.AppendUint64(out, random.Uint64()) // a key
	out = binary.LittleEndian.AppendUint64(out, random.Uint64())
	out = binary.LittleEndian.AppendUint32(out, uint32(1_700_000_000+random.IntN(1<<20)))
	out = append(out, 0, 0, 0, byte(random.IntN(4)))
	for range 6 {
		out = append(append(out, words[min(random.IntN(512), random.IntN(512))]...), ' ')
	}
	return append(out, "\x00\x01NULL\x00"...)
}

// readImage reads the blocks of an image that are not all zeroes, from where
// files are rather than tables.
func readImage(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	out := make([]byte, 0, contentBytes)
	block, zero := make([]byte, 4<<10), make([]byte, 4<<10)
	for len(out) < contentBytes {
		if _, err := io.ReadFull(f, block); err != nil {
			return nil, fmt.Errorf("bench: %s: only %d bytes of data: %w", path, len(out), err)
		}
		if !bytes.Equal(block, zero) {
			out = append(out, block...)
		}
	}
	return out, nil
}

// makeImage makes an ext4 image of files below tree, enough for content.
func makeImage(dir, tree string) (string, error) {
	files := filepath.Join(dir, "tree")
	if err := os.MkdirAll(files, 0o700); err != nil {
		return "", err
	}
	if err := copyFiles(files, tree, 2*contentBytes); err != nil {
		return "", fmt.Errorf("bench: files for the ext4 image: %w", err)
	}
	image := filepath.Join(dir, "ext4.img")
	out, err := exec.Command("mke2fs", "-q", "-t", "ext4", "-d", files, image, "64M").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("bench: mke2fs: %w: %s", err, out)
	}
	return image, os.RemoveAll(files)
}

// copyFiles copies files below tree until there are n bytes of them.
func copyFiles(to, tree string, n int64) error {
	count := 0
	err := filepath.WalkDir(tree, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // what cannot be read is not needed
		}
		b, err := os.ReadFile(path)
		if err != nil || len(b) > 1<<20 {
			return nil
		}
		count++
		if n -= int64(len(b)); n < 0 {
			return fs.SkipAll
		}
		return os.WriteFile(filepath.Join(to, fmt.Sprintf("%05d", count)), b, 0o600)
	})
	if err == nil && n >= 0 {
		err = fmt.Errorf("%s is %d bytes too small", tree, n)
	}
	return err
}
