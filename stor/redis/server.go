package redis

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"tlog"
	"tlog/stor"
)

// Options say how a Redis is spoken to. The zero value is usable.
type Options struct {
	// Durability is what the pool states: it decides which settings are
	// refused. "": always.
	Durability stor.Durability

	// Username and Password log in; without a password nothing does, without a
	// user name it is the default user.
	Username, Password string

	// TLS, if not nil, encrypts; its ServerName defaults to the host.
	TLS *tls.Config

	// ReadOnly refuses all that changes the server, and admits one whose
	// settings would not keep what is written: for restoring.
	ReadOnly bool

	// Emulated says that the peer is the one of stor/memory, which has no
	// settings and knows scripts without their first line only.
	Emulated bool

	// Timeout is how long one answer may take before its connection is given
	// up; a fifth of a disk's usual patience at most. 0: 10 s.
	Timeout time.Duration

	// MaxBackoff is the longest pause before a server that failed is tried
	// again. 0: 5 s.
	MaxBackoff time.Duration

	// Readmit is how often the settings are looked at again. 0: 60 s.
	Readmit time.Duration
}

// What is not worth an option.
const (
	minBackoff = 100 * time.Millisecond
	maxDial    = 5 * time.Second
	readConns  = 4
	maxIndex   = 254
)

func (o Options) withDefaults() (Options, error) {
	switch o.Durability {
	case "":
		o.Durability = stor.DurabilityAlways
	case stor.DurabilityAlways, stor.DurabilityEverysec, stor.DurabilityMemory:
	default:
		return o, fmt.Errorf("stor/redis: durability %q: it is one of always, everysec, memory", o.Durability)
	}
	if o.Username != "" && o.Password == "" {
		return o, fmt.Errorf("stor/redis: user %q without a password", o.Username)
	}
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&o.Timeout, 10 * time.Second}, {&o.MaxBackoff, 5 * time.Second}, {&o.Readmit, time.Minute}} {
		if *d.v < 0 {
			return o, fmt.Errorf("stor/redis: negative duration %v", *d.v)
		}
		if *d.v == 0 {
			*d.v = d.def
		}
	}
	return o, nil
}

// Server is a Redis as a shard server. It implements stor.Server.
type Server struct {
	name, addr string
	db         int
	opt        Options
	scripts    scripts
	gate       gate

	life context.Context // ended by Close
	end  context.CancelFunc
	once sync.Once
	wg   sync.WaitGroup

	appends appends
	places  chan struct{} // one for each connection in use beside the appends'

	mu      sync.Mutex
	idle    []*conn // admitted, unused
	run     string  // run_id of the process that was admitted last
	evicted uint64  // its evicted_keys when it was admitted first
}

// A Server is a shard server.
var _ stor.Server = (*Server)(nil)

// Dial gives the shard server at addr, HOST:PORT or HOST:PORT@DB. It connects
// with the first request: a server that is down is one that does not answer.
// The error is one of addr or opt.
func Dial(addr string, opt Options) (*Server, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{name: addr, opt: opt, scripts: newScripts(opt.Emulated), places: make(chan struct{}, readConns)}
	if s.addr, s.db, err = parseAddress(addr); err != nil {
		return nil, err
	}
	s.life, s.end = context.WithCancel(context.Background())
	s.appends.init(s)
	s.wg.Go(s.appends.run)
	return s, nil
}

func parseAddress(addr string) (string, int, error) {
	hostport, db, named := strings.Cut(addr, "@")
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return "", 0, fmt.Errorf("stor/redis: address %q: %w; it is HOST:PORT or HOST:PORT@DB", addr, err)
	}
	if n, err := strconv.ParseUint(port, 10, 16); host == "" || err != nil || n == 0 {
		return "", 0, fmt.Errorf("stor/redis: address %q: it is HOST:PORT or HOST:PORT@DB", addr)
	}
	if !named {
		return hostport, 0, nil
	}
	n, err := strconv.ParseUint(db, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("stor/redis: address %q: database %q is not a number", addr, db)
	}
	return hostport, int(n), nil
}

// Name is the address.
func (s *Server) Name() string { return s.name }

// Close ends all connections. What is in flight fails with an unknown outcome
// before Close returns. It may be called again.
func (s *Server) Close() error {
	s.once.Do(func() {
		s.end()
		s.wg.Wait()
		for range cap(s.places) {
			s.places <- struct{}{} // whoever has it ends soon
		}
		s.forget()
	})
	return nil
}

func (s *Server) errClosed() error {
	return tlog.Transientf("stor/redis: %s: closed", s.name)
}
