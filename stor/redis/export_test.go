package redis

import (
	"net"
	"strings"

	redigo "github.com/gomodule/redigo/redis"

	"tlog/stor"
)

// Guarded is a redigo connection behind a guard with a limit.
func Guarded(c net.Conn, limit int) redigo.Conn {
	g := newGuard(c)
	g.limit = limit
	return redigo.NewConn(g, 0, 0)
}

// Replies reads what c says behind a guard with a limit, as the appends do.
func Replies(c net.Conn, limit int) func() (any, error) {
	g := newGuard(c)
	g.limit = limit
	p := newReplies(g)
	return func() (any, error) {
		r, err := p.next()
		if err != nil {
			return nil, err
		}
		return r.value(), r.refusal()
	}
}

// Outcome judges the answer of r's script.
func (s *Server) Outcome(r *stor.AppendRequest, reply any, said error) (stor.Meta, error) {
	return s.outcome(r, nil, reply, said)
}

// ParseMeta reads the value of a meta key.
var ParseMeta = parseMeta

// WholeSum is the last argument of a script.
func WholeSum(words ...string) string {
	return string(wholeSum(nil, []byte(strings.Join(words, " "))))
}

// AppendScript is the text of the append script.
func AppendScript() string { return newScripts(false).append.text }
