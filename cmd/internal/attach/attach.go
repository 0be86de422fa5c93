// Package attach gives tools that write to logs a client session of a vdisk: at
// the tlogservers that --server names, or, without it, at a server in the tool's
// own process, on the storage that the command line names.
//
// The rules of who may write are those of every client: a tool is refused a
// vdisk that another client has, unless it was told to take it over, and what it
// was told is flushed is durable. A tool holds no records of its own: it goes on
// where the log ends (client.Config.Adopt).
package attach

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/pflag"

	"tlog"
	"tlog/client"
	"tlog/cmd/internal/storage"
	"tlog/crypto"
	"tlog/stor"
	"tlog/stor/file"
)

// Times of a tool.
const (
	attachTime   = 30 * time.Second // to be given the vdisk: what may pass is tried again
	shutdownTime = 30 * time.Second // to make durable what was accepted
)

// Flags are what the command line says of the way to the log.
type Flags struct {
	Servers  []string // HOST:PORT or unix:PATH
	Takeover bool
}

// Register adds the flags to fs.
func (f *Flags) Register(fs *pflag.FlagSet) {
	fs.StringSliceVar(&f.Servers, "server", nil, "write through these tlogservers, HOST:PORT or unix:PATH, tried in order (empty: write to the storage, which no server has open then)")
	fs.BoolVar(&f.Takeover, "takeover", false, "take the vdisk from the client that has it")
}

// Storage says what of the storage a tool needs.
type Storage int

const (
	// Reads are needed: the storage must be named beside --server too.
	Reads Storage = iota
	// Optional is storage that may be left out beside --server; Access.Pool is nil then.
	Optional
	// Makes is Optional, and an embedded store that is not there yet is made.
	Makes
)

// Access is where a tool reads and writes logs.
type Access struct {
	Pool *stor.Pool      // to read from; nil: see Optional
	Keys *crypto.Keyring // nil with Pool

	flags  *Flags
	opened *storage.Opened // nil with Pool
	local  *local          // nil: writes go to tlogservers
	log    *slog.Logger
}

// Open opens the way to the logs. Nothing is written until Attach.
func (f *Flags) Open(ctx context.Context, st *storage.Flags, need Storage, log *slog.Logger) (*Access, error) {
	a := &Access{flags: f, log: log}
	var err error
	switch {
	case len(f.Servers) > 0 && need != Reads && !st.Given():
		return a, nil
	case len(f.Servers) > 0:
		a.opened, err = st.OpenReader(ctx, log, true)
	case need == Makes:
		a.opened, err = st.OpenWriter(ctx, log)
	default:
		a.opened, err = st.OpenOwner(ctx, log)
	}
	if errors.Is(err, file.ErrLocked) {
		err = fmt.Errorf("%w: a tlogserver or another tool has it open: give the server's address, as --server 127.0.0.1:11211", err)
	}
	if err != nil {
		return nil, err
	}
	a.Pool, a.Keys = a.opened.Pool, a.opened.Keys
	if len(f.Servers) > 0 {
		return a, nil
	}
	if a.local, err = startLocal(ctx, a.opened); err != nil {
		return nil, errors.Join(err, a.opened.Close())
	}
	return a, nil
}

// Attach opens a session of cfg.Vdisk that goes on where its log ends. Servers,
// Takeover (unless cfg sets it) and what else belongs to the way are filled in.
func (a *Access) Attach(ctx context.Context, cfg client.Config) (*client.Client, error) {
	cfg.Servers, cfg.Logger, cfg.Adopt = a.flags.Servers, a.log, true
	cfg.Takeover = cfg.Takeover || a.flags.Takeover
	if a.local != nil {
		cfg.Servers, cfg.Dial = []string{"this process"}, a.local.dial
	}
	ctx, cancel := context.WithTimeout(ctx, attachTime)
	defer cancel()
	return client.Open(ctx, cfg)
}

// Detach ends a session: what was appended is flushed, for which the tool is
// given a while even when ctx has ended.
func (a *Access) Detach(ctx context.Context, c *client.Client) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	return c.Close(ctx)
}

// Same reports, as an error, that the storage that is read from is not that of
// the server: its vdisk is another one.
func (a *Access) Same(vdisk tlog.VdiskID, s client.Session) error {
	if id := vdisk.UUID(a.Pool.Manifest().Pool, 0); id != s.VdiskUUID {
		return fmt.Errorf("the storage named has vdisk %s as %v, the server has it as %v: name the storage of that server", vdisk, id, s.VdiskUUID)
	}
	return nil
}

// Close ends the server in the process, when everything is flushed, and closes
// the storage.
func (a *Access) Close() error {
	var err error
	if a.local != nil {
		ctx, cancel := context.WithTimeout(context.Background(), shutdownTime)
		defer cancel()
		if err = a.local.stop(ctx); err != nil {
			err = &storage.Exit{Code: storage.ExitNotFlushed, Err: err}
		}
	}
	if a.opened != nil {
		err = errors.Join(err, a.opened.Close())
	}
	return err
}
