package modelcheck

import (
	"tlog"
	"tlog/internal/core/appending"
	"tlog/internal/core/takeover"
)

// Contract is one modelled shard server, for the comparison with a real one.
type Contract struct{ t *turn }

// NewContract makes an empty server.
func NewContract() *Contract {
	return &Contract{&turn{checker: newChecker(Config{P: 1}), s: &state{}}}
}

func (c *Contract) server() *server { return &c.t.s.servers[0] }

// Fence reports whether it is accepted.
func (c *Contract) Fence(epoch, owner uint8) bool {
	c.t.fence(c.server(), message{kind: kindFence, from: owner, epoch: epoch})
	_, ok := c.t.todo[0].find.(takeover.Fenced)
	c.t.todo = nil
	return ok
}

// Append is APPEND: what it answers, and the index or epoch held.
func (c *Contract) Append(epoch, owner, position, index, digest, commit uint8, data, replace bool) (appending.Outcome, int, tlog.Epoch) {
	o, held, at := c.t.store(c.server(), &message{
		from: owner, epoch: epoch, position: position, index: index, digest: digestID(digest), commit: commit, data: data, replace: replace,
	})
	return o, int(held), tlog.Epoch(at)
}

// Control is the epoch and the hints.
func (c *Contract) Control() (epoch, head, commit uint8) {
	sv := c.server()
	return sv.epoch, sv.head, sv.commit
}

// Metas is what it claims to hold.
func (c *Contract) Metas() []takeover.Meta {
	return c.t.metas(c.server(), message{position: 1, index: maxPosition}).(takeover.MetasRead).Metas
}
