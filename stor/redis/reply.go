package redis

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"

	"github.com/gomodule/redigo/redis"
)

// replies reads the answers to appends. redigo makes four objects of each; here
// an answer is a piece of the buffer, and only one that is out of the ordinary
// becomes what redigo would have made of it. The guard ahead of it has checked
// the framing and the length.
type replies struct {
	r    *bufio.Reader
	long []byte // a text that the buffer does not hold
}

// reply is one answer; its text is valid until the next.
type reply struct {
	kind byte // '+', '-', ':', '$', '*', or '_' for null
	text []byte
	list []any // of '*'
}

var errReply = errors.New("not a reply of Redis")

func newReplies(r io.Reader) *replies { return &replies{r: bufio.NewReaderSize(r, 2*maxLine)} }

func (p *replies) next() (r reply, err error) {
	line, err := p.r.ReadSlice('\n')
	if err != nil {
		return r, err
	}
	if len(line) < 3 || line[len(line)-2] != '\r' {
		return r, errReply
	}
	r.kind, r.text = line[0], line[1:len(line)-2]
	switch r.kind {
	case '+', '-':
		return r, nil
	case ':':
		_, err := strconv.ParseInt(string(r.text), 10, 64)
		return r, err
	case '$', '*':
	default:
		return r, errReply
	}
	n, err := announced(line)
	switch {
	case err != nil:
		return r, err
	case n < 0:
		r.kind, r.text = '_', nil
	case r.kind == '$':
		r.text, err = p.bulk(n)
	default:
		r.list, err = p.array(n)
	}
	return r, err
}

// bulk reads a string of n bytes and its end.
func (p *replies) bulk(n int) ([]byte, error) {
	b, err := p.r.Peek(min(n+2, p.r.Size()))
	if err == nil && len(b) < n+2 {
		if cap(p.long) < n+2 {
			p.long = make([]byte, n+2)
		}
		b = p.long[:n+2]
		_, err = io.ReadFull(p.r, b)
	} else if err == nil {
		_, err = p.r.Discard(n + 2)
	}
	if err != nil {
		return nil, err
	}
	if b[n] != '\r' || b[n+1] != '\n' {
		return nil, errReply
	}
	return b[:n], nil
}

// array reads n elements; the guard has ended the connection if one is an array.
func (p *replies) array(n int) ([]any, error) {
	list := make([]any, n)
	for i := range list {
		r, err := p.next()
		if err != nil {
			return nil, err
		}
		if list[i] = r.value(); r.kind == '-' {
			list[i] = r.refusal()
		}
	}
	return list, nil
}

// value is r as redigo gives it; nil if it is an error.
func (r *reply) value() any {
	switch r.kind {
	case '+':
		return string(r.text)
	case '$':
		return bytes.Clone(r.text)
	case '*':
		return r.list
	case ':':
		n, _ := strconv.ParseInt(string(r.text), 10, 64) // next has looked
		return n
	}
	return nil
}

// refusal is the error that r is, or nil.
func (r *reply) refusal() error {
	if r.kind == '-' {
		return redis.Error(r.text)
	}
	return nil
}
