package redis_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tlog"
	"tlog/stor"
	"tlog/stor/redis"
)

// TestNotRedis: whatever listens there, the error is soon, says what is wrong,
// and costs no memory.
func TestNotRedis(t *testing.T) {
	say := func(text string) func(net.Conn) {
		return func(c net.Conn) {
			_, _ = io.WriteString(c, text)
			_, _ = io.Copy(io.Discard, c)
		}
	}
	tests := []struct {
		name   string
		handle func(net.Conn)
		unfit  bool // else an unknown outcome
		want   string
	}{
		{"a web server", say("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"), true, `not a Redis: it answers "HTTP/1.1 400`},
		{"an ssh server", say("SSH-2.0-OpenSSH_9.2\r\n"), true, `not a Redis: it answers "SSH-2.0`},
		{"binary noise", say("\x15\x03\x01\x00\x02\x02\x16"), true, "not a Redis"},
		{"a silent server", say(""), false, "no answer within"},
		{"one that closes", func(net.Conn) {}, false, ""},
		{"one that never ends a line", say("+" + strings.Repeat("x", 20<<10)), true, "a line of more than"},
		{"a bulk of 4 GiB", say("$4294967296\r\n"), true, "a reply of 4294967296 bytes"},
		{"a bulk of more digits than an int", say("$99999999999999999999999\r\n"), true, "digits"},
		{"a bulk of negative length", say("$-2\r\n"), true, "not a Redis"},
		{"an array of two billion", say("*2000000000\r\n"), true, "a reply of"},
		{"arrays in arrays", say(strings.Repeat("*1\r\n", 1<<16)), true, "an array within an array"},
		{"a bulk whose end is none", say("$3\r\nabcde"), false, ""},
		{"no INFO", say("-ERR unknown command 'INFO'\r\n"), true, "INFO"},
		{"an INFO of something else", say(bulk("server:memcached\r\n")), true, "not a Redis"},
		{"a number for INFO", say(":1\r\n"), false, ""},
		{"protected mode", say("-DENIED Redis is running in protected mode\r\n"), false, "protected"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := dialPeer(t, listen(t, test.handle), patience(test.name == "a silent server" || test.name == "a bulk whose end is none"))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, _, err := s.Identify(t.Context())
			runtime.ReadMemStats(&after)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("identify: %v, want an error that says %q", err, test.want)
			}
			if r, ok := errors.AsType[*stor.Refusal](err); test.unfit && (!ok || r.Code != stor.Unfit) {
				t.Errorf("identify: %v, want unfit", err)
			}
			if err := appendOne(t, s, shard(1, 10)); err == nil {
				t.Error("append succeeded")
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 2<<20 {
				t.Errorf("%d bytes were allocated", n)
			}
		})
	}
}

// TestHostileReads: a peer that passes admission and then answers reads with
// too much.
func TestHostileReads(t *testing.T) {
	answers := []string{"$2147483647\r\n", "*2147483647\r\n", "$33554433\r\n" /* limit: a prefix was asked for */, ":5\r\n", "+OK\r\n", "*1\r\n$1\r\nx\r\n",
		"$-1\r\n", "*-1\r\n", bulk(strings.Repeat("z", 500)), "*4\r\n$1\r\n1\r\n$0\r\n\r\n$0\r\n\r\n$0\r\n\r\n", "*3\r\n$-1\r\n:3\r\n$-1\r\n"}
	for _, answer := range answers {
		t.Run(fmt.Sprintf("%.20q", answer), func(t *testing.T) {
			p := peer{reply: func(words []string) (string, error) {
				if strings.Contains("HMGET GETRANGE MGET SMEMBERS", words[0]) {
					return answer, nil
				}
				return "", nil
			}}
			s := dialPeer(t, p.start(t), redis.Options{Timeout: 300 * time.Millisecond})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if b, err := s.Shard(t.Context(), vdisk, 1, 100); err == nil && len(b) > 100 || err == nil && answer != "+OK\r\n" {
				t.Errorf("shard: %d bytes, %v", len(b), err)
			}
			if c, err := s.Control(t.Context(), vdisk); err == nil && c != (stor.Control{}) {
				t.Errorf("control: %+v", c)
			}
			if v, err := s.Vdisks(t.Context()); err == nil && len(v) > 0 {
				t.Errorf("vdisks: %v", v)
			}
			if _, _, err := s.Identify(t.Context()); err == nil {
				t.Error("identify succeeded")
			}
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
				t.Errorf("%d bytes were allocated", n)
			}
		})
	}
}

// TestHeadHintLies: a head hint of 2^64 − 1 neither overflows nor ends a
// listing before its context does.
func TestHeadHintLies(t *testing.T) {
	top := "18446744073709551615"
	p := peer{reply: func(words []string) (string, error) {
		switch words[0] {
		case "HMGET":
			return array("00000000000000000001", "", top, top), nil
		case "MGET":
			return fmt.Sprintf("*%d\r\n", len(words)-1) + strings.Repeat("$-1\r\n", len(words)-1), nil
		}
		return "", nil
	}}
	s := dialPeer(t, p.start(t), redis.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if m, err := s.Metas(ctx, vdisk, 1, 1<<64-1); !errors.Is(err, context.DeadlineExceeded) || tlog.ClassOf(err) != tlog.Unclassified {
		t.Errorf("metas of everything: %v, %v", m, err)
	}
	if m, err := s.Metas(t.Context(), vdisk, 1<<64-600, 1<<64-1); err != nil || len(m) != 0 {
		t.Errorf("metas of the top: %v, %v", m, err)
	}
}

// TestAnswers: what Redis may say to an append, and what it means.
func TestAnswers(t *testing.T) {
	held := func(word string, epoch int, digest byte, index int) string {
		return bulk(fmt.Sprintf("%s %020d %02x%062x %03d", word, epoch, digest, 0, index))
	}
	tests := []struct {
		set, script string
		code        stor.Code // 0: unknown outcome
		want        string
	}{
		{"", "-LOADING Redis is loading the dataset in memory\r\n", stor.Busy, "LOADING"},
		{"", "-BUSY Redis is busy running a script\r\n", stor.Busy, "BUSY"},
		{"", "-ERR max number of clients reached\r\n", stor.Busy, "clients"},
		{"", "-OOM command not allowed when used memory > 'maxmemory'.\r\n", stor.Full, "raise maxmemory"},
		{"-OOM command not allowed\r\n", bulk("NODATA"), stor.Full, "OOM"},
		{"-READONLY You can't write\r\n", bulk("NODATA"), stor.Replica, "READONLY"},
		{"", bulk("NODATA"), stor.NoData, ""},
		{"", "-MISCONF Errors writing to the AOF file\r\n", stor.Full, "MISCONF"},
		{"", "-NOREPLICAS Not enough good replicas to write.\r\n", stor.Full, "NOREPLICAS"},
		{"", "-READONLY You can't write against a read only replica.\r\n", stor.Replica, "READONLY"},
		{"", "-MOVED 3999 127.0.0.1:6381\r\n", stor.Replica, "MOVED"},
		{"", "-ASK 3999 127.0.0.1:6381\r\n", stor.Replica, "ASK"},
		{"", "-CLUSTERDOWN Hash slot not served\r\n", stor.Replica, "CLUSTERDOWN"},
		{"", "-NOAUTH Authentication required.\r\n", stor.Denied, "password"},
		{"", "-WRONGPASS invalid username-password pair\r\n", stor.Denied, "WRONGPASS"},
		{"", "-NOPERM this user has no permissions\r\n", stor.Denied, "NOPERM"},
		{"", "-WRONGTYPE Operation against a key\r\n", stor.Denied, "WRONGTYPE"},
		{"", "-ERR something new\r\n", stor.ServerError, "something new"},
		{"", "-NOSCRIPT No matching script\r\n", stor.ServerError, "NOSCRIPT"}, // also to EVAL
		{"", bulk("FENCED 00000000000000000009 00000000-0000-0000-0000-000000000009"), stor.Fenced, "epoch 9"},
		{"", bulk("FENCED 00000000000000000000 "), stor.Fenced, "epoch 0"},
		{"", bulk("FENCED 9 x"), stor.ServerError, ""},
		{"", held("CONFLICT", 7, 9, 3), stor.Conflict, ""},
		{"", bulk("WRONGSTORE "), stor.WrongStore, "not initialised"},
		{"", bulk("WRONGSTORE 5"), stor.WrongStore, "cookie is 5"},
		{"", bulk("OLDCONFIG 00000000000000000002"), stor.OldConfig, "00002"},
		{"", held("INDEX", 7, 1, 5), stor.HasIndex, "index 5"},
		{"", held("INDEX", 7, 1, 3), stor.ServerError, ""}, // the one that was asked
		{"", held("OK", 7, 1, 5), stor.ServerError, ""},    // another index
		{"", held("OK", 7, 2, 3), stor.ServerError, ""},    // another digest
		{"", held("OK", 6, 1, 3), stor.ServerError, ""},    // another epoch
		{"", held("OK", 7, 1, 255), stor.ServerError, ""},  // no index
		{"", bulk("OK"), stor.ServerError, ""},             // nothing
		{"", bulk("DAMAGED x"), stor.Denied, "not one of"}, // meta
		{"", "+QUEUED\r\n", stor.ServerError, "QUEUED"},    // MULTI is not ours
		{"", ":1\r\n", 0, ""},                                 // not a string
		{"", "$-1\r\n", 0, ""},                                // null
		{"", "*1\r\n$2\r\nOK\r\n", 0, ""},                     // an array
		{"", "$70000000\r\n", 0, "a reply of 70000000 bytes"}, // too much
		{"", "garbage\r\n", 0, "not a Redis"},
		{"", "+OK\n", 0, ""},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%.24q %.40q", test.set, test.script), func(t *testing.T) {
			p := peer{reply: func(words []string) (string, error) {
				switch words[0] {
				case "SET":
					return test.set, nil
				case "EVALSHA", "EVAL":
					return test.script, nil
				}
				return "", nil
			}}
			s := dialPeer(t, p.start(t), redis.Options{})
			q := shard(1, 10)
			q.Digest = tlog.Hash{1}
			err := appendOne(t, s, q)
			if test.code == 0 {
				mustBeUnknown(t, err)
				if !strings.Contains(err.Error(), test.want) {
					t.Errorf("%q does not say %q", err, test.want)
				}
				return
			}
			r := mustRefuse(t, err, test.code, test.want)
			if test.code == stor.HasIndex && r.Index != 5 || test.want == "epoch 9" && r.Owner != (stor.Owner{Epoch: 9, ID: tlog.UUID{15: 9}}) {
				t.Errorf("refusal %+v", r)
			}
		})
	}
}

// TestUnasked: an answer too many ends the connection.
func TestUnasked(t *testing.T) {
	var connections atomic.Int32
	p := peer{reply: func(words []string) (string, error) {
		if words[0] == "EVALSHA" {
			return bulk(accept(words)) + bulk(accept(words)), nil
		}
		return "", nil
	}}
	s := dialPeer(t, listen(t, func(c net.Conn) { connections.Add(1); p.serve(c) }), redis.Options{})
	mustAppend(t, s, shard(1, 10))
	eventually(t, func() error {
		err := appendOne(t, s, shard(2, 10))
		if n := connections.Load(); n < 2 {
			return fmt.Errorf("%d connections, append: %v", n, err)
		}
		return nil
	})
}

// TestLostConnections: appends through a peer that closes at every 47th
// command are each answered once, and by nothing but their own answer.
func TestLostConnections(t *testing.T) {
	var n atomic.Int32
	p := peer{reply: func(words []string) (string, error) {
		if n.Add(1)%47 == 0 {
			return "", io.EOF
		}
		return "", nil
	}}
	s := dialPeer(t, p.start(t), redis.Options{})
	won := 0
	for round := range 20 {
		var answers []chan error
		for i := range 20 {
			answers = append(answers, start(s, t.Context(), shard(tlog.Position(20*round+i+1), 3000)))
		}
		for i, a := range answers {
			if err := <-a; err == nil {
				won++
			} else {
				mustBeUnknown(t, err)
			}
			if len(a) > 0 {
				t.Errorf("round %d, append %d was answered twice", round, i)
			}
		}
	}
	if won == 0 || won == 400 {
		t.Errorf("%d of 400 appends got through", won)
	}
}

// TestBodyStaysTheCallers: an append whose context ends while the socket still
// reads its body is not done before it stops reading.
func TestBodyStaysTheCallers(t *testing.T) {
	var p peer
	blocked, release := make(chan struct{}), make(chan struct{})
	s := dialPeer(t, listen(t, func(c net.Conn) {
		p.serve(&slow{Conn: c, most: 1 << 20, blocked: blocked, release: release})
	}), redis.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	q := shard(1, 24<<20) // more than the socket's buffers
	answer := start(s, ctx, q)
	<-blocked
	behind := start(s, ctx, shard(2, 10))
	cancel()
	if err := <-behind; !errors.Is(err, context.Canceled) || tlog.ClassOf(err) != tlog.Unclassified {
		t.Errorf("the append behind: %v", err)
	}
	select {
	case err := <-answer:
		t.Errorf("done while the socket may still read: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	close(release)
	if err := <-answer; !errors.Is(err, context.Canceled) || tlog.ClassOf(err) != tlog.Unclassified {
		t.Errorf("append: %v", err)
	}
	mustAppend(t, s, shard(3, 10)) // answered behind the first
	if len(answer) > 0 || len(behind) > 0 {
		t.Error("an append was answered again, when its answer came")
	}
}

// slow stops reading after most bytes until it is released.
type slow struct {
	net.Conn
	most             int
	blocked, release chan struct{}
}

func (s *slow) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if s.most -= n; s.most < 0 && s.blocked != nil {
		close(s.blocked)
		s.blocked = nil
		<-s.release
	}
	return n, err
}

// TestEarlyAnswer: a peer that answers before it has the shard does not free
// the body under the socket's reading.
func TestEarlyAnswer(t *testing.T) {
	var p peer
	hurry, blocked, release := make(chan struct{}), make(chan struct{}), make(chan struct{})
	q := shard(1, 24<<20)
	s := dialPeer(t, listen(t, func(c net.Conn) {
		early := &slow{Conn: c, most: 1 << 20, blocked: blocked, release: hurry}
		go func() {
			<-blocked
			_, _ = io.WriteString(c, "+OK\r\n"+bulk(fmt.Sprintf("OK %020d %v %03d", q.Epoch, q.Digest, q.Index)))
			<-release
			close(hurry)
		}()
		p.serve(early)
	}), redis.Options{})
	answer := start(s, t.Context(), q)
	<-blocked
	select {
	case err := <-answer:
		t.Errorf("done while the socket may still read: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	close(release)
	if err := <-answer; err != nil {
		t.Errorf("append: %v", err)
	}
}
