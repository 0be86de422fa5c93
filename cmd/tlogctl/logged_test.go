package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tlog"
	"tlog/aggregate"
	"tlog/client"
	"tlog/cmd/internal/storage"
	"tlog/server"
)

const (
	loggedName = "disk"
	loggedSize = 8 << 20
)

// logged is an embedded store with a vdisk, and what was logged, by which the
// simplest code makes the disk of any moment.
type logged struct {
	dir   string // of the test
	flags []string
	log   []change // by sequence, from 1
	disk  []byte   // after all of them
}

// change is a record; size 0: a flush.
type change struct {
	off, size uint64
	data      []byte // shorter than size: zeroes follow
}

func (c change) apply(disk []byte) {
	clear(disk[c.off : c.off+c.size])
	copy(disk[c.off:], c.data)
}

// end is the sequence of the last record.
func (l *logged) end() int { return len(l.log) - 1 }

// after is the disk after a record. The disks are not kept: under the race
// detector those of 200 records took 8 GiB.
func (l *logged) after(seq int) []byte {
	disk := make([]byte, loggedSize)
	for _, c := range l.log[:seq+1] {
		c.apply(disk)
	}
	return disk
}

func newLogged(t testing.TB, n int, seed uint64) *logged {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir()) // where indexes are kept
	dir := t.TempDir()
	l := &logged{dir: dir, flags: []string{"--data-dir", filepath.Join(dir, "data")}, disk: make([]byte, loggedSize), log: make([]change, 1)}
	l.write(t, n, seed)
	return l
}

// write logs n random operations through a server in this process.
func (l *logged) write(t testing.TB, n int, seed uint64) {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	st := storage.Flags{DataDir: l.flags[1], ParityShards: -1}
	opened, err := st.OpenWriter(t.Context(), quiet)
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(server.Config{Pool: opened.Pool, Keys: opened.Keys, Aggregate: aggregate.Config{MaxRecords: 7}, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(context.Background(), ln) }()
	c, err := client.Open(t.Context(), client.Config{Vdisk: loggedName, DiskSize: loggedSize, Servers: []string{ln.Addr().String()}, Takeover: true, Adopt: true})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(seed, 1))
	for range n {
		op, off, size := tlog.OpWrite, rng.Uint64N(loggedSize-(64<<10)), uint32(1+rng.IntN(64<<10))
		data := make([]byte, size)
		switch rng.IntN(10) {
		case 0:
			op, data = tlog.OpTrim, nil
		case 1: // zeroes
		default:
			for i := range data {
				data[i] = byte(rng.Uint32())
			}
		}
		if _, err := c.Append(t.Context(), op, off, size, data); err != nil {
			t.Fatal(err)
		}
		l.log = append(l.log, change{off, uint64(size), data})
		l.log[l.end()].apply(l.disk)
		if rng.IntN(9) == 0 {
			if err := c.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			l.log = append(l.log, change{})
		}
	}
	for _, end := range []func(context.Context) error{c.Close, srv.Shutdown, func(context.Context) error { return <-served }, func(context.Context) error { return opened.Close() }} {
		if err := end(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func (l *logged) path(name string) string { return filepath.Join(l.dir, name) }

// ctl runs a command line of tlogctl and returns its output and exit code.
func (l *logged) ctl(ctx context.Context, args ...string) (string, int, error) {
	var out bytes.Buffer
	cmd := command()
	cmd.SetArgs(append(args, l.flags...))
	cmd.SetOut(&out)
	cmd.SetErr(io.Discard)
	err := cmd.ExecuteContext(ctx)
	return out.String(), storage.ExitCode(err), err
}

// done is ctl for what must succeed.
func (l *logged) done(t testing.TB, args ...string) string {
	t.Helper()
	out, _, err := l.ctl(t.Context(), args...)
	if err != nil {
		t.Fatalf("tlogctl %s: %v", strings.Join(args, " "), err)
	}
	return out
}

func (l *logged) wantFile(t testing.TB, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not the disk as the model has it (%v)", path, err)
	}
}

// wantNames wants nothing else in the test's directory.
func (l *logged) wantNames(t testing.TB, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		if e.Name() != "data" {
			got = append(got, e.Name())
		}
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("the directory has %q, want %q", got, want)
	}
}

// save copies the store; recover brings the copy back.
func (l *logged) save(t testing.TB) string {
	t.Helper()
	if err := os.CopyFS(l.path("whole"), os.DirFS(l.flags[1])); err != nil {
		t.Fatal(err)
	}
	return l.path("whole")
}

func (l *logged) recover(t testing.TB, whole string) {
	t.Helper()
	if err := errors.Join(os.RemoveAll(l.flags[1]), os.CopyFS(l.flags[1], os.DirFS(whole)), os.Chmod(filepath.Join(l.flags[1], "key"), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// damage flips a bit of a position's shards in all directories.
func (l *logged) damage(t testing.TB, pos uint64) {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(l.flags[1], "shard-*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	damaged := 0
	for _, path := range segments {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; ; at += 5 {
			i := bytes.Index(b[at:], []byte("TLOG\x01")) // of an envelope, docs/format.md
			if i < 0 {
				break
			}
			at += i
			if at+101 < len(b) && binary.LittleEndian.Uint64(b[at+24:]) == pos {
				b[at+100] ^= 1
				damaged++
			}
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if damaged == 0 {
		t.Fatalf("position %d is nowhere", pos)
	}
}

// markerOf is the marker of a base image of another vdisk, as docs/format-base.md
// has it.
func markerOf(vdisk string) []byte {
	b := make([]byte, 512)
	copy(b, "TLOGBASE")
	le := binary.LittleEndian
	le.PutUint32(b[8:], 1)
	le.PutUint32(b[12:], 4096)
	b[40] = 1 // client
	le.PutUint32(b[112:], uint32(len(vdisk)))
	copy(b[116:], vdisk)
	le.PutUint32(b[508:], crc32.Checksum(b[:508], crc32.MakeTable(crc32.Castagnoli)))
	return b
}
