// Package memory is a shard server that forgets everything when it is closed:
// a Redis emulated within the process (miniredis), which stor/redis speaks to
// over a loopback connection, with the scripts of a real one. It is for
// `--memory` and for tests: what passes here runs the same code up to the
// socket.
//
// It is no measure of speed: every value is copied several times, and scripts
// are interpreted anew.
package memory

import (
	"fmt"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"

	"tlog/stor"
	"tlog/stor/redis"
)

// sweep is how often the emulated clock is moved on: without it, what fenced
// writers leave behind would never expire.
const sweep = 10 * time.Second

// Server is an emulated Redis and the connection to it. It implements
// stor.Server and is safe for concurrent use.
type Server struct {
	stor.Server
	peer *miniredis.Miniredis
	done chan struct{}
	wg   sync.WaitGroup
	once sync.Once
	err  error
}

// New starts an empty server. The error is that of listening on loopback.
func New() (*Server, error) {
	peer := miniredis.NewMiniRedis()
	if err := peer.Start(); err != nil {
		return nil, fmt.Errorf("stor/memory: %w", err)
	}
	client, err := redis.Dial(peer.Addr(), redis.Options{Durability: stor.DurabilityMemory, Emulated: true})
	if err != nil {
		peer.Close()
		return nil, fmt.Errorf("stor/memory: %w", err)
	}
	s := &Server{Server: client, peer: peer, done: make(chan struct{})}
	s.wg.Go(s.expire)
	return s, nil
}

func (s *Server) expire() {
	tick := time.NewTicker(sweep)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.peer.FastForward(sweep)
		case <-s.done:
			return
		}
	}
}

// Close ends the server and forgets what it holds. It may be called again.
func (s *Server) Close() error {
	s.once.Do(func() {
		s.err = s.Server.Close()
		close(s.done)
		s.wg.Wait()
		s.peer.Close()
	})
	return s.err
}
