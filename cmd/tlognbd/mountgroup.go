package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"tlog"
	"tlog/cmd/internal/storage"
	"tlog/group"
	"tlog/player"
)

// groupMount is the command line of a moment of all disks of a group.
type groupMount struct {
	*mount
	name    string
	vdisks  []string // named; none: those whose last record is the group's
	exact   bool
	sockets string // directory
}

// withGroup lets mount take --group instead of a vdisk.
func (m *mount) withGroup(c *cobra.Command) *cobra.Command {
	g := &groupMount{mount: m}
	f := c.Flags()
	f.StringVar(&g.name, "group", "", "mount all disks of a consistency group, at one moment, each on a socket in --sockets")
	f.StringVar(&g.sockets, "sockets", "", "with --group: directory in which each disk listens, as VDISK.sock")
	f.BoolVar(&g.exact, "exact", false, "with --group: keep a moment at which a disk that was killed may lack writes that it acknowledged and did not flush")
	c.Long += "\n\n--group G mounts every disk of a consistency group, at one moment of the clock that they\n" +
		"share. The disks are those whose last record is of the group, or those that are named.\n" +
		"--cow then names a directory with an overlay for each."
	one, args := c.RunE, c.Args
	c.Args = func(cmd *cobra.Command, a []string) error {
		if f.Changed("group") {
			return nil
		}
		return args(cmd, a)
	}
	c.RunE = func(cmd *cobra.Command, a []string) error {
		if !f.Changed("group") {
			return one(cmd, a)
		}
		g.vdisks = a
		for _, other := range []string{"listen", "insecure", "cache"} {
			if f.Changed(other) {
				return usagef("--%s does not go with --group", other)
			}
		}
		if err := g.check(); err != nil {
			return err
		}
		return g.run(f.Lookup("index").Value.String())
	}
	return c
}

func (g *groupMount) check() error {
	if err := group.CheckName(g.name); err != nil {
		return usagef("--group: %w", err)
	}
	if g.sockets == "" {
		return usagef("--sockets DIR is needed: where the disks of the group listen")
	}
	for _, v := range g.vdisks {
		if err := tlog.VdiskID(v).Check(); err != nil {
			return storage.Usage(err)
		}
	}
	one := *g.mount
	one.vdisk = "one-of-them"
	return one.check()
}

// run serves the disks until it is told to end, or one of them ends.
func (g *groupMount) run(index string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cut, err := g.cut(ctx, index)
	if err != nil {
		return err
	}
	for _, dir := range []string{g.sockets, g.cow} {
		if dir != "" {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return err
			}
		}
	}
	running := 0
	ended := make(chan error, len(cut))
	var disks []*exec.Cmd
	for _, p := range cut {
		cmd, err := g.command(p)
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			return errors.Join(err, end(disks, running, ended))
		}
		running++
		disks = append(disks, cmd)
		go func() { ended <- cmd.Wait() }()
	}
	select {
	case <-ctx.Done():
		return end(disks, running, ended)
	case err := <-ended:
		if err == nil {
			err = errors.New("a disk of the group ended")
		}
		return errors.Join(exitOf(err), end(disks, running-1, ended))
	}
}

// end ends disks, of which so many still run.
func end(disks []*exec.Cmd, running int, ended <-chan error) (err error) {
	for _, d := range disks {
		_ = d.Process.Signal(syscall.SIGTERM) // it may have ended
	}
	for range running {
		err = errors.Join(err, exitOf(<-ended))
	}
	return err
}

// exitOf gives a disk's exit code to this process.
func exitOf(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return &storage.Exit{Code: exit.ExitCode(), Err: fmt.Errorf("a disk of the group ended: %w", err)}
	}
	return err
}

// cut finds the moment of each disk.
func (g *groupMount) cut(ctx context.Context, index string) ([]player.CutPoint, error) {
	opened, err := g.storage.OpenReader(ctx, slog.New(slog.NewTextHandler(os.Stderr, nil)), true)
	if err != nil {
		return nil, err
	}
	defer opened.Close() //nolint:errcheck // it was only read
	logs, err := opened.Members(ctx, g.name, g.vdisks)
	if err != nil {
		return nil, err
	}
	var disks []*player.Index
	for _, l := range logs {
		ix, err := l.OpenIndex(ctx, index, nil)
		if err != nil {
			return nil, err
		}
		defer ix.Close() //nolint:errcheck // what it lacked is written
		disks = append(disks, ix)
	}
	cut, err := player.NewCut(disks, g.wanted())
	if err != nil {
		return nil, err
	}
	g.tell(cut)
	return cut.Points, nil
}

// wanted is the cut that is asked for; check has seen that it can be read.
func (g *groupMount) wanted() player.CutConfig {
	cfg := player.CutConfig{Group: g.name, Exact: g.exact}
	cfg.When, _ = player.ParseWhen(g.at, time.Now())
	cfg.Snap, _ = player.ParseSnap(g.snap)
	return cfg
}

func (g *groupMount) tell(cut *player.Cut) {
	for _, m := range cut.Moved {
		fmt.Fprintf(os.Stderr, "tlognbd: moved back: the log of %s is not known to be complete after %s (its server was killed, or its last records are on their way)\n", m.Vdisk, m.Until.UTC().Format(time.RFC3339Nano))
	}
	for _, v := range cut.Absent {
		fmt.Fprintf(os.Stderr, "tlognbd: %s had no record yet, and is left out\n", v)
	}
	fmt.Fprintf(os.Stderr, "tlognbd: group %s at %s: %d disks\n", g.name, cut.Time.UTC().Format(time.RFC3339Nano), len(cut.Points))
}

// command is nbdkit with one disk, which ends when this process does.
func (g *groupMount) command(p player.CutPoint) (*exec.Cmd, error) {
	one := *g.mount
	one.vdisk, one.at, one.snap = p.Disk(), fmt.Sprintf("seq:%d", p.Sequence), "any"
	one.endpoint.listen = "unix:" + filepath.Join(g.sockets, string(p.Disk())+".sock")
	flags := []string{"--exit-with-parent"}
	if g.cow == "" {
		flags = append(flags, "-r")
	} else {
		one.cow = filepath.Join(g.cow, string(p.Disk())+".cow")
	}
	if err := one.endpoint.check(); err != nil {
		return nil, err
	}
	params, err := one.parameters()
	if err != nil {
		return nil, err
	}
	args, err := one.endpoint.arguments(flags, params)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("nbdkit", args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd, nil
}
