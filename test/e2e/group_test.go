//go:build e2e

package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"tlog"
	"tlog/crypto"
	"tlog/group"
	"tlog/player"
	"tlog/stor"
	"tlog/stor/redis"
)

const (
	groupName  = "vm"
	groupSlots = 4 // writers, each with a block of its own on both disks
	groupBlock = 4096
	groupSize  = 16 << 20
)

// member is one disk of the group.
type member struct {
	*stack
	vdisk tlog.VdiskID
}

func (f *fleet) member(name tlog.VdiskID, clocks string) *member {
	dir := f.t.TempDir()
	m := &member{vdisk: name, stack: &stack{t: f.t, pool: f.pool, addr: strings.Join(f.addrs[:], ","),
		socket: filepath.Join(dir, "nbd.sock"), base: filepath.Join(dir, "base.img"), diskFlags: []string{"--group", groupName, "--group-dir", clocks}}}
	m.start()
	return m
}

// start is startDisk with the member's own name and size.
func (m *member) start() {
	m.t.Helper()
	args := []string{"serve", string(m.vdisk), "--size", fmt.Sprint(groupSize), "--server", m.addr, "--base", m.base, "--listen", "unix:" + m.socket}
	m.disk = start(m.t, bin(m.t, "tlognbd"), append(append(args, m.diskFlags...), m.pool.flags...)...)
	eventually(m.t, "tlognbd serves "+string(m.vdisk), func() error {
		c, err := dialNBD(m.socket)
		if err == nil {
			err = c.close()
		}
		return err
	})
}

// write writes a slot's counter, in one of the ways that there are, and returns
// when the disk has acknowledged it; it goes on by itself when the disk is back.
func (m *member) write(conn **nbd, rng *rand.Rand, slot, count uint64, stop <-chan struct{}) bool {
	block := make([]byte, groupBlock)
	binary.LittleEndian.PutUint64(block, count)
	for {
		err := error(nil)
		if *conn == nil {
			*conn, err = dialNBD(m.socket)
		}
		if err == nil {
			flags := uint16(0)
			if rng.IntN(200) == 0 {
				flags = nbdFUA
			}
			err = (*conn).do(nbdWrite, flags, slot*groupBlock, groupBlock, block)
		}
		if err == nil && rng.IntN(100) == 0 { // what takes another way than a write's
			err = (*conn).do(nbdZeroes, 0, 8<<20+slot*groupBlock, groupBlock, nil)
		}
		if err == nil {
			return true
		}
		(*conn).close()
		*conn = nil
		select {
		case <-stop:
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// depend writes a counter to a, and when that is acknowledged to b, and so on;
// begun is told of the first.
func depend(a, b *member, slot uint64, begun *sync.WaitGroup, stop <-chan struct{}) (count uint64) {
	rng := rand.New(rand.NewPCG(3, slot))
	var toA, toB *nbd
	defer func() { toA.close(); toB.close() }() // nbdkit waits for its clients
	for count = 1; ; count++ {
		if !a.write(&toA, rng, slot, count, stop) || !b.write(&toB, rng, slot, count, stop) {
			return count
		}
		if count == 1 {
			begun.Done()
		}
		select {
		case <-stop:
			return count
		default:
		}
	}
}

// past is a member's counters after each of its records. A disk whose process was
// killed lost what it had not flushed: until a slot is written again it is behind.
type past struct {
	index  *player.Index
	counts [][groupSlots]uint64
	behind [][groupSlots]bool
	times  []time.Time
	runs   int
}

func (m *member) past(pool *stor.Pool, keys *crypto.Keyring) *past {
	t := m.t
	l, err := player.Open(t.Context(), pool, keys, m.vdisk, player.Config{})
	if err != nil {
		t.Fatal(err)
	}
	p := &past{counts: make([][groupSlots]uint64, 1), behind: make([][groupSlots]bool, 1)}
	if p.index, err = l.OpenIndex(t.Context(), "", nil); err != nil {
		t.Fatal(err)
	}
	run := group.Stamp(0)
	err = l.Replay(t.Context(), 0, tlog.Hash{}, l.Info().Last, func(r *tlog.Record) error {
		count, behind := p.counts[len(p.counts)-1], p.behind[len(p.behind)-1]
		if s := group.Stamp(r.Group); s != run && !s.IsClosed() {
			if run = s; p.runs > 0 {
				behind = [groupSlots]bool{true, true, true, true}
			}
			p.runs++
		}
		if slot := r.Offset / groupBlock; r.Operation == tlog.OpWrite && slot < groupSlots {
			count[slot], behind[slot] = binary.LittleEndian.Uint64(r.Data), false
		}
		p.counts, p.behind = append(p.counts, count), append(p.behind, behind)
		p.times = append(p.times, time.Unix(0, int64(r.Timestamp)))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// wrong reports whether b has what a lacks, which had been acknowledged before, or
// the other way round.
func wrong(a, b *past, x, y tlog.Sequence) bool {
	for s := range groupSlots {
		na, nb := a.counts[x][s], b.counts[y][s]
		if nb > na && !a.behind[x][s] || na > nb+1 && !b.behind[y][s] {
			return true
		}
	}
	return false
}

// TestGroup has writers whose writes on disk B depend on disk A, while the process
// of one disk, then the server of both, then the process of the other disk are
// killed, and cuts the group at thousands of random moments.
func TestGroup(t *testing.T) {
	f := newFleet(t, newRedisPool(t, 7))
	clocks := filepath.Join(t.TempDir(), "clocks")
	a, b := f.member("group-a", clocks), f.member("group-b", clocks)
	stop := make(chan struct{})
	var wg, begun sync.WaitGroup
	var mu sync.Mutex
	total := uint64(0)
	begun.Add(groupSlots)
	for slot := range uint64(groupSlots) {
		wg.Go(func() {
			n := depend(a, b, slot, &begun, stop)
			mu.Lock()
			total += n
			mu.Unlock()
		})
	}
	begun.Wait()
	pause := func() { <-time.After(2500 * time.Millisecond) }
	pause()
	a.checkLive()
	for _, strike := range []func(){
		func() { a.disk.kill(); a.start() },
		func() { f.strike(a.stack, false) },
		func() { b.disk.kill(); b.start() },
		func() {},
	} {
		pause()
		strike()
	}
	close(stop)
	wg.Wait()
	for _, m := range []*member{a, b} {
		if code := m.disk.stop(); code != 0 {
			t.Errorf("%s ended with code %d", m.vdisk, code)
		}
	}
	t.Logf("%d writes on each disk", total)
	a.checkCuts(b)
}

// checkLive restores the group while it is written, before anything was killed.
func (m *member) checkLive() {
	t := m.t
	for _, args := range [][]string{{"--at", "latest"}, {"--at", "-1s", "--snap-to", "any"}, {"--at", "-500ms"}} {
		dir := filepath.Join(t.TempDir(), "live")
		out := run(t, bin(t, "tlogctl"), append(append([]string{"restore", "--group", groupName, "--to", dir}, args...), m.pool.flags...)...)
		a, b := counters(t, filepath.Join(dir, "group-a.img")), counters(t, filepath.Join(dir, "group-b.img"))
		for s := range groupSlots {
			if a[s] == 0 || b[s] > a[s] || a[s] > b[s]+1 {
				t.Errorf("%v: slot %d has %d on a and %d on b\n%s", args, s, a[s], b[s], out)
			}
		}
		remove(t, dir)
	}
}

// counters reads the slots of an image.
func counters(t testing.TB, path string) (n [groupSlots]uint64) {
	t.Helper()
	image, err := os.ReadFile(path)
	if err != nil || len(image) != groupSize {
		t.Fatalf("an image of %d bytes, %v", len(image), err)
	}
	for s := range n {
		n[s] = binary.LittleEndian.Uint64(image[s*groupBlock:])
	}
	return n
}

// checkCuts cuts at random moments, and restores a few.
func (m *member) checkCuts(o *member) {
	t := m.t
	pool, keys := m.pool.open(t)
	defer pool.Close() //nolint:errcheck // only read
	a, b := m.past(pool, keys), o.past(pool, keys)
	defer a.index.Close() //nolint:errcheck // forgotten
	defer b.index.Close() //nolint:errcheck // forgotten
	if a.runs != 2 || b.runs != 2 {
		t.Fatalf("%d and %d attachments to the clock in the logs, want 2 each", a.runs, b.runs)
	}
	first, last := a.times[0], a.times[len(a.times)-1]
	if b.times[0].After(first) {
		first = b.times[0]
	}
	rng := rand.New(rand.NewPCG(5, 6))
	bad, moved := 0, 0
	const cuts = 5000
	for i := range cuts {
		at := first.Add(time.Duration(rng.Int64N(int64(last.Sub(first)))))
		when, err := player.ParseWhen(at.UTC().Format(time.RFC3339Nano), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		snap := []player.Snap{player.SnapAny, player.SnapFlush}[i%2]
		cut, err := player.NewCut([]*player.Index{a.index, b.index}, player.CutConfig{Group: groupName, When: when, Snap: snap})
		if err != nil {
			t.Fatalf("%v: %v", at, err)
		}
		x, y := cut.Points[0].Sequence, cut.Points[1].Sequence
		if len(cut.Moved) > 0 {
			moved++
		}
		if wrong(a, b, x, y) {
			bad++
		}
		if i%(cuts/6) == 0 {
			m.checkRestore(at, snap, cut, a, b)
		}
		if i == 7 {
			m.checkMount(at, snap, cut, a, b)
		}
	}
	t.Logf("%d cuts, %d moved back past a kill, %d wrong", cuts, moved, bad)
	if bad > 0 {
		t.Errorf("%d of %d cuts are not consistent", bad, cuts)
	}
	if !a.sees(b, rng) {
		t.Error("cuts of two different moments were not told from those of one")
	}
}

// sees reports whether the check would find a disk that is 5 ms ahead of the other.
func (p *past) sees(o *past, rng *rand.Rand) bool {
	for range 2000 {
		at := p.times[rng.IntN(len(p.times))]
		x := tlog.Sequence(indexOf(p.times, at))
		y := tlog.Sequence(indexOf(o.times, at.Add(5*time.Millisecond)))
		if wrong(p, o, x, y) {
			return true
		}
	}
	return false
}

// indexOf is how many of the times are not after at.
func indexOf(times []time.Time, at time.Time) int {
	low, high := 0, len(times)
	for low < high {
		if mid := (low + high) / 2; times[mid].After(at) {
			high = mid
		} else {
			low = mid + 1
		}
	}
	return low
}

// checkRestore restores the group at a moment, and compares the counters with
// what the logs say.
func (m *member) checkRestore(at time.Time, snap player.Snap, cut *player.Cut, a, b *past) {
	t := m.t
	dir := filepath.Join(t.TempDir(), "restored")
	run(t, bin(t, "tlogctl"), append([]string{"restore", "--group", groupName, "--to", dir,
		"--at", at.UTC().Format(time.RFC3339Nano), "--snap-to", snapName[snap]}, m.pool.flags...)...)
	for i, p := range []*past{a, b} {
		got := counters(t, filepath.Join(dir, fmt.Sprintf("group-%c.img", 'a'+i)))
		if want := p.counts[cut.Points[i].Sequence]; got != want {
			t.Errorf("disk %d at %v: %v, want %v", i, at, got, want)
		}
	}
	remove(t, dir)
}

var snapName = map[player.Snap]string{player.SnapAny: "any", player.SnapFlush: "flush"}

// checkMount mounts the group at a moment, twice with overlays that are written
// to in between, and compares the counters with what the logs say.
func (m *member) checkMount(at time.Time, snap player.Snap, cut *player.Cut, a, b *past) {
	t := m.t
	dir := t.TempDir()
	sockets := filepath.Join(dir, "s")
	args := append([]string{"mount", "--group", groupName, "--at", at.UTC().Format(time.RFC3339Nano), "--snap-to", snapName[snap],
		"--sockets", sockets, "--cow", filepath.Join(dir, "cow"), "--index", filepath.Join(dir, "index")}, m.pool.flags...)
	for round := range uint64(2) {
		p := start(t, bin(t, []string{"tlognbd", "tlogctl"}[round]), args...)
		for i, side := range []*past{a, b} {
			socket := filepath.Join(sockets, fmt.Sprintf("group-%c.sock", 'a'+i))
			eventually(t, "the moment is served", func() error {
				if out, code := try(t, "nbdinfo", "--size", uri(socket)); code != 0 {
					return fmt.Errorf("nbdinfo: %s", out)
				}
				return nil
			})
			image := filepath.Join(dir, fmt.Sprintf("%d-%d.img", round, i))
			run(t, "nbdcopy", uri(socket), image)
			want := side.counts[cut.Points[i].Sequence]
			want[0] += round * 1000
			if got := counters(t, image); got != want {
				t.Errorf("disk %d mounted at %v: %v, want %v", i, at, got, want)
			}
			block := binary.LittleEndian.AppendUint64(nil, want[0]+1000)
			c, err := dialNBD(socket)
			if err == nil {
				err = errors.Join(c.do(nbdWrite, 0, 0, len(block), block), c.do(nbdFlush, 0, 0, 0, nil), c.close())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if code := p.stop(); code != 0 {
			t.Errorf("the mounted group ended with code %d:\n%s", code, tail(p.out.String()))
		}
	}
}

// open opens a pool of Redis servers as a reader does.
func (p *pool) open(t testing.TB) (*stor.Pool, *crypto.Keyring) {
	t.Helper()
	keys, err := crypto.LoadKeyFile(p.flags[len(p.flags)-1])
	if err != nil {
		t.Fatal(err)
	}
	var servers []stor.Server
	for _, r := range p.redis {
		s, err := redis.Dial(r.Addr, redis.Options{})
		if err != nil {
			t.Fatal(err)
		}
		servers = append(servers, s)
	}
	check := func(b []byte, vdisk tlog.UUID, pos tlog.Position, headOnly bool) (stor.Checked, error) {
		s, err := crypto.Check(b, vdisk, pos, headOnly)
		if err != nil {
			return stor.Checked{}, err
		}
		return stor.Checked{Digest: s.Digest, Prev: s.Header.Prev, Index: s.Index,
			K: int(s.Header.K), M: int(s.Header.M), Head: s.Head, Body: s.Body}, nil
	}
	pool, err := stor.Open(t.Context(), stor.Config{Check: check}, servers)
	if err != nil {
		t.Fatal(err)
	}
	return pool, keys
}
