package redis

import (
	"errors"
	"fmt"
	"net"
)

// Limits of a reply, in bytes of what redigo allocates for it.
const (
	// maxData is the longest shard that is stored.
	maxData = 32 << 20
	// smallReply is for everything but shards and listings.
	smallReply = 256 << 10
	// listReply is for a listing: 150,000 vdisks.
	listReply = 8 << 20
	// largeReply is for a shard.
	largeReply = maxData + smallReply

	maxLine = 8 << 10 // a status, an error, or a length
)

// guard is the net.Conn under redigo. redigo allocates as many bytes, array
// elements and nested arrays as a peer announces; the guard follows the framing
// of replies as they are read and ends the connection before redigo sees an
// announcement beyond the limit. It checks nothing else: what a reply means is
// redigo's and the caller's.
//
// limit is set, and Read called, by the one goroutine that receives replies.
type guard struct {
	net.Conn
	limit int // of one reply

	line  [32]byte // beginning of the header line that is being read
	size  int      // length of that line so far
	skip  int      // bytes of a bulk string, and its end, still to come
	owed  int      // values still to come in this reply; 0: between replies
	spent int      // of limit, in this reply
	err   error
}

// newGuard puts a guard on c.
func newGuard(c net.Conn) *guard { return &guard{Conn: c, limit: smallReply} }

// Read reads from the peer.
func (g *guard) Read(p []byte) (int, error) {
	if g.err != nil {
		return 0, g.err
	}
	n, err := g.Conn.Read(p)
	if g.err = g.scan(p[:n]); g.err != nil {
		// What was scanned before the offence is lost with it: the connection
		// is closed on any error, and everything on it fails.
		return 0, g.err
	}
	return n, err
}

func (g *guard) scan(b []byte) error {
	for len(b) > 0 {
		if g.skip > 0 {
			n := min(g.skip, len(b))
			g.skip -= n
			b = b[n:]
			if g.skip == 0 {
				g.owed--
			}
			continue
		}
		c := b[0]
		b = b[1:]
		if g.size < len(g.line) {
			g.line[g.size] = c
		}
		g.size++
		if g.size > maxLine {
			return fmt.Errorf("a line of more than %d bytes: not a Redis", maxLine)
		}
		if c == '\n' {
			if err := g.header(); err != nil {
				return err
			}
			g.size = 0
		}
		if g.size == 1 && c != '+' && c != '-' && c != ':' && c != '$' && c != '*' {
			return fmt.Errorf("not a Redis: it answers %q", clip(string(c)+string(b[:min(len(b), 40)])))
		}
	}
	return nil
}

// header takes account of one line.
func (g *guard) header() error {
	first := g.owed == 0
	if first {
		g.owed, g.spent = 1, 0
	}
	line := g.line[:min(g.size, len(g.line))]
	if kind := line[0]; kind != '$' && kind != '*' {
		g.owed--
		return g.spend(g.size)
	}
	n, err := announced(line)
	if err != nil {
		return err
	}
	if line[0] == '*' {
		if !first {
			return errors.New("an array within an array, which nothing was asked for that has one")
		}
		g.owed += max(n, 0) - 1
		return g.spend(16 * max(n, 0)) // an interface value each
	}
	if n < 0 {
		g.owed--
		return nil
	}
	g.skip = n + 2
	return g.spend(n)
}

func (g *guard) spend(n int) error {
	if g.spent += n; g.spent > g.limit {
		return fmt.Errorf("a reply of %d bytes or more; at most %d were expected", g.spent, g.limit)
	}
	return nil
}

// announced is the length in a line; −1 is the null value.
func announced(line []byte) (int, error) {
	n := len(line)
	if n < 4 || line[n-1] != '\n' || line[n-2] != '\r' {
		return 0, fmt.Errorf("not a Redis: it answers %q", line)
	}
	digits := line[1 : n-2]
	if string(digits) == "-1" {
		return -1, nil
	}
	if len(digits) > 10 {
		return 0, fmt.Errorf("a length of %d digits", len(digits))
	}
	length := 0
	for _, d := range digits {
		if d < '0' || d > '9' {
			return 0, fmt.Errorf("not a Redis: it answers %q", line)
		}
		length = 10*length + int(d-'0')
	}
	return length, nil
}
