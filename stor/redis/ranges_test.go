package redis_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"tlog"
	"tlog/stor"
	"tlog/stor/redis"
)

// rangesOf is n ranges of size bytes each, in shards of up to each.
func rangesOf(n, each, size int) (all []stor.ShardRanges) {
	for i := range n {
		if i%each == 0 {
			all = append(all, stor.ShardRanges{Position: tlog.Position(i/each + 1)})
		}
		h := &all[len(all)-1]
		h.Ranges = append(h.Ranges, stor.Range{Off: i * size, B: make([]byte, size)})
	}
	return all
}

// TestHostileRanges: whatever a peer answers to the reading of parts, none of it is
// taken for what was asked for, and no more memory is taken than that has. What is
// merely not there, or refused, is its shard's.
func TestHostileRanges(t *testing.T) {
	good := bulk("hello")
	unknown := func(err error) bool { return tlog.ClassOf(err) == tlog.Transient }
	absent := func(err error) bool { return errors.Is(err, stor.ErrAbsent) }
	code := func(c stor.Code) func(error) bool {
		return func(err error) bool {
			r, ok := errors.AsType[*stor.Refusal](err)
			return ok && r.Code == c
		}
	}
	for _, test := range []struct {
		answer string
		first  bool // the error is of the first shard, and the second is right
		want   func(error) bool
	}{
		{bulk("") + good, true, absent},
		{bulk("hell") + good, true, absent},
		{bulk("hello!") + good, true, absent},
		{"-NOPERM no\r\n" + good, true, code(stor.Denied)},
		{"-LOADING it is\r\n" + good, true, code(stor.Busy)},
		{"$-1\r\n" + good, false, code(stor.ServerError)},
		{"+hello\r\n" + good, false, code(stor.ServerError)},
		{":5\r\n" + good, false, code(stor.ServerError)},
		{"*1\r\n" + good + good, false, code(stor.ServerError)},
		{good + good + good, false, code(stor.ServerError)},
		{good + good + "+OK\r\n", false, code(stor.ServerError)},
		{good, false, unknown},
		{good + "$5\r\nhel", false, unknown},
		{good + "$5\r\nhelloXY", false, unknown},
		{"$2147483647\r\n", false, unknown},
		{"$-2\r\n", false, unknown},
		{strings.Repeat("x", 20<<10), false, unknown},
	} {
		t.Run(fmt.Sprintf("%.40q", test.answer), func(t *testing.T) {
			p := peer{reply: func(words []string) (string, error) {
				switch {
				case words[0] != "GETRANGE":
					return "", nil
				case strings.HasSuffix(words[1], "1"): // of the first shard: both are answered together
					return "", errQuiet
				}
				return test.answer, nil
			}}
			s := dialPeer(t, p.start(t), patience(test.answer == good || test.answer == good+"$5\r\nhel"))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range 2 { // the second on what the first has left
				shards := rangesOf(2, 1, 5)
				err := s.Ranges(t.Context(), vdisk, shards)
				if second := shards[1]; test.first && err == nil && second.Err == nil && string(second.Ranges[0].B) == "hello" {
					err = shards[0].Err
				}
				if err == nil || !test.want(err) {
					t.Errorf("%v; the first: %v; the second: %v, %q", err, shards[0].Err, shards[1].Err, shards[1].Ranges[0].B)
				}
			}
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
				t.Errorf("%d bytes were allocated", n)
			}
		})
	}
}

// TestRangesInPieces: answers may come in any pieces, be longer than what one
// system call reads, and lie across the end of what one has read.
func TestRangesInPieces(t *testing.T) {
	held := make([]byte, 3<<20)
	rng := rand.New(rand.NewPCG(5, 1))
	for i := range held {
		held[i] = byte(rng.Uint32())
	}
	addr := listen(t, func(c net.Conn) {
		peer{reply: func(words []string) (string, error) {
			if words[0] != "GETRANGE" {
				return "", nil
			}
			from, _ := strconv.Atoi(words[2])
			to, _ := strconv.Atoi(words[3])
			text := bulk(string(held[from : to+1]))
			if n := rng.IntN(4 * len(text)); n < len(text) {
				if _, err := io.WriteString(c, text[:n]); err != nil {
					return "", err
				}
				runtime.Gosched()
				text = text[n:]
			}
			return text, nil
		}}.serve(c)
	})
	s := dialPeer(t, addr, redis.Options{})
	for _, c := range []struct{ n, each, size int }{{1000, 3, 1}, {500, 7, 4096}, {300, 1, 5000}, {3, 1, 1 << 20}, {40, 40, 70_000}} {
		shards := rangesOf(c.n, c.each, c.size)
		if err := s.Ranges(t.Context(), vdisk, shards); err != nil {
			t.Fatal(err)
		}
		for _, h := range shards {
			for _, r := range h.Ranges {
				if h.Err != nil || !bytes.Equal(r.B, held[r.Off:r.Off+c.size]) {
					t.Fatalf("%+v: %d bytes from %d: %v", c, c.size, r.Off, h.Err)
				}
			}
		}
	}
}
