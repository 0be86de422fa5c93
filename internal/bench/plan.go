package bench

import (
	"fmt"
	"slices"
	"strings"
)

// Suites are the named parts of the default matrix, in the order in which they
// are measured.
var Suites = []string{"null", "redis", "redis25", "file", "always", "v1", "flush", "latency", "restore", "fio", "idle", "fair", "sizes", "data", "vdisks", "open", "past"}

// base is the case that all others are made from.
var base = Case{Mode: ModeStream, Store: StoreNull, Record: 4 << 10, Aggregation: 256, Hash: "blake2b", Data: DataRandom}

func with(name string, change func(*Case)) Case {
	c := base
	c.Name = name
	change(&c)
	return c
}

// Growth says how far cases go that show how things grow.
type Growth struct {
	Vdisks   []int   // of the suite vdisks
	Lengths  []int64 // bytes of the logs of the suite open
	Restored int64   // bytes of those of the suite restore
	Past     int64   // bytes of the disks of the suite past
}

// Plan are the cases of the named suites; if none is named of all, but what no
// target hangs on is measured once.
func Plan(names []string, g Growth) ([]Case, error) {
	for _, name := range names {
		if !slices.Contains(Suites, name) {
			return nil, fmt.Errorf("bench: no %q: there are %s", name, strings.Join(Suites, ", "))
		}
	}
	var cases []Case
	for _, suite := range Suites {
		switch {
		case slices.Contains(names, suite):
			cases = append(cases, suiteCases(suite, &g)...)
		case len(names) == 0:
			for _, c := range suiteCases(suite, &g) {
				c.Once = !slices.Contains(TargetSuites, suite)
				cases = append(cases, c)
			}
		}
	}
	return cases, nil
}

func suiteCases(suite string, g *Growth) []Case {
	on := func(store string, more ...func(*Case)) func(*Case) {
		return func(c *Case) {
			c.Store = store
			for _, f := range more {
				f(c)
			}
		}
	}
	sha := func(c *Case) { c.Hash = "sha256" }
	switch suite {
	case "null":
		return []Case{with("null", on(StoreNull)), with("null-sha256", on(StoreNull, sha))}
	case "redis":
		return []Case{with("redis", on(StoreRedis)), with("redis-sha256", on(StoreRedis, sha))}
	case "redis25":
		return []Case{with("redis25", on(StoreRedis, func(c *Case) { c.Aggregation = 25 }))}
	case "file":
		return []Case{with("file", on(StoreFile))}
	case "always":
		return []Case{with("always", on(StoreAlways))}
	case "v1":
		return []Case{with("v1", on(StoreRedis, func(c *Case) { c.Mode, c.Aggregation, c.Depth = ModeBlocks, 25, 4096 }))}
	case "flush":
		depth1 := func(c *Case) { c.Mode, c.Depth = ModeSync, 1 }
		return []Case{with("flush-null", on(StoreNull, depth1)), with("flush-file", on(StoreFile, depth1)), with("flush-always", on(StoreAlways, depth1))}
	case "latency":
		return latencyCases(on)
	case "restore":
		log := func(c *Case) { c.Mode, c.Length = ModeRestore, g.Restored }
		return []Case{with("restore", on(StoreRedis, log)), with("restore-lost", on(StoreRedis, log, func(c *Case) { c.Lost = 2 })),
			with("restore-file", on(StoreFile, log))}
	case "fio":
		fio := func(depth, every int) func(*Case) {
			return on(StoreFile, func(c *Case) { c.Mode, c.Depth, c.FlushEvery = ModeFio, depth, every })
		}
		return []Case{with("fio", fio(32, 0)), with("fio32", fio(32, 32)), with("nbd-flush", fio(1, 1))}
	case "past":
		past := func(size int64) func(*Case) {
			return func(c *Case) { c.Mode, c.Disk, c.Length = ModePast, size, 2*size }
		}
		// Redis has all of the log in memory, and half as much again.
		return []Case{with("past-file", on(StoreFile, past(g.Past))), with("past-redis", on(StoreRedis, past(min(g.Past, 512<<20))))}
	case "idle":
		return []Case{with("idle-1000", on(StoreRedis, func(c *Case) { c.Mode, c.Vdisks = ModeIdle, 1000 }))}
	case "fair":
		fair := func(c *Case) { c.Mode, c.Depth = ModeFair, 1 }
		return []Case{with("fair-null", on(StoreNull, fair)), with("fair-redis", on(StoreRedis, fair)), with("fair-file", on(StoreFile, fair))}
	case "sizes":
		return []Case{with("null-64K", func(c *Case) { c.Record = 64 << 10 }), with("null-1M", func(c *Case) { c.Record = 1 << 20 })}
	case "data":
		return []Case{with("null-ext4", func(c *Case) { c.Data = DataExt4 }), with("null-db", func(c *Case) { c.Data = DataDB })}
	}
	return growingCases(suite, g)
}

func latencyCases(on func(string, ...func(*Case)) func(*Case)) (cases []Case) {
	for _, store := range []string{StoreNull, StoreFile} {
		cases = append(cases,
			with("depth32-"+store, on(store, func(c *Case) { c.Mode, c.Depth = ModeSync, 32 })),
			with("paced-"+store, on(store, func(c *Case) { c.Mode = ModePaced })))
	}
	return cases
}

// growingCases show how things grow: with the number of vdisks, and the length
// of a log.
func growingCases(suite string, g *Growth) (cases []Case) {
	if suite == "vdisks" {
		for _, n := range g.Vdisks {
			cases = append(cases, with(fmt.Sprintf("vdisks-%d", n), func(c *Case) { c.Vdisks = n }))
		}
		return cases
	}
	for _, n := range g.Lengths {
		for _, store := range []string{StoreRedis, StoreFile} {
			at := fmt.Sprintf("-%s-%dM", store, n>>20)
			log := func(c *Case) { c.Store, c.Length = store, n }
			cases = append(cases,
				with("open"+at, func(c *Case) { log(c); c.Mode = ModeOpen }),
				with("restore"+at, func(c *Case) { log(c); c.Mode = ModeRestore }))
		}
	}
	return cases
}

// TargetSuites are the suites that the table of targets is made from.
var TargetSuites = []string{"null", "redis", "redis25", "file", "always", "v1", "flush", "restore", "fio", "idle"}

// Grid are streams: every combination of what is given.
type Grid struct {
	Stores, Hashes, Data          []string
	Records, Aggregations, Vdisks []int
	Modes                         []string // ModeStream, ModeSync, ModePaced
	Depths                        []int    // of ModeSync
	Shared                        bool
}

// Cases are those of the grid.
func (g *Grid) Cases() (cases []Case) {
	add := func(c Case) {
		c.Name = fmt.Sprintf("%s-%s-%dK-%d-%s-%s", c.Mode, c.Store, c.Record>>10, c.Aggregation, c.Hash, c.Data)
		if c.Vdisks > 1 {
			c.Name += fmt.Sprintf("-%dvdisks", c.Vdisks)
		}
		if c.Mode == ModeSync {
			c.Name += fmt.Sprintf("-depth%d", c.Depth)
		}
		cases = append(cases, c)
	}
	for _, mode := range g.Modes {
		depths := []int{1}
		if mode == ModeSync {
			depths = g.Depths
		}
		for _, depth := range depths {
			g.each(Case{Mode: mode, Depth: depth, Shared: g.Shared}, add)
		}
	}
	return cases
}

func (g *Grid) each(c Case, add func(Case)) {
	for _, c.Store = range g.Stores {
		for _, c.Record = range g.Records {
			for _, c.Aggregation = range g.Aggregations {
				for _, c.Hash = range g.Hashes {
					for _, c.Data = range g.Data {
						for _, c.Vdisks = range g.Vdisks {
							add(c)
						}
					}
				}
			}
		}
	}
}
