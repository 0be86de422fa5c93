package server

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"tlog"
	"tlog/internal/core/session"
	"tlog/schema"
)

func makeRecord() tlog.Record { return tlog.Record{Sequence: 1, Data: []byte("x")} }

func v2(s tlog.BlockStatus, upTo tlog.Sequence) answer {
	return answer{reply: session.Reply{Status: s, UpTo: upTo}}
}

func v1(s tlog.BlockStatus, from, to, then uint64) answer {
	return answer{reply: session.Reply{Status: s, Listed: true, From: from, To: to, Then: then}}
}

// written is what a client of that version reads of the answers.
func written(t *testing.T, v schema.Version, answers []answer) string {
	t.Helper()
	var b []byte
	var err error
	for i := range answers {
		if b, err = answers[i].encode(b, v, 7, func(b []byte) ([]byte, error) { return b, nil }); err != nil {
			t.Fatal(err)
		}
	}
	var words []string
	for len(b) > 0 {
		var frame []byte
		if frame, b, err = schema.SplitFrame(b); err != nil {
			t.Fatal(err)
		}
		r, err := schema.DecodeResponse(frame)
		if err != nil {
			t.Fatal(err)
		}
		if v < schema.Version2 {
			words = append(words, fmt.Sprint(r.Status, r.Sequences))
		} else {
			words = append(words, fmt.Sprint(r.Status, r.UpTo))
		}
	}
	return strings.Join(words, ", ")
}

func TestOutboxMerges(t *testing.T) {
	recv, flush, forced := tlog.StatusRecvOK, tlog.StatusFlushOK, tlog.StatusForceFlushReceived
	for _, c := range []struct {
		name    string
		version schema.Version
		put     []answer
		want    string
	}{
		{"prefixes", schema.Version2, []answer{v2(recv, 1), v2(forced, 1), v2(recv, 2), v2(flush, 1), v2(recv, 3), v2(forced, 3), v2(flush, 3)}, "1 3, 3 1, 2 3, 3 3"},
		{"runs", schema.Version1, []answer{v1(recv, 0, 0, 0), v1(recv, 1, 1, 0), v1(flush, 0, 0, 0), v1(flush, 1, 1, 0), v1(recv, 2, 2, 0)}, "1 [0], 1 [1], 2 [0 1], 1 [2]"},
		{"no run", schema.Version1, []answer{v1(recv, 0, 0, 0), v1(recv, 0, 0, 0), v1(recv, 2, 2, 0)}, "1 [0], 1 [0], 1 [2]"},
		{"flushed before", schema.Version1, []answer{v1(flush, 3, 3, 9), v1(flush, 10, 11, 11)}, "2 [3 9], 2 [10 11]"},
		{"commands", schema.Version1, []answer{v2(forced, 1), v2(forced, 2), v2(tlog.StatusWaitSlaveSyncReceived, 0)}, "3 [], 3 [], 4 []"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOutbox()
			for _, a := range c.put {
				o.put(a)
			}
			queue, _ := o.take(nil)
			if got := written(t, c.version, queue); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			// What was taken does not attract what comes later.
			o.put(c.put[0])
			queue, _ = o.take(queue)
			if len(queue) != 1 {
				t.Errorf("%d answers after one was put, want 1", len(queue))
			}
		})
	}
}

func TestLongListsAreCut(t *testing.T) {
	a := v1(tlog.StatusFlushOK, 10, 10+2*listLength, 0)
	flushed := 0
	b, err := a.encode(nil, schema.Version1, 0, func(b []byte) ([]byte, error) { flushed += len(b); return b[:0], nil })
	if err != nil {
		t.Fatal(err)
	}
	if frames := (2*listLength+1)*8 + 3*32; flushed+len(b) != frames || flushed == 0 {
		t.Errorf("%d bytes flushed and %d left, want %d together", flushed, len(b), frames)
	}
}

// Whatever is put, the outbox of a client that does not read stays short.
func TestOutboxStaysBounded(t *testing.T) {
	for _, version := range []schema.Version{schema.Version1, schema.Version2} {
		synctest.Test(t, func(t *testing.T) {
			o := newOutbox()
			put := uint64(0)
			go func() { // the connection's messages
				for o.await() {
					put++
					o.put(v2(tlog.StatusForceFlushReceived, 1))
					if version == schema.Version1 {
						o.put(v1(tlog.StatusRecvOK, put, put, 0))
					} else {
						o.put(v2(tlog.StatusRecvOK, tlog.Sequence(put)))
					}
				}
			}()
			synctest.Wait()
			for i := range uint64(100000) { // the log goes on
				if version == schema.Version1 {
					o.put(v1(tlog.StatusFlushOK, i, i, 0))
				} else {
					o.put(v2(tlog.StatusFlushOK, tlog.Sequence(i)))
				}
			}
			if n := len(o.queue); n < outboxLimit || n > outboxLimit+2 {
				t.Errorf("%d answers wait, want about %d", n, outboxLimit)
			}
			o.abort()
			synctest.Wait()
		})
	}
}

func TestOutboxPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutbox()
		o.pause(true)
		turns := make(chan bool, 2)
		go func() { turns <- o.await(); o.pause(true); turns <- o.await() }()
		synctest.Wait()
		if len(turns) != 0 {
			t.Fatal("read on while paused")
		}
		o.pause(false)
		if !<-turns {
			t.Fatal("not resumed")
		}
		o.end()
		if <-turns {
			t.Fatal("read on after the end")
		}
		o.put(v2(tlog.StatusRecvOK, 1))
		if queue, done := o.take(nil); len(queue) != 0 || !done {
			t.Errorf("%d answers after the end, done %v", len(queue), done)
		}
	})
}
