//go:build nbdkit

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"tlog"
	"tlog/client"
	"tlog/cmd/internal/storage"
	"tlog/group"
	"tlog/past"
	"tlog/player"
	"tlog/vdisk"
)

// parameters are what nbdkit's command line says.
type parameters struct {
	disk    vdisk.Config
	moment  moment       // instead of a live disk
	group   group.Config // Name is empty: the disk is in none
	storage storage.Flags
	flags   *pflag.FlagSet // the storage's
	output  *os.File       // standard output
}

func newSettings() *parameters {
	p := &parameters{flags: pflag.NewFlagSet("", pflag.ContinueOnError)}
	p.disk.FlushDeadline = 30 * time.Second
	p.group.Dir = group.DefaultDir
	p.storage.Register(p.flags, false)
	p.moment.indexes.Register(pflag.NewFlagSet("", pflag.ContinueOnError)) // so that it knows its default
	return p
}

// set takes one key=value.
func (p *parameters) set(key, value string) (err error) {
	switch key {
	case "vdisk":
		p.disk.Vdisk = tlog.VdiskID(value)
	case "size":
		p.disk.Size, err = strconv.ParseInt(value, 10, 64)
	case "base":
		p.disk.Base = value
	case "server":
		p.disk.Servers = strings.Split(value, ",")
	case "group":
		p.group.Name, err = value, group.CheckName(value)
	case "group-dir":
		p.group.Dir = value
	case "takeover":
		p.disk.Takeover, err = strconv.ParseBool(value)
	case "flush-deadline":
		p.disk.FlushDeadline, err = time.ParseDuration(value)
	default:
		var ours bool
		if ours, err = p.moment.set(key, value); ours {
			break
		}
		if p.flags.Lookup(key) == nil {
			return fmt.Errorf("unknown parameter %s; start the plugin by tlognbd", key)
		}
		err = p.flags.Set(key, value)
	}
	if err != nil {
		return fmt.Errorf("%s=%s: %w", key, value, err)
	}
	return nil
}

// check finds what is missing before anything is opened.
func (p *parameters) check() error {
	if p.moment.when != "" {
		if p.disk.Vdisk == "" {
			return errors.New("vdisk is needed; start the plugin by tlognbd mount")
		}
		return p.storage.ReadConfig(p.flags)
	}
	if p.disk.Vdisk == "" || p.disk.Base == "" || p.disk.Size == 0 || len(p.disk.Servers) == 0 {
		return errors.New("vdisk, size, base and server are needed; start the plugin by tlognbd serve")
	}
	if p.disk.FlushDeadline <= 0 {
		return errors.New("flush-deadline is not positive")
	}
	return p.storage.ReadConfig(p.flags)
}

// join attaches to the group's clock, which stays for the life of the process.
// Without a group there is none.
func (p *parameters) join() (*group.Clock, error) {
	if p.group.Name == "" {
		return nil, nil
	}
	return group.Open(p.group)
}

// open attaches to the vdisk, whose writes come through in.
func (p *parameters) open(ctx context.Context, log *slog.Logger, in *intake) (*vdisk.Disk, error) {
	cfg := p.disk
	clock, err := p.join()
	if err != nil {
		return nil, err
	}
	if clock != nil {
		in.stamp(clock)
		cfg.Clock = clock
	}
	cfg.Logger, cfg.Returned, cfg.Gather = log, in.returned, in.gather
	if p.storage.Given() {
		history := &history{storage: &p.storage, vdisk: cfg.Vdisk, log: log}
		cfg.CatchUp, cfg.Rebuild = history.catchUp, history.rebuild
	}
	told := lines{out: os.Stderr, began: time.Now()}
	cfg.Progress = func(p vdisk.Progress) {
		told.what = fmt.Sprintf("vdisk %s: base brought to record %d", cfg.Vdisk, p.To)
		told.tell(p.Done, "")
	}
	return vdisk.Open(ctx, cfg)
}

// keepOutput holds on to standard output, which nbdkit replaces by /dev/null
// before it serves.
func (p *parameters) keepOutput() error {
	fd, err := unix.FcntlInt(1, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return fmt.Errorf("standard output: %w", err)
	}
	p.output = os.NewFile(uintptr(fd), "stdout")
	return nil
}

// say prints the one line that standard output gets. Whoever reads it may be
// gone: that is no reason not to serve.
func (p *parameters) say(format string, a ...any) {
	fmt.Fprintf(p.output, format, a...)
	p.output.Close() //nolint:errcheck // nothing is lost
}

// announce says that the disk is there.
func (p *parameters) announce(s client.Session) {
	p.say("tlognbd: vdisk %s, %s, serving on %s; logged by %s; %s\n",
		p.disk.Vdisk, humanize.IBytes(uint64(p.disk.Size)), listening(), s.Server, s.Durability)
}

// exitCode is the exit code of every tlog program for err.
func exitCode(err error) int {
	switch {
	case errors.Is(err, client.ErrNotFlushed), errors.Is(err, past.ErrNotFlushed):
		return storage.ExitNotFlushed
	case errors.Is(err, client.ErrFenced), errors.Is(err, client.ErrDenied):
		return storage.ExitFenced
	case errors.Is(err, player.ErrRange):
		return storage.ExitUsage
	case errors.Is(err, group.ErrClock), errors.Is(err, vdisk.ErrBase), errors.Is(err, vdisk.ErrBehind), errors.Is(err, client.ErrRefused), errors.Is(err, past.ErrFile) && tlog.ClassOf(err) != tlog.Corrupt:
		return storage.ExitConfig
	}
	return storage.ExitCode(err)
}
