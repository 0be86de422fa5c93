package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"tlog"
	"tlog/cmd/internal/storage"
	"tlog/crypto"
	"tlog/stor"
)

func (t *tool) storesCommand() *cobra.Command {
	c := &cobra.Command{Use: "stores", Short: "prepare and check shard servers",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return storage.Usage(errors.New("stores: want init, check or replace"))
		}}
	c.AddCommand(
		&cobra.Command{Use: "init", Short: "prepare empty servers, once, and make the key file if there is none", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return t.storesInit(cmd.Context(), cmd.OutOrStdout()) }},
		&cobra.Command{Use: "check", Short: "tell the state of each server of a pool", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return t.storesCheck(cmd.Context(), cmd.OutOrStdout()) }},
		t.replaceCommand(),
	)
	return c
}

func (t *tool) storesInit(ctx context.Context, out io.Writer) error {
	path, created, err := t.storage.EnsureKeyFile()
	if err != nil {
		return err
	}
	if created {
		fmt.Fprintf(os.Stderr, "tlogctl: made the key file %s: keep a copy elsewhere, without it the log cannot be read\n", path)
	}
	m, err := t.storage.InitPool(ctx, t.log)
	if err != nil {
		return err
	}
	if t.json {
		return emit(out, m)
	}
	_, err = fmt.Fprintf(out, "pool %v: %d servers, %d+%d shards, durability %s\n%s\n", m.Pool, m.P(), m.K, m.M, m.Durability, storage.Promise(*m))
	return err
}

func (t *tool) storesCheck(ctx context.Context, out io.Writer) error {
	o, err := t.storage.OpenReader(ctx, t.log, false)
	if err != nil {
		return err
	}
	status := o.Pool.Status(ctx)
	m := o.Pool.Manifest()
	if err := o.Close(); err != nil {
		return err
	}
	w := table(out)
	if !t.json {
		fmt.Fprintln(w, "SLOT\tSERVER\tSTATE\tUSED\tTOTAL")
	}
	voters := 0
	for _, s := range status {
		if s.Err == nil {
			voters++
		}
		if err := t.serverStatus(out, w, s); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if voters < m.P() {
		return tlog.Unavailablef("%d of %d shard servers are fit (reading needs %d, writing %d)", voters, m.P(), m.R(), m.W)
	}
	return nil
}

func (t *tool) serverStatus(out, w io.Writer, s stor.ServerStatus) error {
	state := "ok"
	switch {
	case s.Err != nil:
		state = s.Err.Error()
	case s.Joining:
		state = "ok, and does not vote until every log is repaired"
	}
	if t.json {
		return emit(out, struct {
			Slot   int    `json:"slot"`
			Server string `json:"server"`
			State  string `json:"state"`
			Used   uint64 `json:"used_bytes"`
			Total  uint64 `json:"total_bytes"`
		}{s.Slot, s.Name, state, s.Space.Used, s.Space.Total})
	}
	_, err := fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\n", s.Slot, s.Name, state, bytesText(s.Space.Used), bytesText(s.Space.Total))
	return err
}

func (t *tool) keyCommand() *cobra.Command {
	c := &cobra.Command{Use: "key", Short: "make key files", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return storage.Usage(errors.New("key: want new FILE")) }}
	c.AddCommand(&cobra.Command{Use: "new FILE", Short: "make a key file, mode 0600, with one fresh key", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if _, err := crypto.CreateKeyFile(args[0]); err != nil {
				return &storage.Exit{Code: storage.ExitConfig, Err: err}
			}
			return nil
		}})
	return c
}
