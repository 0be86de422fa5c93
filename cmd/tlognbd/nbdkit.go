package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"tlog/cmd/internal/storage"
)

// findPlugin finds the plugin beside this program.
func findPlugin() (string, error) {
	self, err := os.Executable()
	if err == nil {
		self, err = filepath.EvalSymlinks(self)
	}
	if err != nil {
		return "", err
	}
	path := filepath.Join(filepath.Dir(self), "nbdkit-tlog-plugin.so")
	if _, err := os.Stat(path); err != nil {
		return "", &storage.Exit{Code: storage.ExitConfig, Err: fmt.Errorf("the plugin must lie beside this program: %w: make build makes both", err)}
	}
	return path, nil
}

// become replaces this process by another program: signals and exit codes are
// then its own, and nothing stands between.
func become(program string, args []string) error {
	path, err := exec.LookPath(program)
	if err != nil {
		return &storage.Exit{Code: storage.ExitConfig, Err: fmt.Errorf("%w: install the package nbdkit", err)}
	}
	return fmt.Errorf("%s: %w", path, syscall.Exec(path, append([]string{program}, args...), os.Environ()))
}

// removeStale removes a unix socket that nobody serves any more: nbdkit leaves
// its own behind and cannot bind where one lies.
func removeStale(path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	if st.Mode()&fs.ModeSocket == 0 {
		return &storage.Exit{Code: storage.ExitConfig, Err: fmt.Errorf("--listen unix:%s: there is something that is not a socket", path)}
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		return errors.Join(&storage.Exit{Code: storage.ExitConfig, Err: fmt.Errorf("--listen unix:%s: another process serves it", path)}, c.Close())
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("--listen: %w", err)
	}
	return os.Remove(path)
}
