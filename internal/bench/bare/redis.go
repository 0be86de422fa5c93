package bare

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"

	"github.com/gomodule/redigo/redis"
)

// server is one pipelined connection that SETs.
type server struct {
	c     redis.Conn
	queue chan put
	sent  chan func()
	ended chan struct{}
	errs  [2]error // send's and receive's first
}

// OpenRedis connects to servers.
func OpenRedis(addrs []string) (*Store, error) {
	var lanes []lane
	for _, addr := range addrs {
		c, err := redis.Dial("tcp", addr)
		if err != nil {
			return nil, errors.Join(err, newStore(lanes).Close())
		}
		room := depth * len(addrs)
		l := &server{c: c, queue: make(chan put, room), sent: make(chan func(), room), ended: make(chan struct{})}
		go l.send()
		go l.receive()
		lanes = append(lanes, l)
	}
	return newStore(lanes), nil
}

func (l *server) put(shard []byte, done func()) { l.queue <- put{shard, done} }

func key(n int) string { return "shard:" + strconv.Itoa(n) }

func (l *server) send() {
	defer close(l.sent)
	n := 0
	for p := range l.queue {
		n++
		l.must(0, l.c.Send("SET", key(n), p.shard))
		l.must(0, l.c.Flush())
		l.sent <- p.done
	}
}

func (l *server) receive() {
	defer close(l.ended)
	for done := range l.sent {
		reply, err := l.c.Receive()
		if err == nil && reply != "OK" {
			err = fmt.Errorf("SET answers %v", reply)
		}
		l.must(1, err)
		done()
	}
}

func (l *server) must(i int, err error) {
	if l.errs[i] == nil {
		l.errs[i] = err
	}
}

func (l *server) close() error {
	close(l.queue)
	<-l.ended
	return errors.Join(l.errs[0], l.errs[1], l.c.Close())
}

// Fetch GETs the shards 1 … n that a Store has SET, from all servers at once,
// each into one buffer again and again: the least that reading can cost.
func Fetch(addrs []string, n, size int) error {
	failed := make(chan error, len(addrs))
	for _, addr := range addrs {
		go func() { failed <- fetch(addr, n, size) }()
	}
	var errs []error
	for range addrs {
		errs = append(errs, <-failed)
	}
	return errors.Join(errs...)
}

func fetch(addr string, n, size int) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	asked := make(chan error, 1)
	tokens := make(chan struct{}, depth)
	go func() {
		var q []byte
		for i := 1; i <= n; i++ {
			tokens <- struct{}{}
			k := key(i)
			q = fmt.Appendf(q[:0], "*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n", len(k), k)
			if _, err := c.Write(q); err != nil {
				asked <- err
				return
			}
		}
		asked <- nil
	}()
	r := bufio.NewReaderSize(c, 4<<10)
	head := fmt.Appendf(nil, "$%d\r\n", size)
	buf := make([]byte, max(size+2, len(head)))
	for range n {
		if _, err := io.ReadFull(r, buf[:len(head)]); err != nil {
			return err
		}
		if !bytes.Equal(buf[:len(head)], head) {
			return fmt.Errorf("GET answers %q, want %q", buf[:len(head)], head)
		}
		if _, err := io.ReadFull(r, buf[:size+2]); err != nil {
			return err
		}
		<-tokens
	}
	return <-asked
}
