package bookmark_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"tlog"
	"tlog/bookmark"
	"tlog/client"
	"tlog/player"
)

// TestSetFindDelete makes, replaces and deletes bookmarks, and reads them again.
func TestSetFindDelete(t *testing.T) {
	s := newStore(t)
	if got := s.read(t).List(tlog.UUID{}); len(got) != 0 {
		t.Errorf("a pool without bookmarks has %v", got)
	}
	w := &shelf{store: s, addr: s.serve(t)}
	s.write(t, w.addr, 20)
	first, second, moved := s.mark(t, "a", 3), s.mark(t, "b", 17), s.mark(t, "a", 9)
	first.Note = "what \"it\" was\nfor"
	other := second
	other.UUID, other.Vdisk = tlog.UUID{7}, "other"
	for _, b := range []bookmark.Bookmark{first, second, other} {
		if err := bookmark.Set(t.Context(), w, b); err != nil {
			t.Fatal(err)
		}
	}
	same(t, s.read(t).List(first.UUID), first, second)
	same(t, s.read(t).List(tlog.UUID{}), first, second, other)
	if err := bookmark.Set(t.Context(), w, moved); err != nil {
		t.Fatal(err)
	}
	same(t, s.read(t).List(first.UUID), moved, second)
	if err := bookmark.Delete(t.Context(), w, disk, first.UUID, "b"); err != nil {
		t.Fatal(err)
	}
	same(t, s.read(t).List(first.UUID), moved)
	same(t, s.read(t).List(tlog.UUID{}), moved, other)
	for _, name := range []string{"b", "c"} {
		if err := bookmark.Delete(t.Context(), w, disk, first.UUID, name); !errors.Is(err, bookmark.ErrUnknown) {
			t.Errorf("deleting bookmark %s, which there is not: %v", name, err)
		}
	}
	for _, name := range []string{"", "a b", "a/b", strings.Repeat("n", 129)} {
		bad := first
		bad.Name = name
		if err := bookmark.Set(t.Context(), w, bad); err == nil {
			t.Errorf("a bookmark is named %q", name)
		}
	}
	first.Note = strings.Repeat("n", 5000)
	if err := bookmark.Set(t.Context(), w, first); err == nil {
		t.Error("a note of 5000 bytes is kept")
	}
	same(t, s.read(t).List(first.UUID), moved)
}

func same(t testing.TB, got []bookmark.Bookmark, want ...bookmark.Bookmark) {
	t.Helper()
	for i := range want { // as JSON has them
		want[i].Time, want[i].Made = want[i].Time.UTC(), want[i].Made.UTC()
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("bookmarks\n%v, want\n%v", got, want)
	}
}

// TestAtOnce has many writers make bookmarks at the same time, each through a
// server of its own: they take the log from each other, and each is there.
func TestAtOnce(t *testing.T) {
	s := newStore(t)
	addr := s.serve(t)
	s.write(t, addr, 20)
	const writers, each = 3, 4
	var wg sync.WaitGroup
	for i := range writers {
		w := &shelf{store: s, addr: s.serve(t)}
		wg.Go(func() {
			for n := range each {
				b := s.mark(t, fmt.Sprintf("w%d-%d", i, n), tlog.Sequence(i*each+n+1))
				if err := bookmark.Set(t.Context(), w, b); err != nil {
					t.Errorf("writer %d: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
	if got := s.read(t).List(tlog.UUID{}); len(got) != writers*each {
		t.Errorf("%d bookmarks are there of %d: %v", len(got), writers*each, got)
	}
	if got := s.entries(t); got != writers*each {
		t.Errorf("%d entries for %d bookmarks", got, writers*each)
	}
}

// entries is the number of records of the bookmark log, which lie end to end.
func (s *store) entries(t testing.TB) int {
	t.Helper()
	l, err := s.log(t).Sibling(t.Context(), bookmark.Vdisk)
	if err != nil {
		t.Fatal(err)
	}
	n, end := 0, uint64(0)
	err = l.Replay(t.Context(), 0, tlog.Hash{}, l.Info().Last, func(r *tlog.Record) error {
		if r.Offset != end {
			t.Errorf("record %d is at %d, the one before ends at %d", r.Sequence, r.Offset, end)
		}
		n, end = n+1, r.End()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// lost is a session that is taken over from, in the eyes of its user: before
// its entry was logged, or after.
type lost struct {
	*client.Client
	logged bool
}

func (l *lost) Append(ctx context.Context, op tlog.Operation, off uint64, size uint32, data []byte) (tlog.Sequence, error) {
	if !l.logged {
		return 0, fmt.Errorf("planted: %w", client.ErrFenced)
	}
	return l.Client.Append(ctx, op, off, size, data)
}

func (l *lost) FlushTo(ctx context.Context, s tlog.Sequence) error {
	return errors.Join(l.Client.FlushTo(ctx, s), fmt.Errorf("planted: %w", client.ErrFenced))
}

// TestFenced takes the log from a writer, before and after its entry was
// logged: the entry is there once.
func TestFenced(t *testing.T) {
	s := newStore(t)
	addr := s.serve(t)
	s.write(t, addr, 20)
	for i, logged := range []bool{false, true} {
		times := 0
		w := &shelf{store: s, addr: addr, meddle: func(c *client.Client) bookmark.Session {
			if times++; times > 2 {
				return c
			}
			return &lost{c, logged}
		}}
		b := s.mark(t, fmt.Sprint("b", i), 5)
		if err := bookmark.Set(t.Context(), w, b); err != nil {
			t.Fatal(err)
		}
		if _, ok := s.read(t).Find(b.UUID, b.Name); !ok || s.entries(t) != i+1 {
			t.Errorf("logged %v: the bookmark is there: %v, in %d entries", logged, ok, s.entries(t))
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	w := &shelf{store: s, addr: addr, meddle: func(c *client.Client) bookmark.Session { cancel(); return &lost{Client: c} }}
	if err := bookmark.Set(ctx, w, s.mark(t, "never", 5)); err == nil {
		t.Error("a writer that was always taken over from is content")
	}
}

// TestResolve looks moments up by name: of this vdisk, with this history only.
func TestResolve(t *testing.T) {
	s := newStore(t)
	w := &shelf{store: s, addr: s.serve(t)}
	s.write(t, w.addr, 20)
	good, rolled, forked := s.mark(t, "good", 7), s.mark(t, "rolled", 7), s.mark(t, "forked", 7)
	rolled.Position += 1000
	forked.Digest[0]++
	theirs := s.mark(t, "theirs", 7)
	theirs.UUID = tlog.UUID{3}
	for _, b := range []bookmark.Bookmark{good, rolled, forked, theirs} {
		if err := bookmark.Set(t.Context(), w, b); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		text  string
		seq   tlog.Sequence
		says  string
		class tlog.Class
	}{
		{text: "bookmark:good", seq: 7},
		{text: "seq:9", seq: 9},
		{text: "latest", seq: 20},
		{text: "bookmark:rolled", says: "rolled back", class: tlog.Corrupt},
		{text: "bookmark:forked", says: "another history", class: tlog.Corrupt},
		{text: "bookmark:theirs", says: "no such bookmark"},
		{text: "bookmark:none", says: "no such bookmark"},
	} {
		when, err := player.ParseWhen(c.text, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		l := s.log(t)
		when, err = bookmark.Resolve(t.Context(), l, when)
		if c.says != "" {
			if err == nil || !strings.Contains(err.Error(), c.says) || tlog.ClassOf(err) != c.class {
				t.Errorf("%s: %v (class %d), want %q", c.text, err, tlog.ClassOf(err), c.says)
			}
			continue
		}
		p, perr := l.Resolve(t.Context(), when)
		if err != nil || perr != nil || p.Sequence != c.seq {
			t.Errorf("%s is record %d (%v, %v), want %d", c.text, p.Sequence, err, perr, c.seq)
		}
	}
	// One that is not looked up is no moment.
	when, err := player.ParseWhen("bookmark:good", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if p, err := s.log(t).Resolve(t.Context(), when); err == nil || !strings.Contains(err.Error(), "not looked up") {
		t.Errorf("a bookmark that was not looked up is %v, %v", p, err)
	}
}
