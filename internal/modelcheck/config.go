package modelcheck

import (
	"fmt"

	"tlog"
)

// Rule is one of the rules on which the promises rest.
type Rule uint8

// The rules. The comment says what is done when it is broken.
const (
	None         Rule = iota
	Quorums           // a takeover is content with one answer less than P + k − W
	Fencing           // a server that does not answer a fence counts as fenced
	OneEpoch          // what a server holds since an earlier epoch counts as accepted in ours
	KeepIndex         // a server takes another index for the digest it holds
	ExactOwner        // an append is not compared with the owner that is stored
	Amnesia           // a server that lost everything votes, as an empty one
	Chain             // whatever is claimed is said to follow what was chosen before
	HighestEpoch      // of several candidates the one with the lowest epoch comes first
	NotAbsent         // a damaged shard is not reported as claimed
	Barrier           // the client is told the end before the barrier is committed
)

// Rules is every rule that can be broken.
func Rules() []Rule {
	return []Rule{Quorums, Fencing, OneEpoch, KeepIndex, ExactOwner, Amnesia, Chain, HighestEpoch, NotAbsent, Barrier}
}

// String names a rule by how it is broken.
func (r Rule) String() string {
	return [...]string{
		"none", "read-too-few", "fence-too-few", "count-over-epochs", "renumber-indices", "append-without-owner",
		"amnesiac-votes", "skip-chain-check", "lower-epoch-wins", "damaged-is-absent", "answer-before-barrier",
	}[r]
}

// Config is one kind of pool and the bounds of what happens to it. Counts that
// are zero mean never.
type Config struct {
	Name    string
	K, N    int // shards that rebuild a position, shards of it
	W, P    int // distinct indices that commit, servers
	Owners  int // owners that ever start
	Last    tlog.Position
	Opened  bool // the first owner has fenced all servers, and its barrier is committed
	Ordered bool // reads of one round reach servers in order
	AtOnce  bool // reads of one round are answered at once, by all servers that are there
	Split   bool // the answer to an append travels on its own: it may be late, or lost
	Page    int  // positions a takeover reads at a time; 0: all

	Timeouts int // requests given up, which may still arrive at any time
	Repeats  int // requests that arrive, and may arrive again at any time
	Hedges   int // hedge timers that end
	Crashes  int // owners that end
	Downs    int // servers that stop for a while
	Wiped    int // servers that lose everything
	Replaced int // servers that lost everything and are replaced by new ones
	Rotten   int // shards that rot; all losses are on W−K servers at most

	Broken Rule
	Limit  int    // states to explore; 0: all
	Seed   uint64 // where to go when they are more
}

// R is how many servers a takeover must hear.
func (c *Config) R() int { return c.P + c.K - c.W }

func (c *Config) check() error {
	switch {
	case c.K < 1 || c.N < c.K || c.W < c.K || c.W > c.N || c.P < c.N || c.P > maxServers:
		return fmt.Errorf("modelcheck: %s: not a pool", c.Name)
	case c.Owners < 1 || c.Owners > maxOwners || c.Last < 1 || int(c.Last)+c.Owners > maxPosition:
		return fmt.Errorf("modelcheck: %s: too many owners or positions", c.Name)
	}
	return nil
}
