package redis

import (
	"bufio"
	"context"
	"strconv"
	"sync"

	"tlog"
	"tlog/stor"
)

// A Server reads parts of shards.
var _ stor.Ranger = (*Server)(nil)

// Ranges implements stor.Ranger. It goes past redigo, as Fill does: a record is
// an answer of its own, and redigo makes a system call and an object of each.
func (s *Server) Ranges(ctx context.Context, vdisk tlog.UUID, shards []stor.ShardRanges) error {
	limit := smallReply
	for _, h := range shards {
		for _, r := range h.Ranges {
			limit = max(limit, len(r.B)+smallReply)
		}
	}
	r := rangeReaders.Get().(*rangeReader)
	defer rangeReaders.Put(r)
	err := s.with(ctx, limit, func(c *conn) error {
		r.answers.r.Reset(c.guard)
		defer r.answers.r.Reset(nil)
		for rest := shards; len(rest) > 0; {
			n := pipelined(rest)
			if err := r.read(s, c, vdisk, rest[:n]); err != nil {
				return err
			}
			rest = rest[n:]
		}
		return nil
	})
	return s.judge("getrange", err)
}

// rangesAhead is how many ranges are asked for before the first answer is read,
// unless one shard has more of them: a server keeps its answers meanwhile.
const rangesAhead = 128

// pipelined is how many of shards, one at least, are asked for at once.
func pipelined(shards []stor.ShardRanges) int {
	n, ranges := 1, len(shards[0].Ranges)
	for n < len(shards) && ranges+len(shards[n].Ranges) <= rangesAhead {
		ranges += len(shards[n].Ranges)
		n++
	}
	return n
}

// rangeReader has the memory of one Ranges under way.
type rangeReader struct {
	commands encoder
	answers  replies
}

// rangesBuffer is how much of the answers one system call reads at most, in bytes.
const rangesBuffer = 64 << 10

var rangeReaders = sync.Pool{New: func() any {
	return &rangeReader{answers: replies{r: bufio.NewReaderSize(nil, rangesBuffer)}}
}}

// read asks for ranges in one round trip. An error answer is its shard's.
func (r *rangeReader) read(s *Server, c *conn, vdisk tlog.UUID, shards []stor.ShardRanges) error {
	if _, err := c.raw.Write(r.commands.ranges(vdisk, shards)); err != nil {
		return err
	}
	for i := range shards {
		h := &shards[i]
		h.Err = nil
		for _, want := range h.Ranges {
			answer, err := r.answers.next()
			if err != nil {
				return err
			}
			switch {
			case answer.kind == '-':
				h.Err = s.judge("getrange", answer.refusal())
			case answer.kind != '$':
				return s.refusal(stor.ServerError, "getrange: it answers %q", clip(string(answer.kind)+string(answer.text)))
			case len(answer.text) != len(want.B): // there is none, or it ends before
				h.Err = s.absent(vdisk, h.Position)
			}
			copy(want.B, answer.text)
		}
	}
	if r.answers.r.Buffered() > 0 {
		return s.refusal(stor.ServerError, "getrange: it answers more than was asked for")
	}
	return nil
}

// ranges is a GETRANGE for each range.
func (e *encoder) ranges(vdisk tlog.UUID, shards []stor.ShardRanges) []byte {
	e.text, e.words = e.text[:0], appendVdiskKey(e.words[:0], vdisk, "d:")
	for i := range shards {
		key := appendNumber(e.words, shards[i].Position)
		for _, r := range shards[i].Ranges {
			e.command(4, "GETRANGE")
			e.bytes(key)
			e.bytes(strconv.AppendInt(e.word[:0], int64(r.Off), 10))
			e.bytes(strconv.AppendInt(e.word[:0], int64(r.Off+len(r.B)-1), 10))
		}
	}
	return e.text
}
