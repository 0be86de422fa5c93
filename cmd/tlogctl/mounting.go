package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"tlog/cmd/internal/storage"
)

// mountCommand becomes tlognbd mount, with the same arguments: whoever restores a
// moment, or a group at one, finds mounting it under the same name.
func (t *tool) mountCommand() *cobra.Command {
	return &cobra.Command{
		Use:                "mount VDISK|--group G --at WHEN",
		Short:              "a moment of the past as a disk, at once (tlognbd mount)",
		DisableFlagParsing: true, // they are tlognbd's
		RunE: func(_ *cobra.Command, args []string) error {
			nbd, err := beside("tlognbd")
			if err == nil {
				err = syscall.Exec(nbd, append([]string{nbd, "mount"}, args...), os.Environ())
			}
			return &storage.Exit{Code: storage.ExitConfig, Err: fmt.Errorf("mount: %s: %w", nbd, err)}
		},
	}
}

// beside is the path of the program of that name in this one's directory.
func beside(name string) (string, error) {
	self, err := os.Executable()
	return filepath.Join(filepath.Dir(self), name), err
}
