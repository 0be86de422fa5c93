//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"math"
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
	t     testing.TB
	pool  *pool
	said  []guest.Line
	marks []flushMark
	dir   string

	mu    sync.Mutex
	early int // points before there was a file system
	fsck  int // points whose file system is not clean
	db    int // points whose database or files are not whole, or older than promised
}

// promise is what must be in a point.
type promise struct {
	formatted, ready bool
	commit, file     int
}

func newJudge(t testing.TB, p *pool, said []guest.Line, marks []flushMark) *judge {
	return &judge{t: t, pool: p, said: said, marks: marks, dir: t.TempDir()}
}

// String is the line for machines.
func (j *judge) String() string {
	ok := func(n int) string {
		if n == 0 {
			return "ok"
		}
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("guest: points=%d early=%d fsck=%s db=%s violations=%d", len(j.marks), j.early, ok(j.fsck), ok(j.db), j.fsck+j.db)
}

// all looks at the points, two at a time.
func (j *judge) all() {
	next := make(chan int)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for i := range next {
				j.point(i)
			}
		})
	}
	for i := range j.marks {
		next <- i
	}
	close(next)
	wg.Wait()
	if last := j.promised(len(j.marks) - 1); last.commit == 0 || last.file == 0 || j.early > len(j.marks)/2 {
		j.t.Errorf("too little was promised to prove anything: %+v, %v", last, j)
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
func (j *judge) point(i int) {
	want := j.promised(i)
	if !want.formatted {
		j.count(&j.early)
		return
	}
	dir := filepath.Join(j.dir, fmt.Sprint(i))
	if err := os.Mkdir(dir, 0o700); err != nil {
		j.t.Error(err)
		return
	}
	defer remove(j.t, dir)
	image := filepath.Join(dir, "image")
	out, code := try(j.t, bin(j.t, "tlogctl"), append([]string{"restore", vdisk, "--to", image, "--at", fmt.Sprintf("seq:%d", j.marks[i].Sequence)}, j.pool.flags...)...)
	if code != 0 {
		j.t.Errorf("point %d: restore: exit code %d\n%s", i, code, out)
		return
	}
	if err := j.filesystem(image); err != nil {
		j.count(&j.fsck)
		j.t.Errorf("point %d, record %d: %v", i, j.marks[i].Sequence, err)
		return
	}
	if err := j.content(dir, image, want); want.ready && err != nil {
		j.count(&j.db)
		j.t.Errorf("point %d, record %d: promised %+v: %v", i, j.marks[i].Sequence, want, err)
	}
}

func (j *judge) count(n *int) {
	j.mu.Lock()
	*n++
	j.mu.Unlock()
}

// filesystem does what a boot does, which replays the journal and frees what
// was deleted and still open, and then wants that nothing is wrong.
func (j *judge) filesystem(image string) error {
	out, code := try(j.t, "e2fsck", "-p", image)
	if code > 1 || !strings.Contains(out, ": clean,") {
		return fmt.Errorf("e2fsck -p: exit code %d\n%s", code, out)
	}
	if out, code = try(j.t, "e2fsck", "-fn", image); code != 0 {
		return fmt.Errorf("e2fsck -fn: exit code %d\n%s", code, out)
	}
	return nil
}

// content takes the files out of the file system and looks at them.
func (j *judge) content(dir, image string, want promise) error {
	out, code := try(j.t, "debugfs", "-R", fmt.Sprintf("rdump /db /files %q", dir), image)
	if code != 0 {
		return fmt.Errorf("debugfs: exit code %d\n%s", code, out)
	}
	return errors.Join(j.database(filepath.Join(dir, "db", "disk.db"), want.commit), files(filepath.Join(dir, "files"), want.file))
}

// database opens the database, as a program does after a crash.
func (j *judge) database(name string, commit int) error {
	if _, err := os.Stat(name); err != nil {
		return err
	}
	out, code := try(j.t, "sqlite3", name, "PRAGMA integrity_check; SELECT n, (SELECT max(n) FROM rows), (SELECT sum(balance) FROM accounts) FROM counter;")
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
