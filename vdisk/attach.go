package vdisk

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"tlog"
	"tlog/client"
	"tlog/crypto"
)

// attachFunc connects to the log, and tells where it stands.
type attachFunc func(ctx context.Context, cfg client.Config) (history, client.Point, client.Session, error)

func attachClient(ctx context.Context, cfg client.Config) (history, client.Point, client.Session, error) {
	c, err := client.Open(ctx, cfg)
	if err != nil {
		return nil, client.Point{}, client.Session{}, err
	}
	return c, c.Start(), c.Session(), nil
}

// Open locks the base image, attaches to the vdisk's log, and brings the base
// up to it. It returns when the disk can be served. A base that does not exist
// is created and rebuilt from the log.
func Open(ctx context.Context, cfg Config) (*Disk, error) { return open(ctx, cfg, attachClient) }

func open(ctx context.Context, cfg Config, attach attachFunc) (*Disk, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	d := &Disk{
		cfg:      cfg,
		room:     budget{free: 2 * cfg.WindowBytes},
		gate:     gate{empty: make(chan struct{})},
		progress: make(chan struct{}),
		logging:  make(chan struct{}, 1),
		pins:     pins{left: make(chan struct{}, 1)},
		work:     make(chan struct{}, 1),
		taken:    make(chan struct{}, 1),
		due:      make(chan struct{}, 1),
		fail:     failure{halted: make(chan struct{})},
		broken:   failure{halted: make(chan struct{})},
	}
	if d.base, err = openBase(cfg.Base, cfg.Size); err != nil {
		return nil, err
	}
	if err := d.openMarker(); err != nil {
		return nil, errors.Join(err, d.base.f.Close())
	}
	if err := d.attach(ctx, attach); err != nil {
		return nil, errors.Join(err, d.closeFiles())
	}
	d.start()
	if err := d.join(ctx); err != nil {
		return nil, errors.Join(err, d.Close(ctx))
	}
	return d, nil
}

// markerPath is where the marker of a base image lies.
func markerPath(base string) string { return base + ".tlog" }

// openMarker decides whether the base is ours, and starts a new one where
// there is none.
func (d *Disk) openMarker() error {
	path := markerPath(d.cfg.Base)
	m, err := readMarker(path)
	if err != nil {
		return fmt.Errorf("%w: %w: remove base and marker to rebuild them from the log", ErrBase, err)
	}
	if err := d.checkMarker(m); err != nil {
		return err
	}
	if m != nil && !d.base.fresh && m.point.Sequence > 0 {
		d.marker, err = openMarker(path, *m)
		return err
	}
	// Nothing in the base counts: it is new, or it was never brought up to its
	// log. The client's identity is kept, so that the vdisk remains ours. The
	// marker says so before the base can be taken for one that holds a disk.
	fresh := marker{client: newUUID(), diskSize: uint64(d.cfg.Size), blockSize: d.cfg.BlockSize, vdisk: d.cfg.Vdisk}
	if m != nil {
		fresh.client, fresh.generation = m.client, m.generation
	}
	fresh.point.Chain = tlog.ChainStart(d.cfg.Vdisk)
	if d.marker, err = createMarker(path, fresh); err != nil {
		return err
	}
	if err := d.base.erase(); err != nil {
		return errors.Join(err, d.marker.f.Close())
	}
	return nil
}

func (d *Disk) checkMarker(m *marker) error {
	c := &d.cfg
	switch {
	case m == nil && !d.base.blank():
		return fmt.Errorf("%w: %s holds data that no log knows of: log an existing image with tlogctl import", ErrBase, c.Base)
	case m == nil:
		return nil
	case m.vdisk != c.Vdisk:
		return fmt.Errorf("%w: %s is the base of vdisk %s, not of %s", ErrBase, c.Base, m.vdisk, c.Vdisk)
	case m.diskSize != uint64(c.Size):
		return fmt.Errorf("%w: %s is the base of a disk of %d bytes, not of %d", ErrBase, c.Base, m.diskSize, c.Size)
	case m.blockSize != c.BlockSize:
		return fmt.Errorf("%w: %s is the base of a disk with blocks of %d bytes, not of %d", ErrBase, c.Base, m.blockSize, c.BlockSize)
	case !d.base.fresh && m.point.Sequence > 0 && d.base.length != c.Size:
		return fmt.Errorf("%w: %s has %d bytes, the disk has %d: remove it to rebuild it from the log", ErrBase, c.Base, d.base.length, c.Size)
	}
	return nil
}

// attach finds the log, and brings the base up to where it stands.
func (d *Disk) attach(ctx context.Context, attach attachFunc) error {
	m := d.marker.get()
	dial, cancel := context.WithTimeout(ctx, d.cfg.AttachDeadline)
	defer cancel()
	log, start, session, err := attach(dial, client.Config{
		Servers: d.cfg.Servers, Vdisk: d.cfg.Vdisk, DiskSize: uint64(d.cfg.Size), BlockSize: d.cfg.BlockSize,
		ID: m.client, Generation: m.generation, Takeover: d.cfg.Takeover,
		Resume: m.point, Adopt: true, Hashes: crypto.RecordHashes(),
		WindowBytes: d.cfg.WindowBytes, Clock: d.groupClock(), OnFlushed: d.flushedTo, OnAttach: d.attached, Logger: d.cfg.Logger,
	})
	if err != nil {
		return fmt.Errorf("vdisk: attach %s: %w", d.cfg.Vdisk, err)
	}
	d.log, d.session = log, session
	if err := d.reconcile(ctx, start, session); err != nil {
		// Nothing was appended, so there is nothing to flush.
		return errors.Join(err, log.Close(ctx))
	}
	return nil
}

// attached stores the generation of a session before a record is sent on it.
func (d *Disk) attached(s client.Session) {
	if err := d.marker.update(func(m *marker) { m.generation = s.Generation }); err != nil {
		d.breakBase(err)
	}
}

// reconcile compares base and log, and catches up.
func (d *Disk) reconcile(ctx context.Context, start client.Point, session client.Session) error {
	m := d.marker.get()
	have := m.point
	switch {
	case have.Sequence > 0 && !m.vdiskUUID.IsZero() && !session.VdiskUUID.IsZero() && m.vdiskUUID != session.VdiskUUID:
		return tlog.Corruptf("%w: %s belongs to vdisk %v, the server's %s is %v: another pool, or the vdisk was deleted and made again; move it and its marker (.tlog) away to take over what the log holds",
			ErrDiverged, d.cfg.Base, m.vdiskUUID, d.cfg.Vdisk, session.VdiskUUID)
	case start.Sequence < have.Sequence:
		return tlog.Corruptf("%w: %s holds records up to %d and the log ends at %d: the log lost records or was rolled back; do not write; see tlogctl verify", ErrDiverged, d.cfg.Base, have.Sequence, start.Sequence)
	case start.Sequence == have.Sequence && start.Chain != have.Chain:
		return d.diverged(have.Sequence)
	}
	if err := d.marker.update(func(m *marker) { m.vdiskUUID = session.VdiskUUID }); err != nil {
		return err
	}
	if start.Sequence > have.Sequence {
		if err := d.catchUp(ctx, have, start); err != nil {
			return err
		}
	}
	d.mu.Lock()
	d.waiting = startUnapplied(start.Sequence)
	d.mark = start.Sequence
	d.mu.Unlock()
	return nil
}

func (d *Disk) diverged(s tlog.Sequence) error {
	return tlog.Corruptf("%w: %s and the log of vdisk %s have different histories up to record %d; move it and its marker (.tlog) away to take over what the log holds", ErrDiverged, d.cfg.Base, d.cfg.Vdisk, s)
}

func (d *Disk) closeFiles() error { return errors.Join(d.marker.f.Close(), d.base.f.Close()) }

func newUUID() (u tlog.UUID) {
	rand.Read(u[:]) // never fails
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return u
}
