package vdisk

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tlog"
	"tlog/client"
)

// used is a closed disk that holds something, at record 3 of its log.
func used(t testing.TB) (*store, Config) {
	s := newStore("d")
	cfg := testConfig(t, s)
	r := openRig(t, s, cfg)
	r.write(t, 0, 8192, 'a')
	r.write(t, 4096, 512, 'b')
	check(t, r.Flush(ctx))
	r.mustClose(t)
	return s, cfg
}

func TestRefusedAttaches(t *testing.T) {
	other := tlog.UUID{9, 6: 0x50, 8: 0x80}
	for _, c := range []struct {
		name    string
		prepare func(t *testing.T, s *store, cfg *Config)
		want    error
		says    string
	}{
		{"image of someone else", func(t *testing.T, s *store, cfg *Config) {
			check(t, os.Remove(markerPath(cfg.Base)))
		}, ErrBase, "tlogctl import"},
		{"other vdisk's base", func(t *testing.T, s *store, cfg *Config) {
			cfg.Vdisk = "e"
		}, ErrBase, "base of vdisk d"},
		{"other size", func(t *testing.T, s *store, cfg *Config) {
			cfg.Size *= 2
		}, ErrBase, "not of 2097152"},
		{"cut base", func(t *testing.T, s *store, cfg *Config) {
			check(t, os.Truncate(cfg.Base, 4096))
		}, ErrBase, "remove it to rebuild"},
		{"later version", func(t *testing.T, s *store, cfg *Config) {
			rewrite(t, cfg.Base, func(b []byte) { b[8], b[slotStride+8] = 2, 2 })
		}, ErrBase, "later version"},
		{"damaged marker", func(t *testing.T, s *store, cfg *Config) {
			rewrite(t, cfg.Base, func(b []byte) { b[70] ^= 1; b[slotStride+70] ^= 1 })
		}, ErrBase, "checksum"},
		{"base in use", func(t *testing.T, s *store, cfg *Config) {
			b, err := openBase(cfg.Base, cfg.Size)
			check(t, err)
			t.Cleanup(func() { b.f.Close() })
		}, ErrBase, "in use"},
		{"a directory", func(t *testing.T, s *store, cfg *Config) {
			cfg.Base = t.TempDir()
		}, ErrBase, "directory"},
		{"log rolled back", func(t *testing.T, s *store, cfg *Config) {
			s.taken = s.taken[:2]
		}, ErrDiverged, "log ends at 2"},
		{"log diverged", func(t *testing.T, s *store, cfg *Config) {
			s.taken[2].chain[0] ^= 1
		}, ErrDiverged, "different histories"},
		{"vdisk made again", func(t *testing.T, s *store, cfg *Config) {
			s.uuid = other
		}, ErrDiverged, "another pool"},
		{"behind, no storage named", func(t *testing.T, s *store, cfg *Config) {
			more(t, s)
			cfg.CatchUp = nil
		}, ErrBehind, "--data-dir"},
		{"storage skips a record", func(t *testing.T, s *store, cfg *Config) {
			more(t, s)
			cfg.CatchUp = func(_ context.Context, _, to client.Point, fn func(*tlog.Record) error) error {
				return fn(&tlog.Record{Sequence: to.Sequence + 1, Operation: tlog.OpFlush})
			}
		}, nil, "record 5 after 3"},
		{"refused by the server", func(t *testing.T, s *store, cfg *Config) {
			s.attach = func(client.Config) error { return client.ErrDenied }
		}, client.ErrDenied, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, cfg := used(t)
			c.prepare(t, s, &cfg)
			before, _ := os.ReadFile(cfg.Base)
			taken := len(s.taken)
			var fl *fakeLog
			_, err := open(ctx, cfg, s.connect(t, &fl))
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("got %v", err)
			}
			if after, _ := os.ReadFile(cfg.Base); !bytes.Equal(after, before) || len(s.taken) != taken {
				t.Error("a refused attach changed something")
			}
			if fl != nil && !fl.closed {
				t.Error("the log was left open")
			}
		})
	}
}

func rewrite(t *testing.T, base string, change func([]byte)) {
	b, err := os.ReadFile(markerPath(base))
	check(t, err)
	b = append(b, make([]byte, slotStride+slotSize-len(b))...)
	change(b)
	check(t, os.WriteFile(markerPath(base), b, 0o600))
}

// more adds a record to the log that the base does not know of.
func more(t testing.TB, s *store) {
	r := tlog.Record{Sequence: tlog.Sequence(len(s.taken) + 1), Operation: tlog.OpZero, Offset: 100, Size: 50}
	s.taken = append(s.taken, taken{rec: r, chain: tlog.ChainNext(s.point(len(s.taken)).Chain, &r)})
}

// What a base lost is brought back from the log, and the client stays the same.
func TestBasesThatAreMadeGood(t *testing.T) {
	for _, c := range []struct {
		name   string
		before func(t *testing.T, s *store, cfg *Config)
		same   bool // client
	}{
		{"behind", func(t *testing.T, s *store, cfg *Config) { more(t, s) }, true},
		{"base gone", func(t *testing.T, s *store, cfg *Config) { check(t, os.Remove(cfg.Base)) }, true},
		{"base emptied", func(t *testing.T, s *store, cfg *Config) { check(t, os.Truncate(cfg.Base, 0)) }, true},
		{"one slot torn", func(t *testing.T, s *store, cfg *Config) {
			rewrite(t, cfg.Base, func(b []byte) { b[slotStride+30] ^= 1 })
		}, true},
		{"both gone", func(t *testing.T, s *store, cfg *Config) {
			check(t, errors.Join(os.Remove(cfg.Base), os.Remove(markerPath(cfg.Base))))
		}, false},
		{"holes without marker", func(t *testing.T, s *store, cfg *Config) {
			check(t, errors.Join(os.Remove(markerPath(cfg.Base)), os.Truncate(cfg.Base, 0), os.Truncate(cfg.Base, 1<<30)))
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, cfg := used(t)
			old, err := readMarker(markerPath(cfg.Base))
			check(t, err)
			c.before(t, s, &cfg)
			r := openRig(t, s, cfg)
			if got, want := r.read(t), s.image(len(s.taken), testSize); !bytes.Equal(got, want) {
				t.Error("the disk is not what the log says")
			}
			m := r.marker.get()
			if m.point != s.point(len(s.taken)) || m.generation != s.gen || m.vdiskUUID != s.uuid {
				t.Errorf("marker %+v", m)
			}
			if (m.client == old.client) != c.same {
				t.Errorf("client %v, was %v", m.client, old.client)
			}
			r.mustClose(t)
		})
	}
}

func TestRebuild(t *testing.T) {
	s, cfg := used(t)
	cfg.Base = filepath.Join(t.TempDir(), "new.img")
	cfg.Rebuild = func(_ context.Context, to client.Point, target Target, progress func(float64)) error {
		for _, bad := range []error{target.Zero(0, testSize+1), target.Zero(-1, 1)} {
			if !errors.Is(bad, ErrRange) {
				t.Errorf("target takes what is outside the disk: %v", bad)
			}
		}
		if _, err := target.WriteAt(make([]byte, 2), testSize-1); !errors.Is(err, ErrRange) {
			t.Errorf("target takes what is outside the disk: %v", err)
		}
		progress(0.5)
		_, err := target.WriteAt(s.image(int(to.Sequence), testSize)[:8192], 0)
		return err
	}
	var steps []float64
	cfg.Progress = func(p Progress) { steps = append(steps, p.Done) }
	r := openRig(t, s, cfg)
	if got := r.read(t); !bytes.Equal(got, s.image(3, testSize)) || len(steps) != 2 || steps[1] != 1 {
		t.Errorf("rebuilt wrongly, or progress %v", steps)
	}
	r.mustClose(t)
}

// Catching up that is interrupted goes on from where the marker got.
func TestInterruptedCatchUp(t *testing.T) {
	s := newStore("d")
	cfg := testConfig(t, s)
	r := openRig(t, s, cfg)
	for i := range 2*batchRecords - 100 {
		r.write(t, int64(i)*512, 512, byte(i+1))
	}
	check(t, r.Flush(ctx))
	r.mustClose(t)
	cfg.Base, cfg.MarkerBytes = filepath.Join(t.TempDir(), "new.img"), 1
	stop := errors.New("power cut")
	var from []tlog.Sequence
	full := s.catchUp
	cfg.CatchUp = func(ctx context.Context, after, to client.Point, fn func(*tlog.Record) error) error {
		from = append(from, after.Sequence)
		return full(ctx, after, to, func(rec *tlog.Record) error {
			if len(from) == 1 && rec.Sequence == 2*batchRecords-200 {
				return stop
			}
			return fn(rec)
		})
	}
	var fl *fakeLog
	if _, err := open(ctx, cfg, s.connect(t, &fl)); !errors.Is(err, stop) {
		t.Fatalf("got %v", err)
	}
	r = openRig(t, s, cfg)
	if got := r.read(t); !bytes.Equal(got, s.image(len(s.taken), testSize)) {
		t.Error("the disk is not what the log says")
	}
	if len(from) != 2 || from[0] != 0 || from[1] != batchRecords {
		t.Errorf("caught up from %v", from)
	}
	r.mustClose(t)
}

// A storage that leads elsewhere is found out at the end, and what it left in
// the base is not trusted afterwards.
func TestStorageOfAnotherHistory(t *testing.T) {
	for name, catchUp := range map[string]func(context.Context, client.Point, client.Point, func(*tlog.Record) error) error{
		"other record": func(_ context.Context, after, _ client.Point, fn func(*tlog.Record) error) error {
			return fn(&tlog.Record{Sequence: after.Sequence + 1, Operation: tlog.OpTrim, Size: 1})
		},
		"no record": func(context.Context, client.Point, client.Point, func(*tlog.Record) error) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			s, cfg := used(t)
			more(t, s)
			good := cfg.CatchUp
			cfg.CatchUp = catchUp
			var fl *fakeLog
			_, err := open(ctx, cfg, s.connect(t, &fl))
			if !errors.Is(err, ErrDiverged) || tlog.ClassOf(err) != tlog.Corrupt {
				t.Fatalf("got %v", err)
			}
			cfg.CatchUp = good
			r := openRig(t, s, cfg)
			if got := r.read(t); !bytes.Equal(got, s.image(len(s.taken), testSize)) {
				t.Error("the disk is not what the log says")
			}
			r.mustClose(t)
		})
	}
}

func TestConfigRefused(t *testing.T) {
	good := testConfig(t, newStore("d"))
	for name, change := range map[string]func(*Config){
		"vdisk": func(c *Config) { c.Vdisk = "a/b" }, "no size": func(c *Config) { c.Size = 0 }, "odd size": func(c *Config) { c.Size = 513 },
		"base": func(c *Config) { c.Base = "" }, "servers": func(c *Config) { c.Servers = nil },
		"window": func(c *Config) { c.WindowBytes = 1 }, "deadline": func(c *Config) { c.FlushDeadline = -1 },
	} {
		cfg := good
		change(&cfg)
		if _, err := cfg.complete(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
