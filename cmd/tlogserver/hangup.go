package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"tlog/cmd/internal/storage"
	"tlog/stor"
)

// addressesKey is the one key that may change while the server runs.
const addressesKey = "storage-addresses"

// hangups gives SIGHUP, which would end the process else.
func hangups() (_ <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	return c, func() { signal.Stop(c) }
}

// watchHangups reads the configuration again at every signal, until ctx ends.
func (o *options) watchHangups(ctx context.Context, pool *stor.Pool, hangup <-chan os.Signal) {
	for {
		select {
		case <-hangup:
		case <-ctx.Done():
			return
		}
		list, err := o.reload(ctx, pool)
		if err != nil {
			o.log.Error("the configuration was read again, and not all of it is in force", "error", err)
			continue
		}
		o.log.Info("the configuration was read again", addressesKey, list)
	}
}

// reload reads the flags and their file again and has the pool meet the shard
// servers that they list now. When anything else has changed nothing is done: a
// file that is in force by half would be worse than one that is not.
func (o *options) reload(ctx context.Context, pool *stor.Pool) (list []string, err error) {
	if o.storage.Config == "" {
		return nil, storage.Usage(fmt.Errorf("SIGHUP: started without --config, so there is nothing to read again"))
	}
	again, flags, err := o.again()
	if err != nil {
		return nil, err
	}
	var changed []string
	o.flags.VisitAll(func(f *pflag.Flag) {
		if now := flags.Lookup(f.Name); now != nil && f.Name != addressesKey && now.Value.String() != f.Value.String() {
			changed = append(changed, fmt.Sprintf("%s (%s, in force is %s)", f.Name, now.Value, f.Value))
		}
	})
	switch {
	case len(changed) > 0:
		return nil, fmt.Errorf("config: %s: only %s may change without a restart, and %s did: nothing was taken over", o.storage.Config, addressesKey, strings.Join(changed, ", "))
	case len(again.storage.StorageAddresses) == 0:
		return nil, fmt.Errorf("config: %s: no %s: nothing was taken over", o.storage.Config, addressesKey)
	case flags.Lookup(addressesKey).Changed:
		return nil, fmt.Errorf("--%s is on the command line, which is stronger than the file: nothing was taken over", addressesKey)
	}
	if err := again.storage.Relist(ctx, pool); err != nil {
		return nil, err
	}
	return slices.Clone(again.storage.StorageAddresses), nil
}

// again parses the command line, and the file, as at the start.
func (o *options) again() (*options, *pflag.FlagSet, error) {
	again := &options{}
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	again.register(flags)
	var err error
	o.flags.Visit(func(f *pflag.Flag) { // those of the command line; the file sets values only
		to := flags.Lookup(f.Name)
		if to == nil || err != nil {
			return
		}
		to.Changed = true
		if list, ok := f.Value.(pflag.SliceValue); ok {
			err = to.Value.(pflag.SliceValue).Replace(list.GetSlice())
			return
		}
		err = to.Value.Set(f.Value.String())
	})
	if err == nil {
		err = again.storage.ReadConfig(flags)
	}
	if err == nil {
		_, err = again.config()
	}
	return again, flags, err
}
