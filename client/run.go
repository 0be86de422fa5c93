package client

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"tlog"
	"tlog/crypto"
	"tlog/internal/core/window"
	"tlog/internal/failpoint"
	"tlog/schema"
)

// run makes one attempt after the other, until the core has ended.
func (c *Client) run(ctx context.Context) {
	defer close(c.offline)
	acts := c.do(&window.Event{Kind: window.Start})
	for len(acts) > 0 {
		d := acts[0]
		err := c.attempt(ctx, d)
		c.logLost(d, err)
		acts = c.do(&window.Event{Kind: window.Lost, Attempt: d.Attempt, Err: err})
	}
}

// logLost says that a connection ended, but not each time that a new one fails,
// nor when the client itself has ended: that is returned to its callers.
func (c *Client) logLost(d window.Action, err error) {
	select {
	case <-c.ended:
		return
	default:
	}
	server := c.cfg.Servers[d.Server]
	if d.Delay == 0 {
		c.cfg.Logger.Warn("not connected", "server", server, "error", err)
		return
	}
	c.cfg.Logger.Debug("not connected", "server", server, "error", err)
}

// attempt dials, attaches and serves one connection until it ends.
func (c *Client) attempt(ctx context.Context, d window.Action) error {
	if err := pause(ctx, d.Delay); err != nil {
		return err
	}
	ctx, hangup := context.WithCancelCause(ctx)
	defer hangup(nil)
	c.mu.Lock()
	c.hangup = hangup
	hello := c.core.Hello()
	c.mu.Unlock()

	server := c.cfg.Servers[d.Server]
	conn, err := c.connect(ctx, server)
	if err != nil {
		return fmt.Errorf("client: %s: %w", server, err)
	}
	defer conn.Close()
	// Whatever ends the attempt closes the connection, and so frees its goroutines.
	// Not by the one who ends it: closing may take time.
	defer context.AfterFunc(ctx, func() { conn.Close() })()

	r := schema.NewReader(conn)
	welcome, err := c.handshake(conn, r, hello)
	if err != nil {
		return attemptError(ctx, server, err)
	}
	if !c.attach(d, welcome) {
		return attemptError(ctx, server, context.Canceled)
	}
	err = c.serve(ctx, hangup, d.Attempt, conn, r)
	c.stopWatch()
	return attemptError(ctx, server, err)
}

// attemptError prefers the reason for which the attempt was ended to what its
// connection then said.
func attemptError(ctx context.Context, server string, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return fmt.Errorf("client: %s: %w", server, err)
}

// pause waits for about d.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d/2 + rand.N(d/2+1))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Client) connect(ctx context.Context, server string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.DialTimeout)
	defer cancel()
	return c.cfg.Dial(ctx, server)
}

// handshake says hello and reads the welcome.
func (c *Client) handshake(conn net.Conn, r *schema.Reader, h window.Hello) (schema.Welcome, error) {
	if err := conn.SetDeadline(time.Now().Add(handshakeTimeouts * c.cfg.DialTimeout)); err != nil {
		return schema.Welcome{}, err
	}
	hello := schema.AppendHello(nil, &schema.Hello{
		Version: schema.Version2, MinVersion: schema.Version2,
		Vdisk: string(h.Vdisk), DiskSize: h.DiskSize, BlockSize: h.BlockSize,
		Client: h.Client, Generation: h.Generation, Takeover: h.Takeover, Adopt: h.Adopt,
		LastFlushed: h.LastFlushed.Sequence, Chain: h.LastFlushed.Chain, Hashes: h.Hashes,
		Origin: c.cfg.Origin,
	})
	if _, err := conn.Write(hello); err != nil {
		return schema.Welcome{}, fmt.Errorf("handshake: %w", err)
	}
	frame, err := r.Frame(schema.MaxHandshake, nil)
	if err != nil {
		return schema.Welcome{}, fmt.Errorf("handshake: %w", err)
	}
	w, err := schema.DecodeWelcome(frame)
	if err != nil {
		return schema.Welcome{}, fmt.Errorf("handshake: %w", err)
	}
	return w, conn.SetDeadline(time.Time{})
}

// attach reports the welcome to the core, and if that is content with it makes
// it the session. It reports whether the connection is to be served.
func (c *Client) attach(d window.Action, w schema.Welcome) bool {
	s := Session{
		Server: c.cfg.Servers[d.Server], Generation: w.Generation, Epoch: w.Epoch,
		VdiskUUID: w.Vdisk, Durability: w.Durability, DiskSize: w.DiskSize, BlockSize: w.BlockSize,
	}
	c.mu.Lock()
	ok := false
	for _, a := range c.step(&window.Event{Kind: window.Attach, Attempt: d.Attempt, Welcome: coreWelcome(&w)}) {
		ok = ok || a.Kind == window.Attached
	}
	if !ok {
		c.mu.Unlock()
		return false
	}
	c.session = s
	c.attaches++
	c.startWatch(d.Attempt)
	first := c.attaches == 1
	c.mu.Unlock()

	if first && c.cfg.Clock != nil {
		c.cfg.Clock.Raise(w.LastTimestamp) // so no record's time is ever raised instead
	}
	if first {
		c.alg, c.empty = w.Hash, crypto.HashRecord(w.Hash, nil)
		c.size = max(c.cfg.DiskSize, w.DiskSize) // equal, or one is unknown
	}
	failpoint.Here("client.attached")
	c.cfg.Logger.Info("attached", "server", s.Server, "generation", s.Generation, "epoch", s.Epoch, "head", w.LastFlushed)
	if c.cfg.OnAttach != nil {
		c.cfg.OnAttach(s)
	}
	if first {
		close(c.attached)
	}
	return true
}

func coreWelcome(w *schema.Welcome) window.Welcome {
	m := window.Welcome{
		Status:      w.Status,
		LastFlushed: window.Point{Sequence: w.LastFlushed, Chain: w.Chain},
		Generation:  w.Generation, Epoch: w.Epoch, LastTimestamp: w.LastTimestamp,
		CreditRecords: w.CreditRecords, CreditBytes: w.CreditBytes,
		Hash: w.Hash, DiskSize: w.DiskSize, Message: w.Message,
	}
	if m.Status == tlog.HandshakeOK && w.Version < schema.Version2 {
		m.Status = tlog.HandshakeInvalidVersion
		m.Message = "the server speaks version 1 only: update it"
	}
	return m
}
