// Command tlognbd serves disks to NBD clients.
//
//	tlognbd serve VDISK --size SIZE [--server ADDR[,ADDR…]] [--base FILE] [--takeover]
//	              [--group NAME [--group-dir DIR]] [--listen ADDR|unix:PATH] [--flush-deadline D] [STORAGE]
//
// serves a live disk: every write goes to the vdisk's log at a tlogserver, and
// the current content is kept in a base image, a sparse local file. STORAGE is
// where that server keeps the log; with it a base that is missing or behind,
// as after a crash, is brought up to the log. The disks of a group share a clock,
// so that all of them can be had at one moment (docs/groups.md).
//
//	tlognbd mount VDISK --at WHEN [--snap-to flush|any] [--cow FILE] [--cache FILE] [--hydrate=false]
//	              [--index DIR] [--listen ADDR|unix:PATH] STORAGE
//
// serves the disk as it was at WHEN: at once, whatever it holds. It reads the
// log's index, which it brings up to date first, and of the log what is asked
// for; in the background it hydrates, that is, brings the rest here, newest first,
// and says how far it is on standard error. The disk is read only, unless --cow
// names a file, an overlay, that takes what is written: what was flushed is found
// there by the next mount of the same moment, whatever happened meanwhile. A
// moment that the log does not cover is exit code 2, and shows what it covers.
//
//	tlognbd mount --group NAME [VDISK…] --at WHEN --sockets DIR [--exact] [--snap-to flush|any] [--cow DIR]
//	              [--hydrate=false] [--index DIR] STORAGE
//
// mounts the disks of a group at one moment, each on DIR/VDISK.sock. It stays,
// as the parent of an nbdkit for each, and ends with any of them.
//
// tlognbd checks the command line and then becomes nbdkit, in the foreground,
// with the plugin nbdkit-tlog-plugin.so that lies beside it. SIGTERM makes what
// was accepted durable before the process ends. Exit codes: 0 done, 1 failed,
// 2 usage, 3 configuration, base image, overlay or cache, 4 data integrity,
// 5 fenced: another client has the vdisk, 6 not enough shard servers, 7 not fully
// flushed.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"tlog/cmd/internal/storage"
)

var errCommand = errors.New("name a command: serve or mount; see tlognbd --help")

func main() {
	err := command().Execute()
	if err != nil {
		fmt.Fprintf(os.Stderr, "tlognbd: %v\n", err)
	}
	os.Exit(storage.ExitCode(err))
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:           "tlognbd",
		Short:         "serve protected disks over NBD",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return storage.Usage(errCommand)
		},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return storage.Usage(err) })
	serve, mount := serveCommand(), mountCommand()
	for _, c := range []*cobra.Command{root, serve, mount} {
		want := c.Args
		c.Args = func(cmd *cobra.Command, args []string) error {
			if err := want(cmd, args); err != nil {
				return storage.Usage(fmt.Errorf("%w; see %s --help", err, cmd.CommandPath()))
			}
			return nil
		}
	}
	root.AddCommand(serve, mount)
	return root
}
