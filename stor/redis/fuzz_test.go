package redis_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	redigo "github.com/gomodule/redigo/redis"

	"tlog"
	"tlog/internal/alloctest"
	"tlog/stor"
	"tlog/stor/redis"
)

// canned is a connection that says what it was given, a few bytes at a time,
// and then ends.
type canned struct {
	net.Conn
	*bytes.Reader
	step int
}

func (c canned) Read(p []byte) (int, error)      { return c.Reader.Read(p[:min(len(p), c.step)]) }
func (c canned) SetReadDeadline(time.Time) error { return nil }
func (c canned) Close() error                    { return nil }

// FuzzReply: whatever a peer says, redigo behind the guard neither panics nor
// hands out, for one reply, more than the limit; and what is a whole, small
// reply gets through unchanged by how it is cut into packets.
func FuzzReply(f *testing.F) {
	for _, s := range []string{"+OK\r\n", "-ERR x\r\n", ":12\r\n", bulk("hello"), array("a", "", "b"), "$-1\r\n", "*-1\r\n", "*0\r\n",
		"$99999\r\n", "*9999\r\n", "*1\r\n*1\r\n", "*2\r\n$-1\r\n:1\r\n+x\r\n", "$4\r\nabc", "\n", "+\r\n", "$\r\n"} {
		f.Add([]byte(s))
	}
	const limit = 4096
	f.Fuzz(func(t *testing.T, text []byte) {
		var whole []string
		alloctest.Bound(t, len(text)+limit, func() { whole = replies(t, text, limit, 1<<20) })
		if cut := replies(t, text, limit, 1); len(cut) < len(whole) {
			t.Errorf("%q: %q at once, %q byte by byte", text, whole, cut)
		}
		// What appends read is what redigo makes of it, as far as both go on:
		// redigo lets numbers overflow, and elements of arrays be cut off.
		own := read(t, redis.Replies(canned{Reader: bytes.NewReader(text), step: 1 << 20}, limit), text, limit)
		for i := range min(len(own), len(whole)) {
			if own[i] != whole[i] {
				t.Errorf("%q: reply %d is %s, to redigo %s", text, i, own[i], whole[i])
			}
		}
		if len(own) < len(whole) && !bytes.Contains(text, []byte(":")) {
			t.Errorf("%q: %q, to redigo %q", text, own, whole)
		}
	})
}

func replies(t *testing.T, text []byte, limit, step int) []string {
	return read(t, redis.Guarded(canned{Reader: bytes.NewReader(text), step: step}, limit).Receive, text, limit)
}

func read(t *testing.T, receive func() (any, error), text []byte, limit int) []string {
	var all []string
	for {
		reply, err := receive()
		if _, ok := errors.AsType[redigo.Error](err); err != nil && !ok {
			return all
		}
		if n := size(reply); n > limit {
			t.Fatalf("%.40q: a reply of %d bytes passed a limit of %d", text, n, limit)
		}
		all = append(all, fmt.Sprintf("%q %v", reply, err))
	}
}

func size(reply any) int {
	switch r := reply.(type) {
	case []byte:
		return len(r)
	case []any:
		n := 16 * len(r)
		for _, x := range r {
			n += size(x)
		}
		return n
	}
	return 0
}

// FuzzOutcome: no answer but the one that says what was asked is a success.
func FuzzOutcome(f *testing.F) {
	q := shard(5, 10)
	done := fmt.Sprintf("%020d %v %03d", q.Epoch, q.Digest, q.Index)
	for _, s := range []string{"OK " + done, "INDEX " + done, "CONFLICT " + done, "FENCED 00000000000000000009 ", "NODATA", "OK", "", "OOM x",
		strings.Replace("OK "+done, "003", "004", 1)} {
		f.Add(s, false)
		f.Add(s, true)
	}
	s, err := redis.Dial("127.0.0.1:1", redis.Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { s.Close() })
	f.Fuzz(func(t *testing.T, text string, refused bool) {
		var reply any = []byte(text)
		var said error
		if refused {
			reply, said = nil, redigo.Error(text)
		}
		var m stor.Meta
		var err error
		alloctest.Bound(t, len(text), func() { m, err = s.Outcome(q, reply, said) })
		if _, ok := errors.AsType[*stor.Refusal](err); err != nil && !ok && tlog.ClassOf(err) != tlog.Transient {
			t.Fatalf("%q: neither a refusal nor an unknown outcome: %v", text, err)
		}
		if err == nil && (refused || text != "OK "+done || m != (stor.Meta{Position: 5, Epoch: q.Epoch, Digest: q.Digest, Index: q.Index})) {
			t.Errorf("%q is a success: %+v", text, m)
		}
	})
}

// FuzzMeta: what parses is what its parts would be written as, hexadecimal
// digits in either case.
func FuzzMeta(f *testing.F) {
	f.Add(fmt.Sprintf("%020d %064x %03d", 7, 1, 254))
	f.Add(fmt.Sprintf("%020d %064x %03d", 7, 1, 255))
	f.Add(strings.Repeat("9", 89))
	f.Fuzz(func(t *testing.T, text string) {
		var m stor.Meta
		var err error
		alloctest.Bound(t, len(text), func() { m, err = redis.ParseMeta(text, 3) })
		if err != nil {
			return
		}
		if got := fmt.Sprintf("%020d %v %03d", uint64(m.Epoch), m.Digest, m.Index); !strings.EqualFold(got, text) || m.Position != 3 {
			t.Errorf("%q parses as %q", text, got)
		}
	})
}
