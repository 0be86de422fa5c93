package server_test

import (
	"strings"
	"testing"

	"tlog"
	"tlog/crypto"
	"tlog/schema"
)

// genesis reads what position 1 of a vdisk says.
func (s *store) genesis(t testing.TB, vdisk tlog.VdiskID) *crypto.Genesis {
	t.Helper()
	id := vdisk.UUID(s.pool.Manifest().Pool, 0)
	view, err := s.pool.Survey(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if view.Head() == 0 {
		return nil
	}
	f, err := view.ReadHead(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	head, err := crypto.CheckHead(f.Head, id, 1)
	if err != nil {
		t.Fatal(err)
	}
	return head.Header.Genesis
}

// position is a position of a vdisk as an origin.
func (s *store) position(t testing.TB, vdisk tlog.VdiskID, pos tlog.Position) tlog.Origin {
	t.Helper()
	id := vdisk.UUID(s.pool.Manifest().Pool, 0)
	view, err := s.pool.Survey(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	f, err := view.ReadHead(t.Context(), pos)
	if err != nil {
		t.Fatal(err)
	}
	head, err := crypto.CheckHead(f.Head, id, pos)
	if err != nil {
		t.Fatal(err)
	}
	return tlog.Origin{Vdisk: id, Position: pos, Digest: head.Digest}
}

// TestOrigin begins vdisks with moments of another one: the genesis names them,
// and nothing that the pool does not have.
func TestOrigin(t *testing.T) {
	s := newStore(t)
	r := start(t, s, nil)
	p := dial(t, r.addr)
	p.attach(schema.Hello{Vdisk: "parent", Client: alice})
	p.batch(makeHistory("parent", 5, 512), 1, 5)
	p.command(schema.MsgForceFlush, 5)
	p.until(tlog.StatusFlushOK, 5)

	origin := s.position(t, "parent", 3)
	other, beyond, forged, nowhere, none := s.position(t, "parent", 2), origin, origin, origin, origin
	beyond.Position, forged.Digest[7], nowhere.Vdisk, none.Position = 99, 1, tlog.UUID{5}, 0
	for name, o := range map[string]tlog.Origin{"beyond": beyond, "forged": forged, "nowhere": nowhere, "none": none} {
		w := dial(t, r.addr).hello(schema.Hello{Vdisk: "child", Client: alice, Origin: o})
		if w.Status != tlog.HandshakeInvalidRequest || !strings.Contains(w.Message, "origin") {
			t.Errorf("an origin %s the log: %v: %s", name, w.Status, w.Message)
		}
	}
	if s.genesis(t, "child") != nil {
		t.Fatal("a handshake that was refused made a log")
	}
	dial(t, r.addr).attach(schema.Hello{Vdisk: "child", Client: alice, Origin: origin})
	g := s.genesis(t, "child")
	if got := (tlog.Origin{Vdisk: g.Parent, Position: g.ParentPosition, Digest: g.ParentDigest}); got != origin {
		t.Errorf("the genesis names %+v, want %+v", got, origin)
	}
	// Of a log that is there: in this server's hands, and in nobody's.
	for round := range 2 {
		for vdisk, o := range map[string]tlog.Origin{"child": other, "parent": origin} {
			w := dial(t, r.addr).hello(schema.Hello{Vdisk: vdisk, Client: alice, Origin: o})
			if w.Status != tlog.HandshakeInvalidRequest || !strings.Contains(w.Message, "is there already") {
				t.Errorf("vdisk %s taken for one of another origin: %v: %s", vdisk, w.Status, w.Message)
			}
		}
		if n := r.Vdisks(); round > 0 && n != 0 {
			t.Errorf("%d vdisks were taken over for clients that were refused", n)
		}
		for _, o := range []tlog.Origin{origin, {}} {
			if w := dial(t, r.addr).attach(schema.Hello{Vdisk: "child", Client: alice, Origin: o}); w.LastFlushed != 0 {
				t.Errorf("the child's log has %d records", w.LastFlushed)
			}
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
		r = start(t, s, nil)
	}
}
