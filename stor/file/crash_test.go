package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tlog"
	"tlog/stor"
)

// model is a shard server as the contract has it, without a disk.
type model struct {
	controls map[tlog.UUID]stor.Control
	metas    map[slot]stor.Meta
	data     map[slot]string
}

func (m model) clone() model {
	return model{maps.Clone(m.controls), maps.Clone(m.metas), maps.Clone(m.data)}
}

// call is one Fence (Position 0) or Append.
type call struct {
	r *stor.AppendRequest
}

// ok means success; any other code a refusal.
const ok = stor.Code(0)

func (m model) do(c call) stor.Code {
	r := c.r
	own := m.controls[r.Vdisk]
	if r.Position == 0 {
		if r.Epoch < own.Epoch || r.Epoch == own.Epoch && r.ID != own.ID {
			return stor.Fenced
		}
		own.Owner = r.Owner
		m.controls[r.Vdisk] = own
		return ok
	}
	if own.Owner != r.Owner {
		return stor.Fenced
	}
	s := slot{r.Vdisk, r.Position}
	held, has := m.metas[s]
	same := has && held.Digest == r.Digest
	switch {
	case has && !same && held.Epoch == r.Epoch:
		return stor.Conflict
	case same && !r.Replace:
		held.Epoch = r.Epoch
		m.metas[s] = held
		if held.Index != r.Index {
			return stor.HasIndex
		}
	case len(r.Body) == 0:
		return stor.NoData
	default:
		m.metas[s] = stor.Meta{Position: r.Position, Epoch: r.Epoch, Digest: r.Digest, Index: r.Index}
		m.data[s] = string(r.Body)
	}
	own.Head = max(own.Head, r.Position)
	m.controls[r.Vdisk] = own
	return ok
}

const (
	modelVdisks    = 2
	modelPositions = 12
)

// observe reads back everything a server holds.
func observe(t fataler, s *Server) model {
	ctx := context.Background()
	m := model{map[tlog.UUID]stor.Control{}, map[slot]stor.Meta{}, map[slot]string{}}
	for v := range modelVdisks {
		id := tlog.UUID{byte(v + 1)}
		c, err := s.Control(ctx, id)
		if err != nil {
			t.Fatalf("control: %v", err)
		}
		if c.Commit = 0; c != (stor.Control{}) {
			m.controls[id] = c
		}
		metas, err := s.Metas(ctx, id, 1, modelPositions)
		if err != nil {
			t.Fatalf("metas: %v", err)
		}
		for _, meta := range metas {
			b, err := s.Shard(ctx, id, meta.Position, 0)
			if err != nil {
				t.Fatalf("shard: %v", err)
			}
			m.metas[slot{id, meta.Position}], m.data[slot{id, meta.Position}] = meta, string(b)
		}
	}
	return m
}

type fataler interface{ Fatalf(string, ...any) }

// drawCall mostly speaks for the owner that m knows.
func drawCall(t *rapid.T, m model) call {
	r := &stor.AppendRequest{
		Identity: stor.Identity{Cookie: testCookie, ConfigVersion: 1},
		Owner:    stor.Owner{Epoch: tlog.Epoch(rapid.IntRange(1, 6).Draw(t, "epoch")), ID: tlog.UUID{byte(rapid.IntRange(1, 2).Draw(t, "owner"))}},
		Vdisk:    tlog.UUID{byte(rapid.IntRange(1, modelVdisks).Draw(t, "vdisk"))},
	}
	if held := m.controls[r.Vdisk].Owner; held.Epoch > 0 && rapid.IntRange(0, 4).Draw(t, "stranger") != 0 {
		r.Owner = held
	}
	if r.Owner != m.controls[r.Vdisk].Owner && rapid.IntRange(0, 3).Draw(t, "fence") != 0 {
		return call{r}
	}
	r.Position = tlog.Position(rapid.IntRange(1, modelPositions).Draw(t, "position"))
	r.Index = rapid.IntRange(0, 1).Draw(t, "index")
	r.Digest = tlog.Hash{byte(rapid.IntRange(1, 2).Draw(t, "digest"))}
	r.Replace = rapid.IntRange(0, 5).Draw(t, "replace") == 0
	size := rapid.SampledFrom([]int{0, 1, 100, 1100, 4000, 30_000}).Draw(t, "size")
	r.Body = bytes.Repeat([]byte(fmt.Sprintf("%d/%d/%x ", r.Position, r.Index, r.Digest[0])), size/6+1)[:size]
	return call{r}
}

var testCookie = tlog.UUID{0xcc}

var testManifest = &stor.Manifest{ConfigVersion: 1, K: 1, M: 1, W: 2, Cookies: []tlog.UUID{testCookie, {2}}}

// world is a server on a disk that fails, and what it must hold.
type world struct {
	*rapid.T
	dir   *crashFS
	s     *Server
	model model
}

func (w *world) open() error {
	var err error
	w.s, err = open("crash", w.dir, Options{SegmentBytes: 1})
	return err
}

// perform starts all calls at once and gives the code of each; unknown where
// the outcome is not known. Those are a suffix: the queue keeps the order.
func (w *world) perform(calls []call) []stor.Code {
	codes := make([]stor.Code, len(calls))
	errs := make(chan error, len(calls))
	for i, c := range calls {
		answered := func(err error) {
			codes[i] = codeOf(err)
			errs <- err
		}
		if c.r.Position != 0 {
			w.s.Append(context.Background(), c.r, func(_ stor.Meta, err error) { answered(err) })
			continue
		}
		f := &stor.FenceRequest{Identity: c.r.Identity, Owner: c.r.Owner, Vdisk: c.r.Vdisk}
		w.s.submit(&request{
			ctx: context.Background(), judge: func(b *bench) verdict { return b.fence(f) },
			done: func(v verdict) { answered(v.err) },
		})
	}
	for range calls {
		<-errs
	}
	return codes
}

const unknown = stor.Code(255)

func codeOf(err error) stor.Code {
	var r *stor.Refusal
	switch {
	case err == nil:
		return ok
	case errors.As(err, &r):
		return r.Code
	}
	return unknown
}

// reconcile finds how many of the unanswered calls took effect: some prefix,
// each wholly or not at all.
func (w *world) reconcile(unanswered []call) {
	got := observe(w, w.s)
	want := w.model.clone()
	for i := 0; ; i++ {
		if reflect.DeepEqual(got, want) {
			w.model = want
			w.compareScan()
			return
		}
		if i == len(unanswered) {
			w.Fatalf("after reopening the server holds\n%+v\nwhich is not what was answered, with any prefix of %d unanswered:\n%+v", got, len(unanswered), w.model)
		}
		want.do(unanswered[i])
	}
}

// compareScan compares what the server holds, which came from contents files
// too, with every frame, and contents files with their segments.
func (w *world) compareScan() {
	r, err := open("scan", w.dir, Options{ReadOnly: true, EveryFrame: true})
	if err != nil {
		w.Fatalf("%v", err)
	}
	if r.damage != nil || !reflect.DeepEqual(r.index, w.s.index) {
		w.Fatalf("looking at every frame finds %v, and\n%+v\ninstead of\n%+v", r.damage, r.index, w.s.index)
	}
}

// round has calls performed while the disk may fail, and opens again if it did.
func (w *world) round() {
	var calls []call
	expected := w.model.clone()
	for range rapid.IntRange(1, 12).Draw(w.T, "calls") {
		c := drawCall(w.T, expected)
		expected.do(c)
		calls = append(calls, c)
	}
	w.plan()
	codes := w.perform(calls)
	n := slices.Index(codes, unknown)
	if n < 0 {
		n = len(codes)
	}
	for i, c := range calls[:n] {
		if codes[i] == stor.Full {
			continue
		}
		if want := w.model.do(c); codes[i] != want {
			w.Fatalf("call %d %+v was answered with code %d, want %d", i, c.r, codes[i], want)
		}
	}
	if n == len(calls) && rapid.Bool().Draw(w.T, "go on") {
		w.dir.failAfter(0, nil)
		return
	}
	w.s.Close()
	w.reopen(calls[n:])
}

// plan sets the fuse of the next operations.
func (w *world) plan() {
	n := rapid.IntRange(1, 8).Draw(w.T, "fuse")
	switch rapid.IntRange(0, 4).Draw(w.T, "fault") {
	case 0:
		w.dir.dieAfter(n)
	case 1:
		w.dir.failAfter(n, errMedia)
	case 2:
		w.dir.failAfter(n, errNoSpace)
	}
}

// reopen restarts with or without power loss, through failures of recovery.
func (w *world) reopen(unanswered []call) {
	for range 4 {
		if rapid.Bool().Draw(w.T, "power loss") {
			w.dir = w.dir.powerLoss()
		} else {
			w.dir = w.dir.restart()
		}
		w.plan()
		if w.open() == nil {
			w.dir.failAfter(0, nil)
			w.reconcile(unanswered)
			return
		}
	}
	w.dir = w.dir.powerLoss()
	if err := w.open(); err != nil {
		w.Fatalf("open: %v", err)
	}
	w.reconcile(unanswered)
}

// TestInitCrash loses power at each step of the first initialisation: the server
// is empty or initialised, and can be initialised again.
func TestInitCrash(t *testing.T) {
	empty, whole := 0, 0
	for n := 1; n <= 12; n++ {
		for seed := range uint64(30) {
			dir := newCrashFS(seed)
			s := mustOpen(t, dir)
			dir.dieAfter(n)
			answered := s.Init(bg, testCookie, testManifest)
			dir = dir.powerLoss()
			s = mustOpen(t, dir)
			_, m, err := s.Identify(bg)
			switch {
			case errors.Is(err, stor.ErrEmpty) && answered != nil:
				empty++
			case err == nil && reflect.DeepEqual(m, testManifest):
				whole++
			default:
				t.Fatalf("power lost at step %d, init answered %v; then identify: %+v, %v", n, answered, m, err)
			}
			if err := s.Init(bg, testCookie, testManifest); err != nil {
				t.Fatalf("init again: %v", err)
			}
		}
	}
	if empty == 0 || whole == 0 {
		t.Fatalf("%d empty, %d initialised: the steps were not all met", empty, whole)
	}
}

// TestCrash appends and fences on a disk that loses power and fails at any
// moment. After each reopening everything answered is there, and of the rest
// a prefix, whole.
func TestCrash(t *testing.T) {
	for i := range 5 { // rapid's usual 100 runs are few for this
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, crashes)
		})
	}
}

func crashes(t *rapid.T) {
	w := &world{T: t, dir: newCrashFS(rapid.Uint64().Draw(t, "seed"))}
	w.model = model{map[tlog.UUID]stor.Control{}, map[slot]stor.Meta{}, map[slot]string{}}
	if err := w.open(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if w.s != nil { // nil: the draws ended between two openings
			w.s.Close()
		}
	}()
	if err := w.s.Init(context.Background(), testCookie, testManifest); err != nil {
		t.Fatal(err)
	}
	for range rapid.IntRange(1, 10).Draw(t, "rounds") {
		w.round()
		if w.s.Failed() != nil {
			t.Fatal("the server is still failed")
		}
	}
	w.reconcile(nil)
}
