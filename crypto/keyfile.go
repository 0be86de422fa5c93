package crypto

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// A key file is text of at most 64 KiB:
//
//	tlog key file 1
//	# anything
//	key ID SECRET
//
// The first line is the format and its version. Each key line has the key's id
// (16 hexadecimal digits) and the key (64). The id is derived from the key, so
// a slip in either is found. The first key is current, more may follow.
const (
	keyFileMagic   = "tlog key file "
	keyFileVersion = 1
	maxKeyFile     = 64 << 10
)

// LoadKeyFile reads a key file. It refuses one that group or others may
// access, one that is not a regular file, and a malformed one; ErrVersion: a
// newer tlog wrote it. No error shows the file's content.
func LoadKeyFile(path string) (*Keyring, error) {
	// Without O_NONBLOCK, opening a named pipe would wait for a writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("crypto: key file: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("crypto: key file: %w", err)
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("crypto: key file %s is not a regular file", path)
	}
	if perm := st.Mode().Perm(); perm&0o077 != 0 {
		return nil, fmt.Errorf("crypto: key file %s is open to others (mode %04o); run: chmod 600 %s", path, perm, path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, fmt.Errorf("crypto: key file: %w", err)
	}
	ring, err := parseKeyFile(b)
	if err != nil {
		return nil, fmt.Errorf("crypto: key file %s: %w", path, err)
	}
	return ring, nil
}

func parseKeyFile(b []byte) (*Keyring, error) {
	if len(b) == 0 {
		return nil, errors.New("is empty: its creation was interrupted; if nothing was stored with it yet, delete it and start again")
	}
	if len(b) > maxKeyFile {
		return nil, fmt.Errorf("is longer than %d bytes", maxKeyFile)
	}
	lines := strings.Split(string(b), "\n")
	version, ok := strings.CutPrefix(strings.TrimSpace(lines[0]), keyFileMagic)
	if !ok {
		return nil, fmt.Errorf("does not begin with %q", keyFileMagic+"1")
	}
	switch v, err := strconv.ParseUint(version, 10, 32); {
	case err != nil || v == 0:
		return nil, errors.New("names no version")
	case v > keyFileVersion:
		return nil, fmt.Errorf("version %d: %w", v, ErrVersion)
	}
	ring := &Keyring{}
	for i, line := range lines[1:] {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		k, err := parseKeyLine(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+2, err)
		}
		for j := range ring.keks {
			if ring.keks[j].id == k.id {
				return nil, fmt.Errorf("line %d: key %016x stands there twice", i+2, k.id)
			}
		}
		ring.keks = append(ring.keks, k)
	}
	if len(ring.keks) == 0 {
		return nil, errors.New("holds no key")
	}
	return ring, nil
}

// parseKeyLine reads "key ID SECRET". Its errors do not quote the line.
func parseKeyLine(line string) (kek, error) {
	var k kek
	f := strings.Fields(line)
	if len(f) != 3 || f[0] != "key" || len(f[1]) != 16 || len(f[2]) != 2*keySize {
		return k, errors.New("is not of the form: key, id of 16 digits, secret of 64 digits")
	}
	id, err := strconv.ParseUint(f[1], 16, 64)
	if err != nil {
		return k, errors.New("the key's id is not hexadecimal")
	}
	if _, err := hex.Decode(k.secret[:], []byte(f[2])); err != nil {
		return k, errors.New("the key is not hexadecimal")
	}
	if k.id = keyID(labelKEKID, &k.secret); k.id != id {
		return k, errors.New("the key does not fit its id: one of them was changed")
	}
	return k, nil
}

// formatKeyFile is the text of a key file that parseKeyFile reads.
func formatKeyFile(ring *Keyring) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s%d\n", keyFileMagic, keyFileVersion)
	b.WriteString("# Whoever reads this file can read the vdisks; without it nobody can.\n" +
		"# Keep a copy away from the shard servers.\n")
	for i := range ring.keks {
		fmt.Fprintf(&b, "key %016x %x\n", ring.keks[i].id, ring.keks[i].secret[:])
	}
	return b.Bytes()
}

// CreateKeyFile makes a key file of mode 0600 with one fresh random key. When
// it returns, file and directory entry are on stable storage. An existing file
// is left alone: errors.Is(err, fs.ErrExist).
func CreateKeyFile(path string) (*Keyring, error) {
	ring, err := NewKeyring()
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("crypto: create key file: %w", err)
	}
	_, err = f.Write(formatKeyFile(ring))
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		rerr := os.Remove(path)
		if errors.Is(rerr, fs.ErrNotExist) {
			rerr = nil
		}
		return nil, fmt.Errorf("crypto: create key file: %w", errors.Join(err, rerr))
	}
	return ring, nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
