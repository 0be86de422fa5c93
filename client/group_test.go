package client_test

import (
	"errors"
	"testing"
	"time"

	"tlog"
	"tlog/client"
	"tlog/group"
	"tlog/schema"
)

func openClock(t *testing.T, dir string, now func() time.Time) *group.Clock {
	t.Helper()
	c, err := group.Open(group.Config{Dir: dir, Name: "g", Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() }) //nolint:errcheck // nothing is lost
	return c
}

// Records of a disk in a group have times from the group's clock and its stamp,
// the first above what the log has, and keep them when they are sent again.
func TestGroupStamps(t *testing.T) {
	f := newFake(t)
	behind := openClock(t, t.TempDir(), func() time.Time { return time.Unix(1000, 0) })
	const ahead = uint64(5000 * time.Second)
	f.inWelcome = func(w *schema.Welcome) {
		if len(f.log) == 0 {
			w.LastTimestamp = ahead
		}
	}
	c := open(t, f, func(cfg *client.Config) { cfg.Clock = behind })
	f.set(func() { f.holdFlush = true })
	write(t, c, 2, 10)
	own := client.Stamp{Time: behind.Next(), Group: behind.Stamp().Closed()}
	f.set(func() { f.holdFlush = false })
	if _, err := c.AppendStamped(ctx, own, tlog.OpWatermark, 0, 0, nil); err != nil {
		t.Fatal(err)
	}
	f.cut()
	write(t, c, 1, 10)
	if err := c.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(ctx); err != nil {
		t.Fatal(err)
	}
	f.check(5)
	for i, r := range f.log {
		stamp := behind.Stamp()
		if i == 2 {
			stamp = own.Group
		}
		if r.Timestamp != ahead+1+uint64(i) || r.Group != uint64(stamp) {
			t.Errorf("record %d: %v at %d, %v", i+1, r.Operation, r.Timestamp-ahead, group.Stamp(r.Group))
		}
	}
	if f.log[2].Operation != tlog.OpWatermark || f.log[4].Operation != tlog.OpFlush {
		t.Error("watermark and flush mark are not where they belong")
	}
}

// A record whose time would have to be raised is refused: raised, it would come
// after writes of other disks that came after it.
func TestGroupTimeIsNeverRaised(t *testing.T) {
	f := newFake(t)
	clock := openClock(t, t.TempDir(), nil)
	c := open(t, f, func(cfg *client.Config) { cfg.Clock = clock })
	early := client.Stamp{Time: clock.Next(), Group: clock.Stamp()}
	write(t, c, 1, 10)
	if _, err := c.AppendStamped(ctx, early, tlog.OpTrim, 0, 1, nil); tlog.ClassOf(err) != tlog.Fatal {
		t.Errorf("a time of before: %v", err)
	}
	if err := c.Flush(ctx); err != nil && !errors.Is(err, client.ErrClosed) {
		t.Error(err)
	}
	f.check(2)
}
