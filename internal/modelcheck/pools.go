package modelcheck

// Pools are the kinds of pool that are explored, each with what can go wrong
// there. None is expected to show a violation.
func Pools() []Config {
	return []Config{
		{Name: "replication, W 2 of 3", K: 1, N: 3, W: 2, P: 3, Owners: 2, Last: 2, Ordered: true, Crashes: 1},
		{Name: "replication, W 2 of 3, three owners", K: 1, N: 3, W: 2, P: 3, Owners: 3, Last: 1, AtOnce: true, Timeouts: 1, Limit: large},
		{Name: "replication, reads in any order", K: 1, N: 3, W: 2, P: 3, Owners: 2, Last: 1, Timeouts: 1, Split: true, Limit: large},
		{Name: "replication, W 3", K: 1, N: 3, W: 3, P: 3, Owners: 2, Last: 2, Opened: true, Ordered: true, Timeouts: 1, Crashes: 1},
		{Name: "1+1, positions in flight", K: 1, N: 2, W: 2, P: 2, Owners: 2, Last: 3, Opened: true, Ordered: true, Timeouts: 1},
		{Name: "2+1", K: 2, N: 3, W: 3, P: 3, Owners: 2, Last: 2, Opened: true, Split: true, Timeouts: 1},
		{Name: "2+1, three owners", K: 2, N: 3, W: 3, P: 3, Owners: 3, Last: 2, Opened: true, AtOnce: true, Timeouts: 2, Repeats: 1, Limit: large},
		{Name: "2+2, four servers", K: 2, N: 4, W: 4, P: 4, Owners: 2, Last: 2, Opened: true, AtOnce: true, Timeouts: 1},
		{Name: "2+2, four servers, min-shards 3", K: 2, N: 4, W: 3, P: 4, Owners: 2, Last: 2, Opened: true, AtOnce: true, Timeouts: 1},
		{Name: "2+2, min-shards 3, three owners", K: 2, N: 4, W: 3, P: 4, Owners: 3, Last: 2, Opened: true, AtOnce: true, Downs: 1, Limit: large},
		{Name: "2+1 and a spare", K: 2, N: 3, W: 3, P: 4, Owners: 2, Last: 2, Opened: true, AtOnce: true, Timeouts: 1, Hedges: 1},
		{Name: "2+1 and a spare, three owners", K: 2, N: 3, W: 3, P: 4, Owners: 3, Last: 3, Opened: true, AtOnce: true, Page: 1, Limit: large},
		{Name: "2+1 and a spare, servers go", K: 2, N: 3, W: 3, P: 4, Owners: 2, Last: 2, Opened: true, AtOnce: true, Downs: 1, Crashes: 1},
		{Name: "2+1 and a spare, one owner", K: 2, N: 3, W: 3, P: 4, Owners: 1, Last: 2, Opened: true, Timeouts: 2, Hedges: 2, Repeats: 1, Split: true, Limit: large},
		{Name: "bit rot, 2+1 and a spare", K: 2, N: 3, W: 3, P: 4, Owners: 2, Last: 2, Opened: true, Ordered: true, Rotten: 1},
		{Name: "bit rot, late replacements", K: 2, N: 3, W: 3, P: 4, Owners: 2, Last: 1, Opened: true, AtOnce: true, Rotten: 1, Timeouts: 2, Hedges: 1, Limit: large},
		{Name: "bit rot, 1+2", K: 1, N: 3, W: 3, P: 3, Owners: 2, Last: 2, Opened: true, Ordered: true, Rotten: 3, Timeouts: 1, Limit: large},
		{Name: "amnesia, 2+1 and a spare", K: 2, N: 3, W: 3, P: 4, Owners: 2, Last: 2, Opened: true, AtOnce: true, Wiped: 1, Timeouts: 1},
		{Name: "amnesia, and a new server", K: 2, N: 3, W: 3, P: 4, Owners: 3, Last: 2, Opened: true, AtOnce: true, Wiped: 1, Replaced: 1, Limit: large},
		{Name: "amnesia and bit rot, 1+2", K: 1, N: 3, W: 3, P: 3, Owners: 2, Last: 2, Opened: true, AtOnce: true, Wiped: 1, Rotten: 1, Timeouts: 1},
	}
}

// large is how many states are explored of what has many more.
const large = 800_000

// Mutant is a small pool in which a broken rule shows.
func Mutant(r Rule) Config {
	c := Config{Name: "replication, 1 of 3, W 2", K: 1, N: 3, W: 2, P: 3, Owners: 2, Last: 2, Ordered: true, Broken: r, Limit: 1 << 20}
	switch r {
	case Fencing:
		c.Timeouts = 1
	case OneEpoch:
		c.Owners, c.Opened, c.AtOnce = 3, true, true
	case KeepIndex:
		c.Name, c.K, c.W, c.P = "2+1 and a spare", 2, 3, 4
		c.Opened, c.Timeouts, c.Hedges = true, 1, 1
	case Amnesia:
		c.Wiped = 1
	case Chain:
		c.Name, c.K, c.W, c.P = "2+1 and a spare", 2, 3, 4
		c.Opened, c.Last = true, 3
	case HighestEpoch, Barrier, Quorums, ExactOwner:
	case NotAbsent:
		c.Rotten = 1
	}
	return c
}
