package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"tlog"
	"tlog/schema"
)

// link stands between the clients and one tlogserver. Every message is noted
// in its vdisk's ledger before it goes on, so that nothing is known to either
// side that the ledger does not know.
type link struct {
	w        *world
	addr     string // where clients connect
	server   string // where the server listens
	listener net.Listener
	wg       sync.WaitGroup

	mu      sync.Mutex
	blocked bool
	hanging bool              // a client's end is not told to the server
	conns   map[net.Conn]bool // clients'
	servers map[net.Conn]bool // the other sides
}

func (w *world) newLink(server string) (*link, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	k := &link{w: w, addr: ln.Addr().String(), server: server, listener: ln, conns: map[net.Conn]bool{}, servers: map[net.Conn]bool{}}
	k.wg.Go(k.accept)
	return k, nil
}

func (k *link) accept() {
	for {
		c, err := k.listener.Accept()
		if err != nil {
			return
		}
		k.mu.Lock()
		if k.blocked {
			c.Close()
		} else {
			k.conns[c] = true
			k.wg.Go(func() { k.serve(c) })
		}
		k.mu.Unlock()
	}
}

// block cuts all connections and lets no new one through until it is undone.
func (k *link) block(on bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.blocked = on
	for c := range k.conns {
		if on {
			c.Close()
		}
	}
}

// hang cuts all clients off, and lets their connections hang at the server, as
// if their machines had gone: what the server still answers is noted.
func (k *link) hang() {
	k.mu.Lock()
	k.hanging = true
	k.mu.Unlock()
	k.block(true)
}

// restore undoes hang and block: what hangs is ended, who comes gets through.
func (k *link) restore() {
	k.mu.Lock()
	k.hanging = false
	for c := range k.servers {
		c.Close()
	}
	k.mu.Unlock()
	k.block(false)
}

// hangs reports whether the end of a client is kept from the server.
func (k *link) hangs() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.hanging
}

func (k *link) close() {
	k.listener.Close()
	k.restore()
	k.block(true)
	k.wg.Wait()
}

// serve carries one connection until one side ends it.
func (k *link) serve(client net.Conn) {
	defer func() {
		client.Close()
		k.mu.Lock()
		delete(k.conns, client)
		k.mu.Unlock()
	}()
	fromClient := schema.NewReader(client)
	hello, err := fromClient.Frame(schema.MaxHandshake, nil)
	if err != nil {
		k.complain("client", err)
		return
	}
	h, err := schema.DecodeHello(hello)
	if err != nil {
		k.complain("client", err)
		return
	}
	ledger := k.w.ledger(tlog.VdiskID(h.Vdisk))
	if ledger == nil {
		return // a probe of a vdisk that nobody writes
	}
	server, err := net.Dial("tcp", k.server)
	if err != nil {
		return // it is dead
	}
	k.mu.Lock()
	k.servers[server] = true
	k.mu.Unlock()
	defer func() {
		server.Close()
		k.mu.Lock()
		delete(k.servers, server)
		k.mu.Unlock()
	}()
	if _, err := server.Write(hello); err != nil {
		return
	}
	s := &session{l: ledger, client: h.Client}
	var down sync.WaitGroup
	down.Go(func() {
		k.complain("server", s.down(client, server))
		client.Close()
	})
	k.complain("client", s.up(fromClient, server))
	if !k.hangs() {
		server.Close()
	}
	client.Close()
	down.Wait()
}

// complain makes a violation of an error that is not the end of a connection.
func (k *link) complain(who string, err error) {
	var sys syscall.Errno
	switch {
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, errStopped), errors.As(err, &sys), errors.Is(err, os.ErrDeadlineExceeded):
		return
	}
	k.w.violated(fmt.Errorf("what a %s sent cannot be read: %w", who, err))
}

// up carries a client's messages.
func (s *session) up(from *schema.Reader, to net.Conn) error {
	for {
		t, err := from.Type()
		if err != nil {
			return err
		}
		frame, err := from.Frame(schema.MaxBatch, nil)
		if err != nil {
			return err
		}
		if t == schema.MsgBatch {
			var b schema.Batch
			if err := schema.DecodeBatch(frame, &b); err != nil {
				return err
			}
			if err := s.batch(&b); err != nil {
				return err
			}
		}
		if _, err := to.Write(append([]byte{byte(t)}, frame...)); err != nil {
			return err
		}
	}
}

// down carries a server's answers.
func (s *session) down(client, server net.Conn) error {
	from := schema.NewReader(server)
	frame, err := from.Frame(schema.MaxHandshake, nil)
	if err != nil {
		return err
	}
	w, err := schema.DecodeWelcome(frame)
	if err != nil {
		return err
	}
	s.welcome(&w)
	for {
		// A client that is gone does not matter: what the server says, it has said.
		_, _ = client.Write(frame)
		if frame, err = from.Frame(schema.MaxResponse, nil); err != nil {
			return err
		}
		r, err := schema.DecodeResponse(frame)
		if err != nil {
			return err
		}
		s.response(&r)
	}
}
