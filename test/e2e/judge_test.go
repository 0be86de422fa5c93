//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tlog/test/guest"
	"tlog/test/guest/slot"
)

// judge looks at every flush point of a guest's disk.
//
// A guest says what the disk promised it, and the host sees that later than the
// flush was acknowledged, whose mark has a time before that. So everything that
// the guest said before the time of the next mark must be in a point.
type judge struct {
	pool  *pool
	said  []guest.Line
	marks []flushMark
	index string // directory

	mu    sync.Mutex
	early int // points before there was a file system
	bad   int // points of which anything is not as it should be
	fsck  int // points whose file system is not clean
	db    int // points whose database or files are not whole, or older than promised
}

// promise is what must be in a point.
type promise struct {
	formatted, ready bool
	commit, file     int
}

// String is the line for machines.
func (j *judge) String() string {
	ok := func(n int) string {
		if n == 0 {
			return "ok"
		}
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("guest: points=%d early=%d fsck=%s db=%s violations=%d", len(j.marks), j.early, ok(j.fsck), ok(j.db), j.bad)
}

// all looks at every point, as many at a time as the tests may.
func (j *judge) all(t *testing.T) {
	t.Run("points", func(t *testing.T) {
		for i, m := range j.marks {
			t.Run(fmt.Sprintf("seq:%d", m.Sequence), func(t *testing.T) {
				t.Parallel()
				j.point(t, i)
			})
		}
	})
	if last := j.promised(len(j.marks) - 1); last.commit == 0 || last.file == 0 || j.early > len(j.marks)/2 {
		t.Errorf("too little was promised to prove anything: %+v, %v", last, j)
	}
}

// promised is what must be in point i.
func (j *judge) promised(i int) (p promise) {
	until := time.Unix(math.MaxInt32, 0)
	if i+1 < len(j.marks) {
		until = j.marks[i+1].Time
	}
	for _, l := range j.said {
		if !l.At.Before(until) {
			break
		}
		switch {
		case l.Text == "formatted":
			p.formatted = true
		case l.Text == "ready":
			p.ready = true
		default:
			_, _ = fmt.Sscanf(l.Text, "commit %d", &p.commit) // another line leaves it
			_, _ = fmt.Sscanf(l.Text, "file %d", &p.file)
		}
	}
	return p
}

// point looks at point i.
func (j *judge) point(t *testing.T, i int) {
	defer func() {
		if t.Failed() {
			j.count(&j.bad)
		}
	}()
	want := j.promised(i)
	if !want.formatted {
		j.count(&j.early)
		return
	}
	disk := j.mount(t, j.marks[i])
	if err := filesystem(t, disk); err != nil {
		j.count(&j.fsck)
		t.Error(err)
		return
	}
	if err := content(t, disk, want); want.ready && err != nil {
		j.count(&j.db)
		t.Errorf("promised %+v: %v", want, err)
	}
}

func (j *judge) count(n *int) {
	j.mu.Lock()
	*n++
	j.mu.Unlock()
}

// mount makes the disk of a moment a file that can be written to.
func (j *judge) mount(t *testing.T, m flushMark) string {
	dir := t.TempDir()
	socket, disk := filepath.Join(dir, "nbd.sock"), filepath.Join(dir, "disk")
	past := start(t, bin(t, "tlognbd"), append([]string{"mount", vdisk, "--at", fmt.Sprintf("seq:%d", m.Sequence),
		"--cow", filepath.Join(dir, "overlay"), "--index", j.index, "--listen", "unix:" + socket}, j.pool.flags...)...)
	eventually(t, "tlognbd serves the moment", func() error {
		select {
		case <-past.done:
			t.Fatalf("tlognbd ended: %s", tail(past.out.String()))
		default:
		}
		c, err := net.Dial("unix", socket)
		if err == nil {
			err = c.Close()
		}
		return err
	})
	if err := os.WriteFile(disk, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, "nbdfuse", disk, uri(socket))
	t.Cleanup(func() { run(t, "umount", disk) })
	eventually(t, "nbdfuse shows the moment", func() error {
		if st, err := os.Stat(disk); err != nil || st.Size() == 0 {
			return fmt.Errorf("%s is empty (%v)", disk, err)
		}
		return nil
	})
	return disk
}

// filesystem does what a boot does, which replays the journal and frees what
// was deleted and still open, and then wants that nothing is wrong.
func filesystem(t *testing.T, disk string) error {
	out, code := try(t, "e2fsck", "-p", disk)
	if code > 1 || !strings.Contains(out, ": clean,") {
		return fmt.Errorf("e2fsck -p: exit code %d\n%s", code, out)
	}
	if out, code = try(t, "e2fsck", "-fn", disk); code != 0 {
		return fmt.Errorf("e2fsck -fn: exit code %d\n%s", code, out)
	}
	return nil
}

// content takes the files out of the file system and looks at them.
func content(t *testing.T, disk string, want promise) error {
	dir := t.TempDir()
	out, code := try(t, "debugfs", "-R", fmt.Sprintf("rdump /db /files %q", dir), disk)
	if code != 0 {
		return fmt.Errorf("debugfs: exit code %d\n%s", code, out)
	}
	return errors.Join(database(t, filepath.Join(dir, "db", "disk.db"), want.commit), files(filepath.Join(dir, "files"), want.file))
}

// database opens the database, as a program does after a crash.
func database(t *testing.T, name string, commit int) error {
	if _, err := os.Stat(name); err != nil {
		return err
	}
	out, code := try(t, "sqlite3", name, "PRAGMA integrity_check; SELECT n, (SELECT max(n) FROM rows), (SELECT sum(balance) FROM accounts) FROM counter;")
	var n, last, sum int
	if _, err := fmt.Sscanf(out, "ok\n%d|%d|%d\n", &n, &last, &sum); err != nil || code != 0 {
		return fmt.Errorf("sqlite3: exit code %d\n%s", code, out)
	}
	if n != last || sum != 100_000 {
		return fmt.Errorf("half a transaction: counter %d, last row %d, sum of balances %d", n, last, sum)
	}
	if n < commit {
		return fmt.Errorf("the counter is %d, transaction %d had returned", n, commit)
	}
	return nil
}

// files wants every file whole, and the last one there.
func files(dir string, want int) error {
	n, err := slot.Newest(dir)
	if errors.Is(err, os.ErrNotExist) && want == 0 {
		return nil // the guest's first directories were not promised
	}
	if err == nil && n < want {
		err = fmt.Errorf("file %d is the last one, %d was in its place", n, want)
	}
	return err
}
