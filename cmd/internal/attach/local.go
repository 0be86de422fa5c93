package attach

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"tlog/cmd/internal/storage"
	"tlog/server"
)

// local is a server in the process. Nobody else can reach it: its connections
// are pairs of sockets without an address.
type local struct {
	srv    *server.Server
	door   *door
	served chan error
	leave  context.CancelFunc // ends Serve, not the connections
}

// startLocal starts one. What it would log, its only client is told.
func startLocal(ctx context.Context, o *storage.Opened) (*local, error) {
	srv, err := server.New(server.Config{Pool: o.Pool, Keys: o.Keys, Durability: o.Promise})
	if err != nil {
		return nil, err
	}
	l := &local{srv: srv, door: &door{conns: make(chan net.Conn), closed: make(chan struct{})}, served: make(chan error, 1)}
	// It outlives ctx: what was accepted by then is still to be flushed.
	ctx, l.leave = context.WithCancel(context.WithoutCancel(ctx))
	go func() { l.served <- srv.Serve(ctx, l.door) }()
	return l, nil
}

// dial is a client.Config's Dial.
func (l *local) dial(ctx context.Context, _ string) (net.Conn, error) {
	ours, theirs, err := pair()
	if err != nil {
		return nil, err
	}
	select {
	case l.door.conns <- theirs:
		return ours, nil
	case <-l.door.closed:
		err = net.ErrClosed
	case <-ctx.Done():
		err = ctx.Err()
	}
	return nil, errors.Join(err, ours.Close(), theirs.Close())
}

func (l *local) stop(ctx context.Context) error {
	// In this order: a server may be stopped before it has begun to serve.
	l.leave()
	err := <-l.served
	return errors.Join(err, l.srv.Shutdown(ctx))
}

// pair makes a connection, both ends of it.
func pair() (ours, theirs net.Conn, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("attach: socketpair: %w", err)
	}
	if ours, err = connection(fds[0]); err != nil {
		return nil, nil, errors.Join(err, unix.Close(fds[1]))
	}
	if theirs, err = connection(fds[1]); err != nil {
		return nil, nil, errors.Join(err, ours.Close())
	}
	return ours, theirs, nil
}

// connection owns fd.
func connection(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "tlog")
	c, err := net.FileConn(f)
	return c, errors.Join(err, f.Close())
}

// door is the net.Listener of a local server.
type door struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// Accept waits for dial, or for Close.
func (d *door) Accept() (net.Conn, error) {
	select {
	case c := <-d.conns:
		return c, nil
	case <-d.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (d *door) Close() error {
	d.once.Do(func() { close(d.closed) })
	return nil
}

// Addr names no place.
func (d *door) Addr() net.Addr { return &net.UnixAddr{Name: "this process", Net: "unix"} }
