package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"tlog"
	"tlog/crypto"
	"tlog/internal/core/session"
	"tlog/internal/failpoint"
	"tlog/schema"
)

// conn is one client's connection: listen reads its messages, speak attaches
// it to its vdisk and writes the answers.
type conn struct {
	srv    *Server
	id     session.Conn
	nc     net.Conn
	log    *slog.Logger
	ctx    context.Context // ends with the connection
	cancel context.CancelFunc
	out    *outbox
	reader *schema.Reader

	greeting
	owner   *owner        // set before welcomed is closed
	ready   chan struct{} // closed with a welcome of status OK
	noData  tlog.Hash     // record hash of no bytes
	command []byte        // buffer of small messages
	blocks  blocks        // of version 1
	bye     bool          // the client's last message was read

	mu        sync.Mutex // of what follows
	greeted   bool       // the request is here, so the peer expects an answer
	gapBy     time.Time  // when an open gap must be closed; zero: none is open
	lingering bool       // the last answer was written
}

// serve runs the connection to its end. handshaken is called once, when the
// request is there or given up.
func (c *conn) serve(handshaken func()) {
	defer c.cancel()
	defer func() { _ = c.nc.Close() }()
	ok := c.handshake()
	handshaken()
	if !ok {
		return
	}
	speaking := make(chan struct{})
	go func() {
		defer close(speaking)
		c.speak()
	}()
	err := c.listen()
	c.log.Debug("connection ended", "err", err)
	c.cancel()
	c.out.abort()
	<-speaking
	if c.owner != nil {
		c.owner.detach(c)
	}
}

// handshake reads the request. One that is wrong in itself is answered here.
func (c *conn) handshake() bool {
	_ = c.nc.SetDeadline(time.Now().Add(c.srv.cfg.HandshakeTimeout))
	frame, err := c.reader.Frame(maxHello, nil)
	if err != nil {
		c.log.Debug("no handshake", "err", err)
		c.srv.Metrics.HandshakesFailed.Add(1)
		return false
	}
	h, err := schema.DecodeHello(frame)
	r := &session.Refusal{Status: tlog.HandshakeInvalidRequest}
	if err == nil {
		c.greeting, r = greet(&h, c.srv.cfg.BlockSize)
	} else {
		c.version, r.Message = schema.Version1, err.Error()
	}
	_ = c.nc.SetDeadline(time.Time{})
	c.mu.Lock()
	c.greeted = true
	c.mu.Unlock()
	if r != nil {
		c.refuse(r)
		c.finish(c.write(nil))
		_, _ = io.Copy(io.Discard, c.nc)
		return false
	}
	c.out.version = c.version
	c.attach.Conn = c.id
	c.noData = crypto.HashRecord(c.attach.Hash, nil)
	c.log = c.log.With("vdisk", string(c.vdisk))
	return true
}

// refuse answers a handshake with anything but OK.
func (c *conn) refuse(r *session.Refusal) {
	c.srv.Metrics.HandshakesFailed.Add(1)
	c.log.Warn("client refused", "status", r.Status.String(), "reason", r.Message)
	c.out.put(answer{welcome: &schema.Welcome{Version: c.version, Status: documented(c.version, r.Status), Message: r.Message}})
	c.out.end()
}

// speak attaches, then writes answers until the last one.
func (c *conn) speak() {
	stop := c.srv.attach(c)
	defer stop()
	c.finish(c.write(stop))
}

// write writes answers until the last one; welcomed is called after the first.
func (c *conn) write(welcomed func()) error {
	var buf []byte
	var queue []answer
	for done := false; !done; {
		if queue, done = c.out.take(queue); len(queue) == 0 {
			continue
		}
		var err error
		for i := range queue {
			if buf, err = queue[i].encode(buf, c.version, c.epoch(), c.flush); err != nil {
				return err
			}
			if len(buf) >= writePortion {
				if buf, err = c.flush(buf); err != nil {
					return err
				}
			}
		}
		if buf, err = c.flush(buf); err != nil {
			return err
		}
		if failpoint.On {
			passed(queue)
		}
		if welcomed != nil {
			welcomed()
		}
		if cap(buf) > writePortion/4 && len(queue) < 8 {
			buf = nil // an idle connection costs little
		}
	}
	return nil
}

func (c *conn) epoch() tlog.Epoch {
	if c.owner == nil {
		return 0
	}
	return c.owner.log.Epoch()
}

// flush writes all of b and returns it empty.
func (c *conn) flush(b []byte) ([]byte, error) {
	_ = c.nc.SetWriteDeadline(time.Now().Add(c.srv.cfg.WriteTimeout))
	_, err := c.nc.Write(b)
	return b[:0], err
}

// finish ends the connection after its last answer, or at once if that could
// not be written. The sending side is ended first and what still arrives is read
// and dropped for a while: closing on unread input would reset the
// connection, and the peer might lose the answer.
func (c *conn) finish(err error) {
	if err != nil {
		c.log.Info("client does not take its answers", "err", err)
		c.out.abort()
		c.cancel()
		_ = c.nc.Close()
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lingering = true
	if h, ok := c.nc.(interface{ CloseWrite() error }); ok {
		_ = h.CloseWrite()
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(lingerTime))
	c.cancel()
}

// hurry ends a connection of a server that stops: at once if its peer waits for
// no answer, else when that is out.
func (c *conn) hurry() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.greeted {
		_ = c.nc.Close()
	}
	c.out.end()
}

// readBy sets the deadline of what is read next; d zero: none, but for a gap.
func (c *conn) readBy(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lingering {
		return
	}
	by := c.gapBy
	if d > 0 {
		by = time.Now().Add(d)
	}
	_ = c.nc.SetReadDeadline(by)
}

// gap notes that early blocks are held, or no longer.
func (c *conn) gap(open bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gapBy = time.Time{}
	if open {
		c.gapBy = time.Now().Add(c.srv.cfg.MessageTimeout)
	}
}

func (c *conn) gapOverdue() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.gapBy.IsZero() && !time.Now().Before(c.gapBy)
}

// welcome answers the handshake.
func (c *conn) welcome(w *schema.Welcome) {
	c.out.put(answer{welcome: w})
	close(c.ready)
}

// errEnded says that the connection was ended from here.
var errEnded = errors.New("server: connection: ended")

// listen reads messages until the connection ends. The first is waited for
// while the vdisk is still being taken over, to see a client that gives up.
func (c *conn) listen() error {
	for c.out.await() {
		c.readBy(0)
		t, err := c.reader.Type()
		if errors.Is(err, os.ErrDeadlineExceeded) && c.gapOverdue() {
			c.owner.step(session.GapTimeout{Conn: c.id})
			continue
		}
		if err == nil {
			err = c.message(t)
		}
		if err == io.EOF && c.bye {
			break // it ended its side only
		}
		if err != nil && !c.out.over() && !c.tell(err) {
			return err
		}
	}
	c.readBy(0)
	_, err := io.Copy(io.Discard, c.nc)
	if err == nil {
		<-c.ctx.Done()
	}
	return errEnded
}
