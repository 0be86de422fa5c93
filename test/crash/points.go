package main

import "slices"

// Who passes a point.
const (
	byServer   = "server"  // tlogserver, as clients come
	byNewLog   = "new log" // tlogserver, when a vdisk is new
	byStop     = "stop"    // tlogserver, on SIGTERM
	byZombie   = "zombie"  // tlogserver, when another one has the vdisk
	byHedge    = "hedge"   // tlogserver, when a Redis is slow
	bySpare    = "spare"   // the same, if there is one to spare
	byRepair   = "repair"  // tlogserver, when shards are missing
	byReload   = "reload"  // tlogserver, when a shard server is replaced
	byFiles    = "files"   // tlogserver with directories
	byDriver   = "driver"  // a driver
	byDisk     = "disk"    // nbdkit with the plugin
	byRestore  = "restore" // tlogctl restore
	byReplace  = "replace" // tlogctl stores replace
	passedOnce = 1
)

// point is a named place at which a process can be killed. docs/crash.md says
// where they are.
type point struct {
	name string
	by   string
	most int // the highest passage that is tried
}

var points = []point{
	{"load.surveyed", byServer, 2},
	{"takeover.fenced", byServer, 7},
	{"takeover.quorum", byServer, 5},
	{"takeover.verify", byServer, 2},
	{"takeover.adopt", byServer, 2},
	{"takeover.adopted", byServer, 2},
	{"takeover.done", byServer, 2},
	{"barrier.append", byServer, 2},
	{"barrier.stored", byServer, 2},
	{"answer.welcome", byServer, 2},
	{"record.taken", byServer, 60},
	{"answer.recv", byServer, 40},
	{"seal.begin", byServer, 30},
	{"seal.done", byServer, 30},
	{"seal.publish", byServer, 30},
	{"append.send", byServer, 100},
	{"append.stored", byServer, 100},
	{"append.quorum", byServer, 25},
	{"answer.flush", byServer, 25},
	{"load.created", byNewLog, passedOnce},
	{"shutdown.begun", byStop, passedOnce},
	{"shutdown.flushed", byStop, passedOnce},
	{"append.fenced", byZombie, passedOnce},
	{"append.hedge", byHedge, 3},
	{"append.spare", bySpare, 3},
	{"repair.write", byRepair, 5},
	{"repair.written", byRepair, 5},
	{"pool.reload", byReload, passedOnce},
	{"file.written", byFiles, 60},
	{"file.synced", byFiles, 60},
	{"file.prepared", byFiles, 4},
	{"file.renamed", byFiles, 4},
	{"file.listed", byFiles, 2},
	{"file.recover", byFiles, 7},
	{"file.wiped", byFiles, 7},
	{"client.attached", byDriver, passedOnce},
	{"client.sent", byDriver, 40},
	{"client.flushed", byDriver, 20},
	{"vdisk.behind", byDisk, passedOnce},
	{"vdisk.applied", byDisk, 20},
	{"vdisk.synced", byDisk, 2},
	{"restore.position", byRestore, 10},
	{"restore.written", byRestore, passedOnce},
	{"pool.fresh", byReplace, passedOnce},
	{"pool.told", byReplace, 5},
}

// tally is how often each point killed a process, over all rounds.
type tally struct {
	hits, tries map[string]int
}

func newTally() *tally { return &tally{map[string]int{}, map[string]int{}} }

// next is the point that was hit least, of those that somebody passes.
func (t *tally) next(by ...string) *point {
	var best *point
	for i := range points {
		p := &points[i]
		if !slices.Contains(by, p.by) {
			continue
		}
		if best == nil || t.weight(p) < t.weight(best) {
			best = p
		}
	}
	if best != nil {
		t.tries[best.name]++
	}
	return best
}

// weight lets a point that was tried in vain wait a little.
func (t *tally) weight(p *point) int { return 4*t.hits[p.name] + t.tries[p.name] }

// urgent is how many times more often than else a fault is to be drawn, as its
// points were hit less often than most.
func (t *tally) urgent(by []string) int {
	sum, least := 0, -1
	for _, p := range points {
		n := t.hits[p.name]
		sum += n
		if slices.Contains(by, p.by) && (least < 0 || n < least) {
			least = n
		}
	}
	if least < 0 {
		return 1
	}
	return 1 + max(0, sum/len(points)-least)
}

// least is the point with the fewest hits.
func (t *tally) least() (hits int, names []string) {
	hits = -1
	for _, p := range points {
		switch n := t.hits[p.name]; {
		case hits < 0 || n < hits:
			hits, names = n, []string{p.name}
		case n == hits:
			names = append(names, p.name)
		}
	}
	return hits, names
}
