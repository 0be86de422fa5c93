package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"tlog"
	"tlog/aggregate"
	"tlog/cmd/internal/storage"
	"tlog/crypto"
	"tlog/player"
	"tlog/stor"
)

// errSilent is the reason of a pass that learned of none.
var errSilent = errors.New("it did not answer")

// pass is a repair or scrub, as the command line asks for it.
type pass struct {
	*tool
	verb   string
	all    bool
	dryRun bool
	force  bool
	rate   string
	bytes  int64
}

func (t *tool) repairCommand() *cobra.Command {
	p := &pass{tool: t, verb: "repair"}
	c := &cobra.Command{
		Use:   "repair VDISK | --all",
		Short: "write missing and damaged shards again, of logs that no server has open",
		Long: "Reads every shard and writes again what is missing or damaged. A tlogserver does that by\n" +
			"itself for the vdisks it serves; this is for the others. To write, it takes the log over:\n" +
			"whoever had it is fenced, and must take it over again before it can go on.\n" +
			"When all logs are whole, shard servers that replaced others become voters.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return p.run(cmd.Context(), args, cmd.OutOrStdout()) },
	}
	p.flags(c)
	c.Flags().BoolVar(&p.dryRun, "dry-run", false, "tell what would be written, and write nothing")
	c.Flags().BoolVar(&p.force, "force", false, "take the log over although a server may have it open (Redis: nobody can tell)")
	return c
}

func (t *tool) scrubCommand() *cobra.Command {
	p := &pass{tool: t, verb: "scrub", dryRun: true}
	c := &cobra.Command{
		Use:   "scrub VDISK | --all",
		Short: "read and check every shard of a log on every server, without keys",
		Long: "Reads every shard and checks its digests; nothing is changed, no key is needed, and a\n" +
			"server may go on writing. Exit code 4: something is damaged or missing, and the output\n" +
			"says where.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return p.run(cmd.Context(), args, cmd.OutOrStdout()) },
	}
	p.flags(c)
	return c
}

func (p *pass) flags(c *cobra.Command) {
	c.Flags().BoolVar(&p.all, "all", false, "every vdisk of the pool")
	c.Flags().StringVar(&p.rate, "rate", "", "most bytes a second, read and written (empty: no bound)")
}

func (p *pass) run(ctx context.Context, args []string, out io.Writer) error {
	p.bytes = -1
	if p.rate != "" {
		n, err := humanize.ParseBytes(p.rate)
		if err != nil || n == 0 || n > 1<<40 {
			return storage.Usage(fmt.Errorf("--rate %q: want a size of at most 1TiB", p.rate))
		}
		p.bytes = int64(n)
	}
	if p.all == (len(args) == 1) {
		return storage.Usage(fmt.Errorf("%s: want a vdisk, or --all", p.verb))
	}
	if !p.dryRun && !p.force && p.storage.DataDir == "" {
		return storage.Usage(errors.New("repair takes the log over and fences the server that has it open; " +
			"say --force if none does, or --dry-run to look only (a tlogserver repairs what it serves by itself)"))
	}
	o, err := p.open(ctx)
	if err != nil {
		return err
	}
	ids, err := p.vdisks(ctx, o, args)
	for _, id := range ids {
		err = errors.Join(err, p.one(ctx, o, id, out))
		if ctx.Err() != nil {
			break
		}
	}
	if err == nil && !p.dryRun {
		err = p.settle(ctx, o, out)
	}
	return errors.Join(err, o.Close())
}

func (p *pass) open(ctx context.Context) (*storage.Opened, error) {
	p.storage.EveryFrame = true
	if p.dryRun {
		return p.storage.OpenReader(ctx, p.log, false)
	}
	return p.storage.OpenOwner(ctx, p.log)
}

func (p *pass) vdisks(ctx context.Context, o *storage.Opened, args []string) ([]tlog.UUID, error) {
	known, err := o.Pool.Vdisks(ctx)
	if err != nil || p.all {
		return known, err
	}
	vdisk := tlog.VdiskID(args[0])
	if err := vdisk.Check(); err != nil {
		return nil, storage.Usage(err)
	}
	id := vdisk.UUID(o.Pool.Manifest().Pool, 0)
	if !slices.Contains(known, id) {
		return nil, fmt.Errorf("vdisk %s: %w", vdisk, player.ErrNoVdisk)
	}
	return []tlog.UUID{id}, nil
}

// one makes a pass over one log.
func (p *pass) one(ctx context.Context, o *storage.Opened, id tlog.UUID, out io.Writer) error {
	bar := newProgress(p.verb, os.Stderr)
	var found []stor.Damage
	cfg := stor.RepairConfig{Deep: true, BytesPerSecond: p.bytes, PositionsPerSecond: -1,
		Found: func(d stor.Damage) { found = append(found, d) },
		Progress: func(at stor.RepairProgress) {
			bar.step(player.Progress{Done: int64(at.Done), Total: int64(at.Total), Bytes: at.Bytes})
		}}
	at, err := p.pass(ctx, o, id, cfg)
	bar.end()
	if err != nil {
		return fmt.Errorf("vdisk %v: %w", id, err)
	}
	if err := p.report(out, id, at, found); err != nil {
		return err
	}
	switch {
	case at.Lost > 0:
		return &storage.Exit{Code: storage.ExitIntegrity, Err: fmt.Errorf("vdisk %v: %d positions have too few good shards left", id, at.Lost)}
	case at.Short > 0:
		return tlog.Unavailablef("vdisk %v: %d positions stay short until a server is back or replaced: %w", id, at.Short, cmp.Or(at.Reason, errSilent))
	case p.verb == "scrub" && len(found) > 0:
		return &storage.Exit{Code: storage.ExitIntegrity, Err: fmt.Errorf("vdisk %v: damage found, the log still reads whole", id)}
	}
	return nil
}

func (p *pass) pass(ctx context.Context, o *storage.Opened, id tlog.UUID, cfg stor.RepairConfig) (stor.RepairProgress, error) {
	view, err := o.Pool.Survey(ctx, id)
	if err != nil || view.Head() == 0 {
		return stor.RepairProgress{}, err
	}
	if p.dryRun {
		return view.Scrub(ctx, cfg)
	}
	l, err := o.Pool.Takeover(ctx, id, (&adopter{keys: o.Keys, vdisk: id}).verify)
	if err != nil {
		return stor.RepairProgress{}, err
	}
	defer l.Close()
	return l.Repair(ctx, cfg)
}

// adopter checks what a takeover adopts, as a server would.
type adopter struct {
	keys  *crypto.Keyring
	vdisk tlog.UUID
	key   *crypto.DataKey
}

func (a *adopter) verify(ctx context.Context, v *stor.View, f *stor.Fetched) error {
	if a.key == nil {
		g, err := v.ReadHead(ctx, 1)
		if err != nil {
			return err
		}
		s, err := crypto.CheckHead(g.Head, a.vdisk, 1)
		if err != nil {
			return err
		}
		if s.Header.Genesis == nil {
			return tlog.Corruptf("vdisk %v: position 1 is not a genesis", a.vdisk)
		}
		if a.key, err = a.keys.Unwrap(a.vdisk, s.Header.KeyID, s.Header.Genesis.WrappedKey); err != nil {
			return err
		}
	}
	_, err := aggregate.Decode(a.key, a.vdisk, f.Position, f.Head, f.Data)
	return err
}

func (p *pass) report(out io.Writer, id tlog.UUID, at stor.RepairProgress, found []stor.Damage) error {
	if p.json {
		return emit(out, struct {
			UUID      string   `json:"uuid"`
			Positions uint64   `json:"positions"`
			Bytes     int64    `json:"bytes"`
			Written   int      `json:"shards_written"`
			DryRun    bool     `json:"dry_run"`
			Short     uint64   `json:"short_positions"`
			Lost      uint64   `json:"lost_positions"`
			Damaged   []damage `json:"damaged"`
		}{id.String(), uint64(at.Total), at.Bytes, at.Written, p.dryRun, uint64(at.Short), uint64(at.Lost), damageList(found)})
	}
	for _, line := range summary(found) {
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	what := "shards written again"
	if p.dryRun {
		what = "shards to be written again"
	}
	_, err := fmt.Fprintf(out, "%v: %d positions, %s: %d %s, %d positions short, %d lost\n", id, at.Total, bytesText(uint64(at.Bytes)), at.Written, what, at.Short, at.Lost)
	return err
}

// settle lets servers that replaced others vote, if all logs are whole.
func (p *pass) settle(ctx context.Context, o *storage.Opened, out io.Writer) error {
	if !o.Pool.Joining() {
		return nil
	}
	id, err := o.Pool.Settle(ctx)
	switch {
	case err != nil:
		return err
	case o.Pool.Joining():
		fmt.Fprintf(os.Stderr, "tlogctl: repair: the new shard server does not vote yet: %v is not repaired; run repair --all\n", id)
		return nil
	}
	if p.json {
		return nil
	}
	_, err = fmt.Fprintln(out, "every shard server of the pool votes")
	return err
}
