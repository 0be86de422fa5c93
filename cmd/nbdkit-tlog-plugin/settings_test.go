//go:build nbdkit

package main

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tlog"
	"tlog/client"
	"tlog/cmd/internal/storage"
	"tlog/group"
	"tlog/past"
	"tlog/player"
	"tlog/vdisk"
)

func TestParameters(t *testing.T) {
	p := newSettings()
	if err := p.check(); err == nil {
		t.Error("nothing given, and accepted")
	}
	for _, kv := range [][2]string{
		{"vdisk", "v"}, {"size", "1048576"}, {"base", "/b"}, {"server", "x:1,unix:/s"}, {"takeover", "true"},
		{"flush-deadline", "5s"}, {"group", "g"}, {"group-dir", "/g"}, {"storage-addresses", "a:1,b:2@3"}, {"data-shards", "2"},
	} {
		if err := p.set(kv[0], kv[1]); err != nil {
			t.Error(err)
		}
	}
	if err := p.check(); err != nil {
		t.Error(err)
	}
	d, s := p.disk, p.storage
	if d.Vdisk != "v" || d.Size != 1<<20 || d.Base != "/b" || !slices.Equal(d.Servers, []string{"x:1", "unix:/s"}) || !d.Takeover || d.FlushDeadline != 5*time.Second {
		t.Errorf("disk %+v", d)
	}
	if !slices.Equal(s.StorageAddresses, []string{"a:1", "b:2@3"}) || s.DataShards != 2 || !s.Given() {
		t.Errorf("storage %+v", s)
	}
	if p.group.Name != "g" || p.group.Dir != "/g" {
		t.Errorf("group %+v", p.group)
	}
	for _, kv := range [][2]string{{"group", "a/b"}, {"size", "1G"}, {"takeover", "perhaps"}, {"flush-deadline", "5"}, {"data-shards", "x"}, {"bogus", "1"}} {
		if err := p.set(kv[0], kv[1]); err == nil {
			t.Errorf("%s=%s accepted", kv[0], kv[1])
		}
	}
}

func TestMomentParameters(t *testing.T) {
	p := newSettings()
	for _, kv := range [][2]string{
		{"past", "-5m"}, {"snap-to", "any"}, {"cow", "/o"}, {"cache", "/c"}, {"hydrate", "true"}, {"index", "/i"}, {"temp-dir", "/t"}, {"data-dir", "/d"},
	} {
		if err := p.set(kv[0], kv[1]); err != nil {
			t.Error(err)
		}
	}
	if err := p.check(); err == nil {
		t.Error("no vdisk given, and accepted")
	}
	if err := errors.Join(p.set("vdisk", "v"), p.check()); err != nil {
		t.Error(err)
	}
	want := moment{when: "-5m", snap: "any", overlay: "/o", cache: "/c", hydrate: true, indexes: p.moment.indexes, tempDir: "/t"}
	if p.moment != want || want.indexes.Dir != "/i" || p.storage.DataDir != "/d" {
		t.Errorf("moment %+v of %+v", p.moment, p.storage)
	}
	if err := p.set("hydrate", "perhaps"); err == nil {
		t.Error("hydrate=perhaps accepted")
	}
}

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{errors.New("x"), storage.ExitFailed},
		{vdisk.ErrBase, storage.ExitConfig},
		{group.ErrClock, storage.ExitConfig},
		{vdisk.ErrBehind, storage.ExitConfig},
		{client.ErrRefused, storage.ExitConfig},
		{client.ErrFenced, storage.ExitFenced},
		{client.ErrDenied, storage.ExitFenced},
		{tlog.Corruptf("%w", client.ErrLogBehind), storage.ExitIntegrity},
		{tlog.Corruptf("%w", vdisk.ErrDiverged), storage.ExitIntegrity},
		{tlog.Unavailablef("x"), storage.ExitServers},
		{client.ErrNotFlushed, storage.ExitNotFlushed},
		{past.ErrNotFlushed, storage.ExitNotFlushed},
		{player.ErrRange, storage.ExitUsage},
		{past.ErrFile, storage.ExitConfig},
		{fmt.Errorf("%w: %w", past.ErrFile, tlog.Corruptf("checksum")), storage.ExitIntegrity},
	} {
		if got := exitCode(fmt.Errorf("vdisk: %w", c.err)); got != c.want {
			t.Errorf("%v: exit %d, want %d", c.err, got, c.want)
		}
	}
}

// A storage that is not the server's is refused before a record is read.
func TestCompare(t *testing.T) {
	h := &history{vdisk: "v"}
	at := client.Point{Sequence: 7, Chain: tlog.Hash{1}}
	if err := h.compare(player.Info{Last: 7, Chain: tlog.Hash{1}}, at); err != nil {
		t.Error(err)
	}
	for _, info := range []player.Info{{Last: 6, Chain: tlog.Hash{1}}, {Last: 8, Chain: tlog.Hash{1}}, {Last: 7}} {
		if err := h.compare(info, at); tlog.ClassOf(err) != tlog.Corrupt {
			t.Errorf("%+v: %v", info, err)
		}
	}
}

func TestURI(t *testing.T) {
	for _, c := range []struct {
		at   unix.Sockaddr
		want string
	}{
		{&unix.SockaddrInet4{Port: 7, Addr: [4]byte{127, 0, 0, 1}}, "nbd://127.0.0.1:7"},
		{&unix.SockaddrInet6{Port: 7, Addr: [16]byte{15: 1}}, "nbd://[::1]:7"},
		{&unix.SockaddrUnix{Name: "/run/x"}, "nbd+unix:///?socket=/run/x"},
	} {
		if got := uri(c.at); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}
