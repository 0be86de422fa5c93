package redis

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/gomodule/redigo/redis"

	"tlog"
	"tlog/stor"
)

// A Server reads shards into memory of its caller's.
var _ stor.Filler = (*Server)(nil)

// minFill holds every line the guard lets pass.
const minFill = 2 * maxLine

// Fill implements stor.Filler. It goes past redigo, which allocates every value
// anew: no reply is outstanding on a lent connection, so redigo holds none of
// its bytes. The guard sees them all the same.
func (s *Server) Fill(ctx context.Context, vdisk tlog.UUID, pos tlog.Position, buf []byte) (shard, memory []byte, err error) {
	key := shardKey(vdisk, pos)
	command := fmt.Appendf(nil, "*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n", len(key), key)
	memory = buf[:cap(buf)]
	err = s.with(ctx, largeReply, func(c *conn) error {
		if _, err := c.raw.Write(command); err != nil {
			return err
		}
		var err error
		shard, memory, err = s.receiveBulk(c, memory)
		return err
	})
	if err != nil {
		return nil, nil, s.judge("get", err)
	}
	if len(shard) == 0 { // no stored shard is
		return nil, nil, s.absent(vdisk, pos)
	}
	return shard, memory, nil
}

// receiveBulk reads one reply into buf, or into new memory if it does not fit,
// and returns its value, nil if there is none, and the memory that it lies in.
func (s *Server) receiveBulk(c *conn, buf []byte) (value, memory []byte, err error) {
	if len(buf) < minFill {
		buf = make([]byte, minFill)
	}
	n, start := 0, 0
	for start == 0 {
		got, err := c.guard.Read(buf[n:])
		n += got
		start = bytes.IndexByte(buf[:n], '\n') + 1
		if err != nil && (start == 0 || err != io.EOF) {
			return nil, buf, err
		}
	}
	size, err := s.bulkSize(buf[:start])
	if err != nil {
		return nil, buf, err
	}
	end := start
	if size >= 0 {
		end += size + 2
	}
	if n > end {
		return nil, buf, s.refusal(stor.ServerError, "get: it answers more than was asked for")
	}
	if end > len(buf) {
		// Announced, and checked by the guard; with room for a longer line and value.
		next := make([]byte, end+end/16+64)
		copy(next, buf[:n])
		buf = next
	}
	if _, err := io.ReadFull(c.guard, buf[n:end]); err != nil {
		return nil, buf, err
	}
	if size < 0 {
		return nil, buf, nil
	}
	if end := buf[start+size : end]; string(end) != "\r\n" {
		return nil, buf, s.refusal(stor.ServerError, "get: a value that ends with %q", end)
	}
	return buf[start : start+size : start+size], buf, nil
}

// bulkSize reads the first line of a reply: the length of a value, −1 if there
// is none. An error answer is a redis.Error.
func (s *Server) bulkSize(line []byte) (int, error) {
	text := string(bytes.TrimSuffix(line, []byte("\r\n")))
	if len(text) > 1 {
		switch text[0] {
		case '-':
			return 0, redis.Error(text[1:])
		case '$':
			size, err := strconv.Atoi(text[1:])
			if err == nil && size >= -1 && size <= largeReply {
				return size, nil
			}
		}
	}
	return 0, s.refusal(stor.ServerError, "get: it answers %q", clip(text))
}
