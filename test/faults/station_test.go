//go:build e2e

package faults

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
)

// station stands between a shard server's client and its Redis. It takes one
// command at a time of each connection, has it carried out, and gives the
// answer: so a hook can change, repeat, keep back or lose either.
type station struct {
	addr string
	l    net.Listener
	wg   sync.WaitGroup

	mu     sync.Mutex
	target string
	hook   hook
	conns  map[net.Conn]struct{}
	last   map[string][]byte // the latest answers, by command
	closed bool
}

// hook handles a command in place of the station. An error ends the connection.
type hook func(x *exchange) ([]byte, error)

var errCut = errors.New("the connection is cut")

// The kinds of command that hooks tell apart.
const (
	kindFence  = "fence"
	kindAppend = "append"
	kindData   = "data" // the SET ahead of an append
	kindRead   = "read"
	kindOther  = "other"
)

// exchange is one command and its answer.
type exchange struct {
	words [][]byte
	kind  string
	raw   []byte
	s     *station
	up    net.Conn
	from  *bufio.Reader
}

func newStation(t testing.TB, target string) *station {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &station{addr: l.Addr().String(), l: l, target: target, conns: map[net.Conn]struct{}{}, last: map[string][]byte{}}
	s.wg.Go(s.accept)
	t.Cleanup(func() {
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		_ = l.Close()
		s.cut()
		s.wg.Wait()
	})
	return s
}

func (s *station) accept() {
	for {
		c, err := s.l.Accept()
		if err != nil {
			return
		}
		s.wg.Go(func() { s.serve(c) })
	}
}

// keep books a connection for cut; false: the station is closed.
func (s *station) keep(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *station) drop(c net.Conn) {
	_ = c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// cut ends every connection.
func (s *station) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Close()
	}
}

func (s *station) set(h hook) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = h
}

func (s *station) lead(target string) {
	s.mu.Lock()
	s.target = target
	s.mu.Unlock()
	s.cut()
}

func (s *station) serve(c net.Conn) {
	defer s.drop(c)
	s.mu.Lock()
	target := s.target
	s.mu.Unlock()
	up, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer s.drop(up)
	if !s.keep(c) || !s.keep(up) {
		return
	}
	in, from := bufio.NewReader(c), bufio.NewReader(up)
	for {
		x, err := readCommand(in)
		if err != nil {
			return
		}
		x.s, x.up, x.from = s, up, from
		answer, err := s.answer(x)
		if err != nil {
			return
		}
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}

func (s *station) answer(x *exchange) ([]byte, error) {
	s.mu.Lock()
	h := s.hook
	s.mu.Unlock()
	if h != nil {
		return h(x)
	}
	return x.run()
}

// run has the Redis carry the command out.
func (x *exchange) run() ([]byte, error) {
	if _, err := x.up.Write(x.raw); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := copyReply(&b, x.from); err != nil {
		return nil, err
	}
	x.s.mu.Lock()
	x.s.last[x.command()] = b.Bytes()
	x.s.mu.Unlock()
	return b.Bytes(), nil
}

// previous is the answer that the last command of this name got; nil: none.
func (x *exchange) previous() []byte {
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	return x.s.last[x.command()]
}

// command tells commands apart whose answers look alike.
func (x *exchange) command() string { return x.kind + " " + string(x.words[0]) }

func readCommand(r *bufio.Reader) (*exchange, error) {
	x := &exchange{}
	n, err := x.length(r, '*')
	if err != nil {
		return nil, err
	}
	for range n {
		size, err := x.length(r, '$')
		if err != nil {
			return nil, err
		}
		word := make([]byte, size+2)
		if _, err := io.ReadFull(r, word); err != nil {
			return nil, err
		}
		x.raw = append(x.raw, word...)
		x.words = append(x.words, word[:size])
	}
	x.kind = kindOf(x.words)
	return x, nil
}

// length reads a line that announces something.
func (x *exchange) length(r *bufio.Reader, sign byte) (int, error) {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < 4 || line[0] != sign {
		return 0, fmt.Errorf("not a command: %q", line)
	}
	x.raw = append(x.raw, line...)
	return strconv.Atoi(string(line[1 : len(line)-2]))
}

func kindOf(words [][]byte) string {
	switch string(words[0]) {
	case "EVAL", "EVALSHA":
		switch string(words[2]) { // the number of keys
		case "3":
			return kindFence
		case "5":
			return kindAppend
		}
	case "SET":
		return kindData
	case "GET", "GETRANGE", "MGET":
		return kindRead
	case "HMGET":
		if string(words[1]) != "tlog:id" {
			return kindRead
		}
	}
	return kindOther
}

func copyReply(b *bytes.Buffer, r *bufio.Reader) error {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return err
	}
	b.Write(line)
	if len(line) < 4 || line[0] != '$' && line[0] != '*' {
		return nil
	}
	n, err := strconv.Atoi(string(line[1 : len(line)-2]))
	if err != nil || n < 0 {
		return err
	}
	if line[0] == '$' {
		_, err = io.CopyN(b, r, int64(n)+2)
		return err
	}
	for range n {
		if err := copyReply(b, r); err != nil {
			return err
		}
	}
	return nil
}
