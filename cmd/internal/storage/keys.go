package storage

import (
	"context"
	"path/filepath"

	"tlog/crypto"
	"tlog/stor"
)

// keyPath is where the key file is, or should be.
func (f *Flags) keyPath() string {
	if f.KeyFile == "" && f.DataDir != "" {
		return filepath.Join(f.DataDir, "key")
	}
	return f.KeyFile
}

// writerKeys loads the key file, or makes it where nothing can have been
// encrypted with another yet.
func (f *Flags) writerKeys(ctx context.Context, pool *stor.Pool) (*crypto.Keyring, error) {
	path := f.keyPath()
	if path == "" {
		if f.Memory || f.Discard {
			return crypto.NewKeyring()
		}
		return nil, usagef("--key-file FILE is needed: make one with tlogctl stores init, or tlogctl key new FILE")
	}
	if fileExists(path) {
		return loadKeys(path)
	}
	vdisks, err := pool.Vdisks(ctx)
	if err != nil {
		return nil, err
	}
	if len(vdisks) > 0 {
		return nil, configf("key file %s does not exist, but the pool holds %d vdisks that were encrypted with it: bring it back", path, len(vdisks))
	}
	keys, err := crypto.CreateKeyFile(path)
	if err != nil {
		return nil, configError{err}
	}
	return keys, nil
}

// readerKeys loads the key file; without needed a missing one is no error.
func (f *Flags) readerKeys(needed bool) (*crypto.Keyring, error) {
	path := f.keyPath()
	switch {
	case path == "" && needed:
		return nil, usagef("--key-file FILE is needed to decode the log")
	case path == "" || !needed && f.KeyFile == "" && !fileExists(path):
		return nil, nil
	}
	return loadKeys(path)
}

func loadKeys(path string) (*crypto.Keyring, error) {
	keys, err := crypto.LoadKeyFile(path)
	if err != nil {
		return nil, configError{err}
	}
	return keys, nil
}

// EnsureKeyFile makes the key file of the flags if there is none; created
// tells which.
func (f *Flags) EnsureKeyFile() (path string, created bool, err error) {
	path = f.keyPath()
	if path == "" {
		return "", false, usagef("--key-file FILE is needed")
	}
	if fileExists(path) {
		_, err = loadKeys(path)
		return path, false, err
	}
	if _, err = crypto.CreateKeyFile(path); err != nil {
		return path, false, configError{err}
	}
	return path, true, nil
}
