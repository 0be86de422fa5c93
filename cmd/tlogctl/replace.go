package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"tlog/cmd/internal/storage"
	"tlog/stor"
)

// replacement is what `stores replace` was asked for.
type replacement struct {
	*tool
	slot   int
	server string
	force  bool
}

func (t *tool) replaceCommand() *cobra.Command {
	r := &replacement{tool: t}
	c := &cobra.Command{
		Use:   "replace (--slot N | --server OLD) [NEW]",
		Short: "give the place of a lost shard server to an empty one, for good",
		Long: "NEW is the address of an empty Redis; without it, the server is meant that is empty now at\n" +
			"its old address, or, of an embedded store, the directory that is gone and is made again.\n" +
			"STORAGE lists the pool as it is so far. Servers go on writing meanwhile, and load the new\n" +
			"list of servers by themselves; one with a new address they meet when it is in their\n" +
			"configuration file and they get SIGHUP, or are started again. The old server never votes\n" +
			"again: wipe it before it is used for anything else. The new one votes when all logs are\n" +
			"repaired: tlogserver repairs those it serves, tlogctl repair --all the others.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.run(cmd.Context(), args, cmd.OutOrStdout())
		},
	}
	c.Flags().IntVar(&r.slot, "slot", -1, "number of the place, as stores check shows it")
	c.Flags().StringVar(&r.server, "server", "", "address or directory of the lost server")
	c.Flags().BoolVar(&r.force, "force", false, "replace it although it works")
	return c
}

func (r *replacement) run(ctx context.Context, args []string, out io.Writer) error {
	if (r.slot >= 0) == (r.server != "") {
		return storage.Usage(errors.New("replace: want one of --slot and --server"))
	}
	if len(args) > 0 && r.storage.DataDir != "" {
		return storage.Usage(errors.New("replace: the directory of an embedded store is made again in its place: name no other"))
	}
	o, err := r.storage.OpenForChange(ctx, r.log)
	if err != nil {
		return err
	}
	m, err := r.replace(ctx, o.Pool, args)
	if err = errors.Join(err, o.Close()); err != nil {
		return err
	}
	if r.json {
		return emit(out, m)
	}
	_, err = fmt.Fprintf(out, "slot %d has a new server; it votes when every log is repaired (version %d of pool %v)\n", r.slot, m.ConfigVersion, m.Pool)
	return err
}

func (r *replacement) replace(ctx context.Context, pool *stor.Pool, args []string) (*stor.Manifest, error) {
	status := pool.Status(ctx)
	if r.server != "" {
		r.slot = slices.IndexFunc(status, func(s stor.ServerStatus) bool { return s.Name == r.server && s.Slot >= 0 })
	}
	if m := pool.Manifest(); r.slot < 0 || r.slot >= m.P() {
		return nil, storage.Usage(fmt.Errorf("replace: no slot of the pool is known to be %s; see stores check, and give its --slot", r.server))
	}
	old := status[r.slot]
	if old.Err == nil && !old.Joining && !r.force {
		return nil, storage.Usage(fmt.Errorf("replace: %s works; say --force to take its place from it all the same", old.Name))
	}
	address := old.Name
	if len(args) > 0 {
		address = args[0]
	}
	if listed := pool.Listed(address); listed != nil && !r.gone(address) {
		return pool.Replace(ctx, r.slot, listed) // wiped where it was
	}
	fresh, err := r.storage.OpenServer(address, r.log)
	if err != nil {
		return nil, err
	}
	m, err := pool.Replace(ctx, r.slot, fresh)
	return m, errors.Join(err, fresh.Close())
}

// gone reports whether a directory of an embedded store is to be made again;
// the pool has it open for reading only.
func (r *replacement) gone(dir string) bool {
	if r.storage.DataDir == "" {
		return false
	}
	_, err := os.Lstat(dir)
	return errors.Is(err, os.ErrNotExist)
}
