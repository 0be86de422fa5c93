package appending_test

import (
	"testing"

	"tlog/internal/core/appending"
)

// one is a script with its pool.
type one struct {
	name string
	cfg  appending.Config
	text string
}

func runAll(t *testing.T, scripts []one) {
	for _, c := range scripts {
		t.Run(c.name, func(t *testing.T) { run(t, c.cfg, c.text) })
	}
}

// strict has no spare; spare has one; loose commits with one index less.
func pools() (strict, spare, loose appending.Config) {
	return appending.Config{P: 3, N: 3, W: 3, Epoch: 5},
		appending.Config{P: 4, N: 3, W: 3, Epoch: 5},
		appending.Config{P: 3, N: 3, W: 2, Epoch: 5}
}

// What is sent where, and what counts.
func TestCounting(t *testing.T) {
	strict, spare, loose := pools()
	runAll(t, []one{
		{"W distinct indices commit, the prefix in order", strict, `
			publish 1 → 1.0>0, hedge 1, 1.1>1, 1.2>2
			publish 2 → 2.0>0, hedge 2, 2.1>1, 2.2>2
			s0 ok 2.0 →
			s1 ok 2.1 →
			s2 ok 2.2 →
			s0 ok 1.0 →
			s2 ok 1.2 →
			s1 ok 1.1 → committed 1, release 1, committed 2, release 2
			publish 3 → 3.0(c2)>0, hedge 3, 3.1(c2)>1, 3.2(c2)>2
		`},
		{"index 0 has its home elsewhere for another vdisk", appending.Config{P: 4, N: 3, W: 3, Epoch: 5, First: 3}, `
			publish 1 → 1.0>3, hedge 1, 1.1>0, 1.2>1
			late 1 → 1.0>2, hedge 1
		`},
		{"a late server is hedged with a spare, and gets no new work others can take", spare, `
			publish 1 → 1.0>0, hedge 1, 1.1>1, 1.2>2
			s1 ok 1.1 →
			s2 ok 1.2 →
			late 1 → 1.0>3, hedge 1
			s3 ok 1.0 → committed 1
			publish 2 → 2.1(c1)>1, hedge 2, 2.2(c1)>2, 2.0(c1)>3
			s0 ok 1.0 → release 1
			publish 3 → 3.0(c1)>0, hedge 3, 3.1(c1)>1, 3.2(c1)>2
		`},
		{"without a spare a late server is waited for", strict, `
			publish 1 → 1.0>0, hedge 1, 1.1>1, 1.2>2
			s1 ok 1.1 →
			s2 ok 1.2 →
			late 1 →
			publish 2 → 2.1>1, hedge 2, 2.2>2, 2.0>0
			s0 ok 1.0 → committed 1, release 1
		`},
		{"the index a server has counts, the other one goes elsewhere", spare, `
			publish 1 → 1.0>0, hedge 1, 1.1>1, 1.2>2
			s0 index 1.0 2 → 1.0>3
			s1 ok 1.1 →
			s3 ok 1.0 → committed 1
			s2 ok 1.2 → release 1
		`},
		{"distinct indices count, not replies", spare, `
			publish 1 → 1.0>0, hedge 1, 1.1>1, 1.2>2
			late 1 → 1.0>3, hedge 1
			s3 ok 1.0 →
			s0 ok 1.0 →
			s1 ok 1.1 →
			s2 ok 1.2 → committed 1, release 1
		`},
		{"with min-shards a missing server stops nothing, and a late one gets no more work", loose, `
			publish 1 → 1.0>0, hedge 1, 1.1>1, 1.2>2
			s0 ok 1.0 →
			s1 ok 1.1 → committed 1
			late 1 →
			publish 2 → 2.0(c1)>0, hedge 2, 2.1(c1)>1
			s0 ok 2.0 →
			s1 ok 2.1 → committed 2, release 2
			s2 unknown 1 → wait 2 1, release 1
		`},
	})
}

// What is done when a server does not store.
func TestFailures(t *testing.T) {
	strict, spare, _ := pools()
	runAll(t, []one{
		{"no answer is not an acknowledgement: probed, then sent again", strict, `
			publish 1 → 1.0>0, hedge 1, 1.1>1, 1.2>2
			s1 ok 1.1 →
			s2 ok 1.2 →
			s0 unknown 1 → wait 0 1
			due 0 → probe 0
			unprobed 0 → wait 0 2
			due 0 → probe 0
			probed 0 → 1.0>0
			s0 busy 1 → wait 0 3
			due 0 → probe 0
			probed 0 → 1.0>0
			s0 ok 1.0 → committed 1, release 1
			publish 2 → 2.0(c1)>0, hedge 2, 2.1(c1)>1, 2.2(c1)>2
			s0 unknown 2 → wait 0 1
		`},
		{"a failing server's index goes to the spare at once", spare, `
			publish 1 → 1.0>0, hedge 1, 1.1>1, 1.2>2
			s1 full 1 → wait 1 slow 1, 1.1>3
			s3 ok 1.1 →
			s0 ok 1.0 →
			s2 ok 1.2 → committed 1, release 1
			publish 2 → 2.0(c1)>0, hedge 2, 2.2(c1)>2, 2.1(c1)>3
		`},
		{"a server that is full stays a slow case until it stores again", strict, `
			publish 1 → 1.0>0, hedge 1, 1.1>1, 1.2>2
			s0 full 1 → wait 0 slow 1
			due 0 → probe 0
			unprobed 0 → wait 0 slow 2
			due 0 → probe 0
			probed 0 → 1.0>0
			s0 ok 1.0 →
			publish 2 → 2.0>0, hedge 2, 2.1>1, 2.2>2
			s0 unknown 2 → wait 0 1
		`},
		{"a duplicate makes room for an index that has no server left", spare, `
			publish 1 → 1.0>0, hedge 1, 1.1>1, 1.2>2
			late 1 → 1.0>3, hedge 1
			s3 ok 1.0 →
			s0 ok 1.0 →
			s1 ok 1.1 →
			s2 unknown 1 → wait 2 1, 1.2!>0
			s0 ok 1.2 → committed 1, release 1
		`},
		{"a replacement without an answer counts for nothing until it is repeated", spare, `
			publish 1 → 1.0>0, hedge 1, 1.1>1, 1.2>2
			late 1 → 1.0>3, hedge 1
			s3 ok 1.0 →
			s0 ok 1.0 →
			s1 ok 1.1 →
			s2 unknown 1 → wait 2 1, 1.2!>0
			s0 unknown 1 → wait 0 1
			due 0 → probe 0
			probed 0 → 1.2!>0
			s0 index 1.2 0 → wait 0 slow 1
			due 0 → probe 0
			probed 0 → 1.2!>0
			s0 ok 1.2 → committed 1, release 1
		`},
		{"a server is given one replacement only: a copy of the request may still arrive", appending.Config{P: 5, N: 4, W: 4, Epoch: 5}, `
			publish 1 → 1.0>0, hedge 1, 1.1>1, 1.2>2, 1.3>3
			late 1 → 1.0>4, hedge 1
			s4 ok 1.0 →
			s0 ok 1.0 →
			s1 ok 1.1 →
			s2 unknown 1 → wait 2 1, 1.2!>0
			s0 ok 1.2 →
			due 2 → probe 2
			probed 2 → 1.3>2
			s3 unknown 1 → wait 3 1
			s2 index 1.3 2 → 1.3!>2
			s2 ok 1.3 → committed 1, release 1
		`},
		{"the only holder of an index is never replaced", spare, `
			publish 1 → 1.0>0, hedge 1, 1.1>1, 1.2>2
			s0 ok 1.0 →
			s1 ok 1.1 →
			s2 unknown 1 → wait 2 1, 1.2>3
			s3 unknown 1 → wait 3 1
		`},
		{"an index that cannot be is a server that is not believed", strict, `
			publish 1 → 1.0>0, hedge 1, 1.1>1, 1.2>2
			s0 index 1.0 3 → wait 0 slow 1
		`},
	})
}

// Who goes on, and who stops.
func TestFencing(t *testing.T) {
	strict, _, _ := pools()
	runAll(t, []one{
		{"a server that missed the takeover is fenced, then asked again", strict, `
			publish 1 → 1.0>0, hedge 1, 1.1>1, 1.2>2
			publish 2 → 2.0>0, hedge 2, 2.1>1, 2.2>2
			s0 fenced 1 4 → fence 0
			s0 fenced 2 4 →
			fenced 0 → 1.0>0, 2.0>0
		`},
		{"a fence that fails is tried again by way of the next append", strict, `
			publish 1 → 1.0>0, hedge 1, 1.1>1, 1.2>2
			s0 fenced 1 0 → fence 0
			unfenced 0 → wait 0 1
			due 0 → probe 0
			probed 0 → 1.0>0
			s0 fenced 1 0 → fence 0
			outbid 0 6 → dead fenced, failed 1
			s1 ok 1.1 →
			s2 ok 1.2 → release 1
		`},
		{"a higher epoch is the end, and shards are kept while requests use them", strict, `
			publish 1 → 1.0>0, hedge 1, 1.1>1, 1.2>2
			publish 2 → 2.0>0, hedge 2, 2.1>1, 2.2>2
			s0 ok 1.0 →
			s1 fenced 1 6 → dead fenced, failed 1, failed 2
			s2 ok 1.2 → release 1
			s0 unknown 2 →
			s1 unknown 2 →
			late 2 →
			s2 unknown 2 → release 2
			publish 3 → failed 3, release 3
		`},
		{"another owner of our epoch is the end too", strict, `
			publish 1 → 1.0>0, hedge 1, 1.1>1, 1.2>2
			s0 fenced 1 5 → dead fenced, failed 1
		`},
		{"a conflict halts", strict, `
			publish 1 → 1.0>0, hedge 1, 1.1>1, 1.2>2
			s0 conflict 1 → dead conflict, failed 1
		`},
		{"close fails what is not committed", strict, `
			publish 1 → 1.0>0, hedge 1, 1.1>1, 1.2>2
			s0 ok 1.0 →
			close → dead closed, failed 1
			close →
			s1 ok 1.1 →
			s2 ok 1.2 → release 1
		`},
	})
}

// Positions that a takeover found are appended again.
func TestAdoption(t *testing.T) {
	strict, spare, _ := pools()
	runAll(t, []one{
		{"adoption: good shards are only renewed, bad and missing ones written", spare, `
			publish 1 2+ 0- . . → 1.2*>0, hedge 1, 1.0!>1, 1.1>3
			s0 ok 1.2 →
			s1 ok 1.0 →
			s3 ok 1.1 → committed 1, release 1
		`},
		{"adoption: what an earlier epoch accepted is no acknowledgement", strict, `
			publish 1 0+ 1+ 2+ → 1.0*>0, hedge 1, 1.1*>1, 1.2*>2
			s0 ok 1.0 →
			s1 ok 1.1 →
			s2 unknown 1 → wait 2 1
		`},
		{"adoption: a server that lacks the bytes after all gets them", strict, `
			publish 1 0+ 1+ 2+ → 1.0*>0, hedge 1, 1.1*>1, 1.2*>2
			s0 nodata 1 → 1.0>0
			s0 nodata 1 → wait 0 1
		`},
		{"adoption: duplicates are asked for another index, and replaced only then", strict, `
			publish 1 0+ 0+ 1+ → 1.0*>0, hedge 1, 1.1*>2, 1.2>1
			s0 ok 1.0 →
			s2 ok 1.1 →
			s1 index 1.2 0 → 1.2!>0
			s0 ok 1.2 → committed 1, release 1
		`},
		{"adoption: the bytes of a damaged duplicate are of no use to anybody", strict, `
			publish 1 0+ 0- 1+ → 1.0*>0, hedge 1, 1.1*>2, 1.2!>1
		`},
	})
}

func TestMissingTellsWhyNothingMoves(t *testing.T) {
	m := appending.New(appending.Config{P: 2, N: 2, W: 2, Epoch: 1})
	check := func(want int) {
		t.Helper()
		if _, got := m.Missing(); got != want {
			t.Fatalf("%d missing, want %d", got, want)
		}
	}
	check(0)
	m.Step(appending.Publish{Position: 1})
	check(0) // under way
	m.Step(appending.Late{Position: 1})
	check(2)
	m.Step(appending.Replied{Server: 0, Position: 1, Outcome: appending.Stored})
	check(1)
	m.Step(appending.Replied{Server: 1, Position: 1, Outcome: appending.Stored, Index: 1})
	check(0)
}
