//go:build e2e

package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"tlog/crypto"
)

// Shards as an aggregation of 1 MiB and one of a single flushed 4 KiB write
// make them.
var (
	largeShard = crypto.HeadRoom(dataShards, parityShards) + crypto.ShardLength(1<<20+32<<10, dataShards)
	smallShard = crypto.HeadRoom(dataShards, parityShards) + crypto.ShardLength(4<<10+512, dataShards)
)

// rawDepth is how many aggregations are in flight, as a server has it.
const rawDepth = 8

// rawStore stores shards the shortest way. Each of its lanes is one shard
// server's: put begins to store a shard, and done is called when it is durable,
// in order.
type rawStore interface {
	put(shard []byte, done func())
	close()
}

// rawStores open lane i of a store; the pid is that of a process behind it, or 0.
var rawStores = map[string]func(b *testing.B) (lane rawStore, pid int){
	"file":  openRawFile,
	"redis": openRawRedis,
}

func openRaw(b *testing.B, open func(*testing.B) (rawStore, int)) (lanes []rawStore, pids []int) {
	for range shards {
		l, pid := open(b)
		lanes = append(lanes, l)
		if pid != 0 {
			pids = append(pids, pid)
		}
	}
	return lanes, pids
}

// benchmarkBareThroughput counts the payload of 1 MiB, not the 1.5 MiB of shards.
func benchmarkBareThroughput(b *testing.B, open func(*testing.B) (rawStore, int)) {
	lanes, pids := openRaw(b, open)
	shard := content[:largeShard]
	tokens := make(chan struct{}, rawDepth*shards)
	b.SetBytes(1 << 20)
	b.ReportAllocs()
	m := startMeter(b, pids)
	done := func() { <-tokens }
	for b.Loop() {
		for _, l := range lanes {
			tokens <- struct{}{}
			l.put(shard, done)
		}
	}
	b.StartTimer()
	for range cap(tokens) { // all are back
		tokens <- struct{}{}
	}
	b.StopTimer()
	m.report(int64(b.N) << 20)
	for _, l := range lanes {
		l.close()
	}
}

func benchmarkBareFlush(b *testing.B, open func(*testing.B) (rawStore, int)) {
	lanes, _ := openRaw(b, open)
	shard := content[:smallShard]
	b.ReportAllocs()
	var l latencies
	var wg sync.WaitGroup
	for b.Loop() {
		start := time.Now()
		wg.Add(len(lanes))
		for _, lane := range lanes {
			lane.put(shard, wg.Done)
		}
		wg.Wait()
		l.since(start)
	}
	l.report(b)
	for _, l := range lanes {
		l.close()
	}
}

// rawFile appends to one file: pwrite into allocated space and fdatasync, for
// all that waits at once, as the file store commits.
type rawFile struct {
	b     *testing.B
	f     *os.File
	queue chan rawPut
	ended chan struct{}
}

type rawPut struct {
	shard []byte
	done  func()
}

func openRawFile(b *testing.B) (rawStore, int) {
	f, err := os.Create(filepath.Join(b.TempDir(), "segment"))
	if err != nil {
		b.Fatal(err)
	}
	r := &rawFile{b, f, make(chan rawPut, rawDepth*shards), make(chan struct{})}
	go r.run()
	return r, 0
}

func (r *rawFile) put(shard []byte, done func()) { r.queue <- rawPut{shard, done} }

func (r *rawFile) run() {
	defer close(r.ended)
	const step = 16 << 20
	end, allocated := int64(0), int64(0)
	var batch []rawPut
	for p := range r.queue {
		batch = append(batch[:0], p)
		for len(r.queue) > 0 {
			batch = append(batch, <-r.queue)
		}
		for _, p := range batch {
			for end+int64(len(p.shard)) > allocated {
				r.must(syscall.Fallocate(int(r.f.Fd()), 0, allocated, step))
				allocated += step
			}
			_, err := r.f.WriteAt(p.shard, end)
			r.must(err)
			end += int64(len(p.shard))
		}
		r.must(syscall.Fdatasync(int(r.f.Fd())))
		for _, p := range batch {
			p.done()
		}
	}
}

func (r *rawFile) must(err error) {
	if err != nil {
		r.b.Error(err)
	}
}

func (r *rawFile) close() {
	close(r.queue)
	<-r.ended
	r.must(r.f.Close())
}

// rawRedis is one pipelined redigo connection that SETs.
type rawRedis struct {
	b     *testing.B
	c     redis.Conn
	queue chan rawPut
	sent  chan func()
	ended chan struct{}
}

func openRawRedis(b *testing.B) (rawStore, int) {
	s := startRedis(b)
	c, err := redis.Dial("tcp", s.Addr)
	if err != nil {
		b.Fatal(err)
	}
	r := &rawRedis{b, c, make(chan rawPut, rawDepth*shards), make(chan func(), rawDepth*shards), make(chan struct{})}
	go r.send()
	go r.receive()
	return r, s.Pid
}

func (r *rawRedis) put(shard []byte, done func()) { r.queue <- rawPut{shard, done} }

func (r *rawRedis) send() {
	defer close(r.sent)
	n := 0
	for p := range r.queue {
		n++
		r.must(r.c.Send("SET", "shard:"+strconv.Itoa(n), p.shard))
		r.must(r.c.Flush())
		r.sent <- p.done
	}
}

func (r *rawRedis) receive() {
	defer close(r.ended)
	for done := range r.sent {
		reply, err := r.c.Receive()
		if err == nil && reply != "OK" {
			err = fmt.Errorf("SET answers %v", reply)
		}
		r.must(err)
		done()
	}
}

func (r *rawRedis) must(err error) {
	if err != nil {
		r.b.Error(err)
	}
}

func (r *rawRedis) close() {
	close(r.queue)
	<-r.ended
	r.must(r.c.Close())
}
