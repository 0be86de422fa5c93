// Command tlogctl is the operator's tool: it looks at logs, verifies them and
// restores disks from them. It only reads, unless the verb says otherwise.
//
// Results go to standard output (--json: one object a line), everything else
// to standard error. Exit codes: 0 done, 1 failed, 2 usage, 3 configuration or
// key, 4 data integrity, 5 fenced, 6 not enough or unsafe shard servers, 7 not
// fully flushed.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"tlog/cmd/internal/storage"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal is not caught
	err := command().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "tlogctl: %v\n", err)
	}
	os.Exit(storage.ExitCode(err))
}

// tool is what every subcommand has.
type tool struct {
	storage storage.Flags
	indexes storage.Index
	json    bool
	log     *slog.Logger
}

func command() *cobra.Command {
	t := &tool{log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	root := &cobra.Command{
		Use:           "tlogctl",
		Short:         "look at, verify and restore the logs of virtual disks",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return storage.Usage(errors.New("want a command; see tlogctl --help"))
		},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return t.storage.ReadConfig(cmd.Flags())
		},
	}
	t.storage.Register(root.PersistentFlags(), false)
	t.indexes.Register(root.PersistentFlags())
	root.PersistentFlags().BoolVar(&t.json, "json", false, "one JSON object a line on standard output")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return storage.Usage(err) })
	root.AddCommand(t.withGroup(t.restoreCommand()), t.mountCommand(), t.rollbackCommand(), t.lsCommand(), t.infoCommand(), t.pointsCommand(), t.diffCommand(), t.indexCommand(), t.dumpCommand())
	root.AddCommand(t.importCommand(), t.exportCommand(), t.copyCommand(), t.promoteCommand(), t.bookmarkCommand())
	root.AddCommand(t.verifyCommand(), t.scrubCommand(), t.repairCommand(), t.storesCommand(), t.keyCommand(), t.benchCommand(), t.benchLoadCommand())
	checkArgs(root)
	return root
}

// checkArgs makes a wrong number of arguments, or an unknown verb, a usage error.
func checkArgs(c *cobra.Command) {
	want := c.Args
	c.Args = func(cmd *cobra.Command, args []string) error {
		if want == nil {
			return nil
		}
		if err := want(cmd, args); err != nil {
			return storage.Usage(fmt.Errorf("%s: %w; see %s --help", cmd.Name(), err, cmd.CommandPath()))
		}
		return nil
	}
	for _, sub := range c.Commands() {
		checkArgs(sub)
	}
}
