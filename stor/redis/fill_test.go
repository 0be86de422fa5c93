package redis_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"

	"tlog"
	"tlog/stor"
	"tlog/stor/redis"
)

// TestHostileFills: whatever a peer answers to the reading of a shard, the error
// says so, and no more memory is taken than the answer may have.
func TestHostileFills(t *testing.T) {
	absent := func(err error) bool { return errors.Is(err, stor.ErrAbsent) }
	unknown := func(err error) bool { return tlog.ClassOf(err) == tlog.Transient }
	code := func(c stor.Code) func(error) bool {
		return func(err error) bool {
			r, ok := errors.AsType[*stor.Refusal](err)
			return ok && r.Code == c
		}
	}
	tests := map[string]func(error) bool{
		"$-1\r\n":                        absent,
		"$0\r\n\r\n":                     absent,
		"$2147483647\r\n":                unknown,
		"$99999999999999999999\r\n":      unknown,
		"$-2\r\n":                        unknown,
		"$\r\n":                          unknown,
		"*2147483647\r\n":                unknown,
		"x\r\n":                          unknown,
		strings.Repeat("x", 20<<10):      unknown,
		"$5\r\nhel":                      unknown,
		"$5\r\nhelloXY":                  code(stor.ServerError),
		"$5\r\nhello\r\n$5\r\nhello\r\n": code(stor.ServerError),
		"$-1\r\n+OK\r\n":                 code(stor.ServerError),
		"+OK\r\n":                        code(stor.ServerError),
		":5\r\n":                         code(stor.ServerError),
		"*1\r\n$1\r\nx\r\n":              code(stor.ServerError),
		"-LOADING it is\r\n":             code(stor.Busy),
		"-NOPERM no\r\n":                 code(stor.Denied),
	}
	for answer, want := range tests {
		t.Run(fmt.Sprintf("%.20q", answer), func(t *testing.T) {
			p := peer{reply: func(words []string) (string, error) {
				if words[0] == "GET" {
					return answer, nil
				}
				return "", nil
			}}
			s := dialPeer(t, p.start(t), patience(answer == "$5\r\nhel"))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range 2 { // the second on what the first has left
				b, memory, err := s.Fill(t.Context(), vdisk, 1, make([]byte, 10))
				if err == nil || !want(err) || b != nil || memory != nil {
					t.Errorf("fill: %d bytes, %v", len(b), err)
				}
			}
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 2<<20 {
				t.Errorf("%d bytes were allocated", n)
			}
		})
	}
}

// TestFillInPieces: an answer may come in any pieces, and the next request
// begins with the next answer.
func TestFillInPieces(t *testing.T) {
	shards := []string{strings.Repeat("a shard ", 5000), "b", strings.Repeat("c", 16<<10)}
	sent := 0
	addr := listen(t, func(c net.Conn) {
		peer{reply: func(words []string) (string, error) {
			if words[0] != "GET" {
				return "", nil
			}
			text := bulk(shards[sent%len(shards)])
			for len(text) > 1 {
				n := min(len(text)-1, 1+sent*sent*37%5000)
				if _, err := io.WriteString(c, text[:n]); err != nil {
					return "", err
				}
				text = text[n:]
				runtime.Gosched()
			}
			sent++
			return text, nil
		}}.serve(c)
	})
	s := dialPeer(t, addr, redis.Options{})
	var memory []byte
	for i := range 12 {
		var b []byte
		var err error
		if b, memory, err = s.Fill(t.Context(), vdisk, 1, memory); err != nil || !bytes.Equal(b, []byte(shards[i%len(shards)])) {
			t.Fatalf("fill %d: %d bytes, %v", i, len(b), err)
		}
		if i > 0 && cap(memory) < 40000 {
			t.Fatalf("fill %d: memory of %d bytes is not the one it had", i, cap(memory))
		}
	}
	if got, err := s.Shard(t.Context(), vdisk, 1, 0); err != nil || len(got) != len(shards[0]) {
		t.Errorf("a shard behind those: %d bytes, %v", len(got), err)
	}
}
