//go:build e2e

package e2e

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestPromote writes to a mounted moment of a disk that is being served, makes
// a vdisk of it, and serves that: it is what the mount showed.
func TestPromote(t *testing.T) {
	for _, kind := range pools {
		t.Run(kind.name, func(t *testing.T) {
			s := newStack(t, kind.make(t))
			p := s.pool
			s.fio("before", s.socket, 16<<20, "--bs=16k", "--rw=randwrite", "--size=8m", "--fsync=32")
			moment := s.mark("before.img")
			s.fio("after", s.socket, 16<<20, "--bs=16k", "--rw=randwrite", "--size=8m", "--fsync=32")
			m := &mounts{t: t, p: p, dir: t.TempDir()}
			overlay := filepath.Join(m.dir, "overlay")
			d := m.mount(moment.seq, "--cow", overlay)
			s.fio("over", d.socket, 20<<20, "--bs=4k", "--rw=randwrite", "--size=6m", "--fsync=32")
			d.io("write -P 7 1M 3M", "write -z 17M 1M", "discard 40M 8M", "flush")
			shown := d.image("shown.img")
			index := []string{"--index", filepath.Join(m.dir, "index"), "--server", s.addr}
			if out := p.ctl(t, 1, append([]string{"promote", overlay, "promoted"}, index...)...); !strings.Contains(out, overlay) {
				t.Errorf("an overlay that is mounted: %s", out)
			}
			d.kill()
			p.ctl(t, 0, append([]string{"promote", overlay, "promoted"}, index...)...)
			equal(t, p.restored(t, "promoted"), shown)
			if out := p.ctl(t, 0, "info", "promoted"); !strings.Contains(out, "begun with") || !strings.Contains(out, "vdisk "+vdisk+" (") {
				t.Errorf("info does not name the origin:\n%s", out)
			}
			p.ctl(t, 0, "verify", "promoted")
			p.ctl(t, 0, "scrub", "--all")

			// It is a disk like any other; the one that it came from is not touched.
			c := &stack{t: t, pool: p, addr: s.addr, socket: filepath.Join(m.dir, "promoted.sock")}
			c.disk = start(t, bin(t, "tlognbd"), append([]string{"serve", "promoted", "--size", "192M", "--server", s.addr, "--takeover",
				"--base", filepath.Join(m.dir, "promoted.img"), "--listen", "unix:" + c.socket}, p.flags...)...)
			eventually(t, "the promoted disk is served", func() error {
				_, err := nbdSize(t, c.socket)
				return err
			})
			equal(t, c.image("served.img"), shown)
			c.fio("more", c.socket, 16<<20, "--bs=16k", "--rw=randwrite", "--size=2m", "--fsync=32")
			image, _ := restore(t, p, moment.seq)
			equal(t, image, moment.image)
			s.unfailed()
			c.unfailed()
		})
	}
}
