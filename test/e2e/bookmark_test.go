//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// TestBookmarks names moments of a disk that is being served and restores them
// by their names, through the server; then, without it, from the storage.
func TestBookmarks(t *testing.T) {
	for _, kind := range pools {
		t.Run(kind.name, func(t *testing.T) {
			s := newStack(t, kind.make(t))
			p := s.pool
			var moments []moment
			for i := range 3 {
				s.fio(fmt.Sprint("part", i), s.socket, int64(16+16*i)<<20, "--bs=16k", "--rw=randwrite", "--size=2m", "--fsync=8")
				moments = append(moments, s.mark(fmt.Sprint("mark", i, ".img")))
				p.ctl(t, 0, "bookmark", vdisk, fmt.Sprint("mark-", i), "--server", s.addr, "--note", "after part")
			}
			// Another at the time of an older one, by time; a name given again.
			p.ctl(t, 0, "bookmark", vdisk, "by-time", "--at", moments[0].at, "--server", s.addr)
			p.ctl(t, 0, "bookmark", vdisk, "mark-2", "--at", "bookmark:mark-1", "--server", s.addr)
			for name, m := range map[string]moment{"mark-0": moments[0], "by-time": moments[0], "mark-1": moments[1], "mark-2": moments[1]} {
				image, _ := restore(t, p, "bookmark:"+name)
				equal(t, image, m.image)
				remove(t, image)
			}
			if p.dir != "" {
				if out := p.ctl(t, 3, "bookmark", vdisk, "x"); !strings.Contains(out, "--server") {
					t.Errorf("the storage of a server that runs: %s", out)
				}
			}
			s.disk.stop()
			s.server.stop()
			p.ctl(t, 0, "bookmark", vdisk, "mark-1", "--delete")
			if out := p.ctl(t, 0, "bookmark", vdisk, "--list"); strings.Contains(out, "mark-1") || !strings.Contains(out, "mark-2") || !strings.Contains(out, "after part") {
				t.Errorf("the bookmarks are\n%s", out)
			}
			p.ctl(t, 1, "restore", vdisk, "--at", "bookmark:mark-1", "--to", "none.img")
			if out := p.ctl(t, 0, "ls"); strings.Contains(out, ".bookmarks") {
				t.Errorf("ls shows the bookmarks' log:\n%s", out)
			}
			if out := p.ctl(t, 0, "ls", "--all"); !strings.Contains(out, ".bookmarks") {
				t.Errorf("ls --all does not show the bookmarks' log:\n%s", out)
			}
			p.ctl(t, 0, "verify", ".bookmarks")
			p.ctl(t, 0, "scrub", "--all")
		})
	}
}

// TestBookmarksAtOnce has several tlogctl make bookmarks in one pool of Redis
// servers at the same time, some through a tlogserver and some without: each
// of them takes the log from another, and none of their bookmarks is lost.
func TestBookmarksAtOnce(t *testing.T) {
	p := newRedis(t)
	s := &stack{t: t, pool: p, addr: freeAddr(t)}
	s.startServer()
	p.ctl(t, 0, "import", randomImage(t, 4<<20), vdisk)
	var wg sync.WaitGroup
	const writers, each = 4, 3
	for i := range writers {
		wg.Go(func() {
			for n := range each {
				args := append([]string{"bookmark", vdisk, fmt.Sprintf("w%d-%d", i, n)}, p.flags...)
				if i%2 == 0 {
					args = append(args, "--server", s.addr)
				}
				if out, code := try(t, bin(t, "tlogctl"), args...); code != 0 {
					t.Errorf("tlogctl %v: exit code %d\n%s", args, code, out)
				}
			}
		})
	}
	wg.Wait()
	out := result(t, bin(t, "tlogctl"), append([]string{"bookmark", "--list", "--json"}, p.flags...)...)
	if n := strings.Count(out, "\n"); n != writers*each {
		t.Errorf("%d bookmarks of %d:\n%s", n, writers*each, out)
	}
}
