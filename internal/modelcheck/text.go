package modelcheck

import "fmt"

func (v verb) String() string {
	return [...]string{
		"starts", "arrives", "is given up", "arrives, and will again", "waited", "goes on without the rest", "publishes",
		"hedges position", "sees again server", "crashes", "goes down", "is back", "loses everything", "lets rot position", "is replaced",
	}[v]
}

// text is a message for a trace.
func (t *turn) text(m *message) string {
	who, stray := 'A'+rune(m.from), ""
	if m.stray {
		stray = " (given up before)"
	}
	switch m.kind {
	case kindFence, kindLateFence:
		return fmt.Sprintf("fence with epoch %d, %c to server %d%s", m.epoch, who, m.to, stray)
	case kindMetas:
		return fmt.Sprintf("read of metas from %d on, %c to server %d", m.position, who, m.to)
	case kindShard:
		return fmt.Sprintf("read of the shard of %d, %c to server %d", m.position, who, m.to)
	case kindAppended:
		return fmt.Sprintf("answer to append of %s.%d, server %d to %c", t.describe(m.digest), m.index, m.to, who)
	}
	how := ""
	if m.replace {
		how = ", replacing"
	}
	return fmt.Sprintf("append of %s.%d%s, %c to server %d%s", t.describe(m.digest), m.index, how, who, m.to, stray)
}
