package main

import (
	"slices"
	"testing"

	"tlog/internal/bench"
)

func TestSizes(t *testing.T) {
	got, err := sizes([]string{"4K", "1M", "512", "1G"}, 1<<30)
	if want := []int64{4 << 10, 1 << 20, 512, 1 << 30}; err != nil || !slices.Equal(got, want) {
		t.Errorf("sizes %v, %v; want %v", got, err, want)
	}
	for _, s := range []string{"", "0", "-1", "4X", "2G", "K"} {
		if got, err := sizes([]string{s}, 1<<30); err == nil {
			t.Errorf("%q is %v", s, got)
		}
	}
}

// What arguments and flags of bench name.
func TestBenchCases(t *testing.T) {
	for _, c := range []struct {
		args  []string
		first string // case
		cases int
	}{
		{[]string{"null"}, "null", 2},
		{[]string{"stream"}, "stream-null-4K-256-blake2b-random", 4},
		{[]string{"sync", "--store", "file", "--record", "64K"}, "sync-file-64K-256-blake2b-random-depth1", 2},
		{[]string{"stream", "--store", "null", "--hash", "blake2b,sha256", "--data", "db", "--vdisks", "1,10"}, "stream-null-4K-256-blake2b-db", 4},
		{[]string{"vdisks", "--vdisks", "7"}, "vdisks-7", 1},
		{[]string{"open", "--log-length", "1M"}, "open-redis-1M", 4},
		{[]string{"restore"}, "restore", 3},
	} {
		var o benchOptions
		cmd := (&tool{}).benchCommandWith(&o)
		if err := cmd.ParseFlags(c.args); err != nil {
			t.Fatal(err)
		}
		cases, err := o.cases(cmd, cmd.Flags().Args())
		if err != nil || len(cases) != c.cases || cases[0].Name != c.first {
			t.Errorf("%v: %d cases, %v, %v; want %d from %s", c.args, len(cases), cases, err, c.cases, c.first)
		}
	}
	var o benchOptions
	cmd := (&tool{}).benchCommandWith(&o)
	all, err := o.cases(cmd, nil)
	if err != nil || len(all) < 3*len(bench.Suites)/2 {
		t.Errorf("%d cases by default, %v", len(all), err)
	}
	targets, err := o.cases(cmd, []string{"targets"})
	if err != nil || len(targets) == 0 || len(targets) >= len(all) {
		t.Errorf("%d cases for the targets of %d, %v", len(targets), len(all), err)
	}
}
