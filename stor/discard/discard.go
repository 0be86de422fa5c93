// Package discard is a shard server that acknowledges shards and keeps none:
// what is left of the path is what it costs without a store. It is for
// measurements only.
//
// Everything but Append is that of another server, which keeps identity and
// owners; so a pool of these can be initialised and opened, and a vdisk be
// taken once, but nothing can be read back.
package discard

import (
	"context"
	"sync"

	"tlog/stor"
)

// Server implements stor.Server and is safe for concurrent use.
type Server struct {
	stor.Server
	wake chan struct{} // of capacity one: there is something in queue
	wg   sync.WaitGroup

	mu     sync.Mutex
	closed bool
	queue  []answer
}

type answer struct {
	meta stor.Meta
	done func(stor.Meta, error)
}

// New puts a server that forgets before s, which it closes in the end.
func New(s stor.Server) *Server {
	d := &Server{Server: s, wake: make(chan struct{}, 1)}
	d.wg.Go(d.run)
	return d
}

// Append says that the shard is stored, and forgets it.
func (d *Server) Append(_ context.Context, r *stor.AppendRequest, done func(stor.Meta, error)) {
	a := answer{stor.Meta{Position: r.Position, Epoch: r.Epoch, Digest: r.Digest, Index: r.Index}, done}
	d.mu.Lock()
	d.queue = append(d.queue, a)
	d.mu.Unlock()
	d.signal()
}

func (d *Server) signal() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// run answers, never from within Append: its caller may hold locks.
func (d *Server) run() {
	var batch []answer
	for range d.wake {
		d.mu.Lock()
		batch, d.queue = d.queue, batch[:0]
		closed := d.closed
		d.mu.Unlock()
		for i, a := range batch {
			a.done(a.meta, nil)
			batch[i] = answer{}
		}
		if closed {
			return
		}
	}
}

// Close answers what was appended and closes the server behind.
func (d *Server) Close() error {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.signal()
	d.wg.Wait()
	return d.Server.Close()
}
