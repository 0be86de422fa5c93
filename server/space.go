package server

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"tlog/stor"
)

// Space is the room left on the shard server that has the least.
type Space struct {
	Server      string
	Used, Total uint64        // bytes; Total 0: unknown
	Lasts       time.Duration // at the rate since the first look; 0: not known
}

// Percent of the space that is used.
func (s Space) Percent() int {
	if s.Total == 0 {
		return 0
	}
	return int(float64(s.Used) / float64(s.Total) * 100)
}

// String says how much there is and how long it lasts.
func (s Space) String() string {
	if s.Total == 0 {
		return "size of the shard servers is unknown"
	}
	left := float64(s.Total-min(s.Used, s.Total)) / 1e9
	text := fmt.Sprintf("%.1f GB left on %s (%d %% used), lasts ", left, s.Server, s.Percent())
	switch {
	case s.Lasts == 0:
		return text + "for a time not known yet"
	case s.Lasts > 48*time.Hour:
		return text + fmt.Sprintf("%.0f days at the present rate", s.Lasts.Hours()/24)
	}
	return text + fmt.Sprintf("%v at the present rate", s.Lasts.Round(time.Minute))
}

// SpaceWatch follows how full a pool's shard servers get. The zero value is
// ready. Not safe for concurrent use.
type SpaceWatch struct {
	servers map[int]*fill // by slot
}

// fill is what is known of one server.
type fill struct {
	at   time.Time // of used
	used uint64
	rate float64 // bytes a second, smoothed
	told int     // the highest level announced
}

// levels of fullness that are announced, in percent; a server that fell below
// one by rearm is announced again.
var levels = [...]int{80, 90, 95}

const (
	rearm      = 5
	rateWindow = 10 * time.Minute // over which the rate is smoothed
)

// Observe takes a status of the pool. It returns the fullest server, and those
// that passed a level since the last time.
func (w *SpaceWatch) Observe(now time.Time, status []stor.ServerStatus) (least Space, passed []Space) {
	if w.servers == nil {
		w.servers = make(map[int]*fill)
	}
	for _, s := range status {
		if s.Err != nil || s.Space.Total == 0 {
			continue
		}
		f := w.servers[s.Slot]
		if f == nil {
			f = &fill{at: now, used: s.Space.Used}
			w.servers[s.Slot] = f
		}
		f.measure(now, s.Space.Used)
		space := Space{Server: s.Name, Used: s.Space.Used, Total: s.Space.Total, Lasts: f.lasts(s.Space)}
		if f.pass(space.Percent()) {
			passed = append(passed, space)
		}
		if least.Total == 0 || space.emptierThan(least) {
			least = space
		}
	}
	return least, passed
}

// emptierThan reports whether s has relatively less room left than t.
func (s Space) emptierThan(t Space) bool {
	return float64(s.Used)/float64(s.Total) > float64(t.Used)/float64(t.Total)
}

// measure moves the rate towards that since the last look.
func (f *fill) measure(now time.Time, used uint64) {
	d := now.Sub(f.at)
	if d <= 0 {
		return
	}
	rate := (float64(used) - float64(f.used)) / d.Seconds()
	weight := min(1, d.Seconds()/rateWindow.Seconds())
	if f.rate == 0 {
		weight = 1
	}
	f.rate += weight * (rate - f.rate)
	f.at, f.used = now, used
}

// lasts is how long what is free suffices; 0 if it does not shrink.
func (f *fill) lasts(s stor.Space) time.Duration {
	if f.rate < 1 {
		return 0
	}
	seconds := float64(s.Total-min(s.Used, s.Total)) / f.rate
	const century = 100 * 365 * 24 * 3600
	return max(time.Second, time.Duration(min(seconds, century))*time.Second)
}

// pass notes the level of percent; true if it is a higher one than was told.
func (f *fill) pass(percent int) bool {
	level := 0
	for _, l := range levels {
		if percent >= l {
			level = l
		}
	}
	if level > f.told {
		f.told = level
		return true
	}
	if percent < f.told-rearm {
		f.told = level
	}
	return false
}

// WatchSpace looks at the pool's space every interval until ctx ends and logs
// a warning when a shard server passes 80, 90 or 95 percent: a full pool stops
// writing, since nothing in it may be evicted.
func WatchSpace(ctx context.Context, pool *stor.Pool, every time.Duration, log *slog.Logger) {
	var w SpaceWatch
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		look, cancel := context.WithTimeout(ctx, every/2)
		_, passed := w.Observe(time.Now(), pool.Status(look))
		cancel()
		for _, s := range passed {
			log.Warn("shard server fills up; writing stops when it is full", "server", s.Server, "percent", s.Percent(), "space", s.String())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
