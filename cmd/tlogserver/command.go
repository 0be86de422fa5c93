package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tlog/aggregate"
	"tlog/cmd/internal/storage"
	"tlog/server"
)

// Times of the command that are not flags.
const (
	shutdownTime = 30 * time.Second // to make durable what was accepted
	spaceEvery   = time.Minute      // looks at the room left
	statusTime   = 5 * time.Second  // for the look at start-up
)

// options are the flags that are not storage's.
type options struct {
	storage       storage.Flags
	listen        string
	insecure      bool
	flushSize     int
	grow          bool // flush-size was not given
	flushTime     time.Duration
	memoryBudget  string
	repairRate    string
	scrubEvery    time.Duration
	metricsListen string
	verbose       bool

	out   io.Writer
	log   *slog.Logger
	flags *pflag.FlagSet // as they were given, and as the file said at start
}

func command(out, errs io.Writer) *cobra.Command {
	o := &options{out: out}
	c := &cobra.Command{
		Use:           "tlogserver",
		Short:         "take the record streams of virtual disks, and keep them",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return storage.Usage(fmt.Errorf("unexpected argument %q; see tlogserver --help", args[0]))
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.storage.ReadConfig(c.Flags()); err != nil {
				return err
			}
			o.grow = !c.Flags().Changed("flush-size")
			level := slog.LevelInfo
			if o.verbose {
				level = slog.LevelDebug
			}
			o.log = slog.New(slog.NewTextHandler(errs, &slog.HandlerOptions{Level: level}))
			o.flags = c.Flags()
			return o.run(c.Context())
		},
	}
	c.SetOut(out)
	c.SetErr(errs)
	o.register(c.Flags())
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return storage.Usage(err) })
	return c
}

func (o *options) register(f *pflag.FlagSet) {
	o.storage.Register(f, true)
	f.StringVar(&o.listen, "listen", "127.0.0.1:11211", "HOST:PORT or unix:PATH to serve clients on")
	f.BoolVar(&o.insecure, "insecure", false, "allow addresses that other machines reach: the protocol is neither encrypted nor authenticated")
	f.IntVar(&o.flushSize, "flush-size", 256, "records of an aggregation, the unit that is stored; if it is not given, more when they come faster than they are stored")
	f.DurationVar(&o.flushTime, "flush-time", time.Second, "longest time a record waits for others when nobody asks for a flush")
	f.StringVar(&o.memoryBudget, "memory-budget", "256MiB", "most memory for records that are on their way; when it is used up, clients wait")
	f.StringVar(&o.repairRate, "repair-rate", "32MiB", "most that repair and scrub read and write a second")
	f.DurationVar(&o.scrubEvery, "scrub-every", 7*24*time.Hour, "how often every shard of a vdisk is read and checked")
	f.StringVar(&o.metricsListen, "metrics-listen", "", "HOST:PORT for Prometheus metrics at /metrics (empty: none)")
	f.BoolVar(&o.verbose, "verbose", false, "log every connection and aggregation")
}

// config checks the flags.
func (o *options) config() (server.Config, error) {
	budget, err := humanize.ParseBytes(o.memoryBudget)
	switch {
	case err != nil || budget < 32<<20 || budget > 1<<40:
		return server.Config{}, o.storage.Wrong(fmt.Errorf("--memory-budget %q: want a size from 32MiB to 1TiB", o.memoryBudget))
	case o.flushSize < 1 || o.flushSize > 1<<20:
		return server.Config{}, o.storage.Wrong(fmt.Errorf("--flush-size %d: want 1 to %d records", o.flushSize, 1<<20))
	case o.flushTime <= 0 || o.flushTime > time.Hour:
		return server.Config{}, o.storage.Wrong(fmt.Errorf("--flush-time %v: want more than 0 and at most 1h", o.flushTime))
	}
	rate, err := humanize.ParseBytes(o.repairRate)
	switch {
	case err != nil || rate < 1<<20 || rate > 1<<40:
		return server.Config{}, o.storage.Wrong(fmt.Errorf("--repair-rate %q: want a size from 1MiB to 1TiB", o.repairRate))
	case o.scrubEvery < time.Minute:
		return server.Config{}, o.storage.Wrong(fmt.Errorf("--scrub-every %v: want at least 1m", o.scrubEvery))
	}
	records := o.flushSize
	if o.grow {
		records = 0 // the same, and more when the stores are slow
	}
	return server.Config{
		RepairRate: int64(rate), ScrubEvery: o.scrubEvery,
		Aggregate:    aggregate.Config{MaxRecords: records, MaxAge: o.flushTime},
		MemoryBudget: int(budget),
		Logger:       o.log,
	}, nil
}

// run opens the storage and serves until ctx ends.
func (o *options) run(ctx context.Context) (err error) {
	hangup, stop := hangups()
	defer stop()
	cfg, err := o.config()
	if err != nil {
		return err
	}
	if err := errors.Join(o.checkAddress("listen", o.listen), o.checkAddress("metrics-listen", o.metricsListen)); err != nil {
		return err
	}
	if s := &o.storage; s.DataDir == "" && len(s.StorageAddresses) == 0 && !s.Memory && !s.Discard {
		s.DataDir = "./tlog-data"
	}
	opened, err := o.storage.OpenWriter(ctx, o.log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, opened.Close()) }()
	cfg.Pool, cfg.Keys, cfg.Durability = opened.Pool, opened.Keys, opened.Promise
	srv, err := server.New(cfg)
	if err != nil {
		return err
	}
	ln, err := listen(o.listen)
	if err != nil {
		return err
	}
	o.announce(ctx, opened, ln.Addr())
	return o.serve(ctx, srv, opened, ln, hangup)
}

// announce says where data goes, what FlushOK promises and how long the room
// lasts, then where clients may come to.
func (o *options) announce(ctx context.Context, opened *storage.Opened, addr net.Addr) {
	ctx, cancel := context.WithTimeout(ctx, statusTime)
	defer cancel()
	var w server.SpaceWatch
	space, _ := w.Observe(time.Now(), opened.Pool.Status(ctx))
	_, _ = fmt.Fprintf(o.out, "data goes to %s; %s; %s\n", opened.Where, opened.Promise, space)
	_, _ = fmt.Fprintf(o.out, "listening on %s\n", address(addr))
}

// serve runs the server and what goes with it, until ctx ends or it fails;
// then what was accepted is flushed.
func (o *options) serve(ctx context.Context, srv *server.Server, opened *storage.Opened, ln net.Listener, hangup <-chan os.Signal) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var beside sync.WaitGroup
	defer beside.Wait()
	defer cancel()
	stopMetrics, err := o.serveMetrics(srv)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	defer stopMetrics()
	beside.Go(func() { server.WatchSpace(ctx, opened.Pool, spaceEvery, o.log) })
	beside.Go(func() { o.watchHangups(ctx, opened.Pool, hangup) })

	err = srv.Serve(ctx, ln)
	o.log.Info("shutting down")
	deadline, done := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer done()
	if lost := srv.Shutdown(deadline); lost != nil {
		return &storage.Exit{Code: storage.ExitNotFlushed, Err: errors.Join(err, lost)}
	}
	return err
}
