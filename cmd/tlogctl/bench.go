package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"tlog/cmd/internal/storage"
	"tlog/internal/bench"
)

// loadCommand makes tlogctl the client of a measurement.
const loadCommand = "bench-load"

type benchOptions struct {
	cfg     bench.Config
	grid    bench.Grid
	records []string
	lengths []string
	past    string
}

func (t *tool) benchCommand() *cobra.Command { return t.benchCommandWith(&benchOptions{}) }

func (t *tool) benchCommandWith(o *benchOptions) *cobra.Command {
	c := &cobra.Command{
		Use:   "bench [NAME…]",
		Short: "measure this machine with real processes: client, server, stores",
		Long: "Measures tlog with real processes, beside what it cannot be faster than, and says\n" +
			"which of its targets are met. Everything runs on this machine, on free ports and in\n" +
			"a directory of its own, and nothing is left behind.\n\n" +
			"NAME = " + strings.Join(bench.Suites, " | ") + " (none: all of them)\n" +
			"       targets: those that the table of targets needs\n" +
			"       stream | sync | paced: every combination of --store, --record, …",
		RunE: func(cmd *cobra.Command, args []string) error { return t.bench(cmd, o, args) },
	}
	f := c.Flags()
	f.IntVar(&o.cfg.Runs, "runs", 3, "turns; the median of them counts")
	f.DurationVar(&o.cfg.For, "time", 1500*time.Millisecond, "of each measurement")
	f.DurationVar(&o.cfg.Warm, "warm", 1500*time.Millisecond, "before each measurement")
	f.StringVar(&o.cfg.Dir, "dir", "", "where stores and disks are made (empty: the system's directory for temporary files)")
	f.StringVar(&o.cfg.Image, "image-dir", "", "where restored disks are written (empty: /dev/shm, as the store is what is measured)")
	f.StringVar(&o.cfg.Tree, "tree", "/usr", "files of which the ext4 image is made")
	f.StringSliceVar(&o.grid.Stores, "store", []string{bench.StoreNull, bench.StoreRedis, bench.StoreAlways, bench.StoreFile}, "stores")
	f.StringSliceVar(&o.records, "record", []string{"4K"}, "sizes of records")
	f.IntSliceVar(&o.grid.Aggregations, "aggregation", []int{256}, "records of an aggregation")
	f.StringSliceVar(&o.grid.Hashes, "hash", []string{"blake2b"}, "record hashes: blake2b, sha256")
	f.StringSliceVar(&o.grid.Data, "data", []string{bench.DataRandom}, "what records hold: random, ext4, db")
	f.IntSliceVar(&o.grid.Depths, "depth", []int{1, 32}, "writers that wait for a flush at once, for sync")
	f.IntSliceVar(&o.grid.Vdisks, "vdisks", []int{1}, "vdisks at once; for the part vdisks: 1,10,100,1000 unless given")
	f.StringSliceVar(&o.lengths, "log-length", []string{"64M", "768M"}, "lengths of logs, for the part open; if given, the first is also that of the part restore")
	f.StringVar(&o.past, "past-disk", "256M", "size of the disk of the part past, whose log is twice and then four times as long")
	f.BoolVar(&o.grid.Shared, "shared", false, "the client is given data without a copy")
	return c
}

func (t *tool) benchLoadCommand() *cobra.Command {
	return &cobra.Command{
		Use: loadCommand, Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return bench.ServeLoad(cmd.Context(), os.Stdin, os.Stdout)
		},
	}
}

func (t *tool) bench(cmd *cobra.Command, o *benchOptions, args []string) error {
	cases, err := o.cases(cmd, args)
	if err != nil {
		return storage.Usage(err)
	}
	if o.cfg.Self, err = os.Executable(); err != nil {
		return err
	}
	dir := filepath.Dir(o.cfg.Self)
	o.cfg.LoadCommand, o.cfg.Server, o.cfg.NBD = loadCommand, filepath.Join(dir, "tlogserver"), filepath.Join(dir, "tlognbd")
	o.cfg.Progress = prefixed{}
	r, err := bench.Run(cmd.Context(), o.cfg, cases)
	if err != nil {
		return err
	}
	switch {
	case t.json:
		return r.JSON(cmd.OutOrStdout())
	case slices.Equal(args, []string{"targets"}):
		return r.TargetsText(cmd.OutOrStdout())
	}
	return r.Text(cmd.OutOrStdout())
}

// prefixed is standard error, with the program's name.
type prefixed struct{}

func (prefixed) Write(b []byte) (int, error) {
	_, err := fmt.Fprintf(os.Stderr, "tlogctl: bench: %s", b)
	return len(b), err
}

// cases are what the arguments name.
func (o *benchOptions) cases(cmd *cobra.Command, args []string) ([]bench.Case, error) {
	o.grid.Records = nil
	records, err := sizes(o.records, 16<<20)
	if err != nil {
		return nil, fmt.Errorf("--record: %w", err)
	}
	for _, n := range records {
		o.grid.Records = append(o.grid.Records, int(n))
	}
	lengths, err := sizes(o.lengths, 3<<30)
	if err != nil {
		return nil, fmt.Errorf("--log-length: %w", err)
	}
	for _, n := range lengths {
		if n%(1<<20) != 0 {
			return nil, errors.New("--log-length: want whole MiB")
		}
	}
	past, err := sizes([]string{o.past}, 8<<30)
	if err != nil || past[0]%(1<<20) != 0 {
		return nil, fmt.Errorf("--past-disk %s: want whole MiB: %w", o.past, err)
	}
	g := bench.Growth{Vdisks: []int{1, 10, 100, 1000}, Lengths: lengths, Restored: 256 << 20, Past: past[0]}
	if cmd.Flags().Changed("vdisks") {
		g.Vdisks = o.grid.Vdisks
	}
	if cmd.Flags().Changed("log-length") {
		g.Restored = lengths[0]
	}
	var names []string
	for _, a := range args {
		switch a {
		case bench.ModeStream, bench.ModeSync, bench.ModePaced:
			o.grid.Modes = append(o.grid.Modes, a)
		case "targets":
			names = append(names, bench.TargetSuites...)
		default:
			names = append(names, a)
		}
	}
	cases := o.grid.Cases()
	if len(names) == 0 && len(args) > 0 {
		return cases, nil
	}
	planned, err := bench.Plan(names, g)
	return append(planned, cases...), err
}

// sizes are bytes, K, M or G being powers of 1024.
func sizes(texts []string, most int64) (list []int64, err error) {
	for _, s := range texts {
		unit := s
		if n := len(s); n > 0 && strings.Contains("KMG", s[n-1:]) {
			unit += "iB"
		}
		n, err := humanize.ParseBytes(unit)
		if err != nil || n < 1 || n > uint64(most) {
			return nil, fmt.Errorf("%q: want a size up to %s", s, humanize.IBytes(uint64(most)))
		}
		list = append(list, int64(n))
	}
	return list, nil
}
