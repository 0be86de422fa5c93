//go:build e2e

package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"tlog"
	"tlog/aggregate"
	"tlog/client"
	"tlog/crypto"
	"tlog/internal/redistest"
	"tlog/player"
	"tlog/server"
	"tlog/stor"
	"tlog/stor/redis"
)

// stack is a client, a server and four Redis, in this process but for the
// last, and a cable between any two that talk.
type stack struct {
	t      testing.TB
	said   logText
	redis  []*redistest.Server
	cables []*link // server to Redis
	front  *link   // client to server
	keys   *crypto.Keyring
	pool   *stor.Pool // the server's
	clean  *stor.Pool // of a reader whose cables are good
	server *server.Server
	served chan error

	mu     sync.Mutex
	c      *client.Client
	cfg    client.Config
	sent   map[tlog.Sequence]tlog.Record // what is not in it, is a flush mark
	acked  tlog.Sequence
	reborn int // clients after the first
}

func newStack(t testing.TB, s *stores) (*stack, error) {
	k := &stack{t: t, redis: s.redis, keys: s.keys, sent: map[tlog.Sequence]tlog.Record{}}
	log := slog.New(slog.NewTextHandler(&k.said, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var far, near []stor.Server
	for _, r := range k.redis {
		cable := newLink(t, r.Addr)
		k.cables = append(k.cables, cable)
		for _, d := range []struct {
			addr string
			list *[]stor.Server
		}{{cable.addr, &far}, {r.Addr, &near}} {
			c, err := redis.Dial(d.addr, redis.Options{Timeout: requestTime, MaxBackoff: 50 * time.Millisecond})
			if err != nil {
				return nil, err
			}
			*d.list = append(*d.list, c)
		}
	}
	var err error
	if k.pool, err = stor.Open(t.Context(), poolConfig(log), far); err != nil {
		return nil, err
	}
	if k.clean, err = stor.Open(t.Context(), poolConfig(nil), near); err != nil {
		return nil, err
	}
	k.server, err = server.New(server.Config{Pool: k.pool, Keys: k.keys, Logger: log, Aggregate: aggregate.Config{MaxRecords: 16, MaxAge: 20 * time.Millisecond},
		HandshakeTimeout: time.Second, AttachTimeout: 2 * time.Second, MessageTimeout: 2 * time.Second, WriteTimeout: 2 * time.Second})
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	k.front = newLink(t, ln.Addr().String())
	k.served = make(chan error, 1)
	go func() { k.served <- k.server.Serve(context.Background(), ln) }()
	k.cfg = client.Config{Servers: []string{k.front.addr}, Vdisk: tlog.VdiskID(newID().String()), DiskSize: diskSize, ID: newID(),
		DialTimeout: time.Second, MaxBackoff: 100 * time.Millisecond, Logger: log, WindowBytes: 1 << 20}
	k.c, err = client.Open(t.Context(), k.cfg)
	return k, err
}

const diskSize = 1 << 20

func (k *stack) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), recovery)
	defer cancel()
	err := k.c.Close(ctx)
	err = errors.Join(err, k.server.Shutdown(ctx), <-k.served, k.pool.Close(), k.clean.Close())
	k.front.close()
	for _, c := range k.cables {
		c.close()
	}
	return err
}

// write logs random records and flushes, until told to stop.
func (k *stack) write(ctx context.Context, seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 7))
	for ctx.Err() == nil {
		for range 1 + rng.IntN(12) {
			size := uint32(512 + rng.IntN(12_000))
			data := make([]byte, size)
			for i := range data {
				data[i] = byte(rng.Uint32())
			}
			r := tlog.Record{Operation: tlog.OpWrite, Offset: rng.Uint64N(diskSize - uint64(size)), Size: size, Data: data}
			if rng.IntN(6) == 0 {
				r.Operation, r.Data = tlog.OpTrim, nil
			}
			if err := k.append(ctx, r); err != nil {
				return err
			}
		}
		if err := k.flush(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

func (k *stack) append(ctx context.Context, r tlog.Record) error {
	seq, err := k.c.Append(ctx, r.Operation, r.Offset, r.Size, r.Data)
	switch {
	case err == nil:
		k.mu.Lock()
		defer k.mu.Unlock()
		k.sent[seq] = r
		return nil
	case ctx.Err() != nil:
		return nil
	}
	return k.reopen(ctx, err)
}

func (k *stack) flush(ctx context.Context) error {
	before := k.c.Last()
	if err := k.c.Flush(ctx); err != nil {
		if ctx.Err() != nil || k.c.Err() == nil {
			return err
		}
		return k.reopen(ctx, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.acked = max(k.acked, before)
	return nil
}

// reopen is what the owner of a disk does whose client was told that it is
// finished: flipped bits can say that.
func (k *stack) reopen(ctx context.Context, why error) error {
	k.reborn++
	fmt.Fprintf(&k.said, "the client ended: %v\n", why)
	_ = k.c.Close(ctx)
	cfg := k.cfg
	cfg.Adopt, cfg.Takeover, cfg.ID = true, true, newID()
	c, err := client.Open(ctx, cfg)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		fmt.Fprintf(&k.said, "and does not open: %v\n", err)
		return k.reopen(ctx, err)
	}
	k.c = c
	k.mu.Lock()
	defer k.mu.Unlock()
	start := c.Start().Sequence
	if start < k.acked {
		return fmt.Errorf("%w: a new client starts at record %d, %d is acknowledged", errBroken, start, k.acked)
	}
	for seq := range k.sent {
		if seq > start {
			delete(k.sent, seq)
		}
	}
	return nil
}

// durable restores, past every fault, what is acknowledged by now, and
// compares each record.
func (k *stack) durable(ctx context.Context) error {
	k.mu.Lock()
	acked := k.acked
	k.mu.Unlock()
	if acked == 0 {
		return nil
	}
	l, err := player.Open(ctx, k.clean, k.keys, k.cfg.Vdisk, player.Config{})
	if err != nil {
		return err
	}
	if l.Info().Last < acked {
		return fmt.Errorf("%w: record %d is acknowledged, and the log ends at %d", errBroken, acked, l.Info().Last)
	}
	return l.Replay(ctx, 0, tlog.Hash{}, acked, k.same)
}

func (k *stack) same(r *tlog.Record) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	want, ok := k.sent[r.Sequence]
	switch {
	case !ok && r.Operation == tlog.OpFlush:
		return nil
	case !ok:
		return fmt.Errorf("%w: record %d of the log was never sent", errBroken, r.Sequence)
	case r.Operation != want.Operation, r.Offset != want.Offset, r.Size != want.Size, !bytes.Equal(r.Data, want.Data):
		return fmt.Errorf("%w: record %d of the log is not the one that was sent", errBroken, r.Sequence)
	}
	return nil
}
