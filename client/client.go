package client

import (
	"context"
	"fmt"
	"sync"

	"tlog"
	"tlog/crypto"
	"tlog/internal/core/window"
)

// Point is a moment of a history: all records up to Sequence, and the chain
// value after it.
type Point struct {
	Sequence tlog.Sequence
	Chain    tlog.Hash
}

// Session is what a server said in its handshake answer.
type Session struct {
	Server     string
	Generation tlog.Generation
	Epoch      tlog.Epoch
	VdiskUUID  tlog.UUID
	Durability string // what a flush promises, in words
	DiskSize   uint64 // bytes; 0: unknown
	BlockSize  uint32 // bytes
}

// Stats are numbers of a Client, for its owner to show.
type Stats struct {
	WindowRecords int    // not durable, or not yet let go of
	WindowBytes   int    // their data
	Attaches      uint64 // successful handshakes
	ClockSteps    uint64 // times the clock stepped back; timestamps do not
}

// Client streams the records of one vdisk to a tlogserver. Safe for concurrent use.
type Client struct {
	cfg   Config
	size  uint64             // of the disk; 0: unknown. Fixed before Open returns
	alg   tlog.HashAlgorithm // likewise
	empty tlog.Hash          // of no bytes

	// turn is held by the one Append or Flush that may put a record into the
	// window. Those that wait for it are served in order, so a large record is not
	// overtaken for ever by small ones.
	turn   chan struct{}
	memory memory // partly owned by the holder of turn

	mu       sync.Mutex
	core     *window.Window
	acts     []window.Action
	waiting  map[uint64]chan struct{} // by ticket; closed when resolved
	ticket   uint64
	session  Session
	attaches uint64
	watch    *watch // of the attached connection
	freed    tlog.Sequence
	hangup   context.CancelCauseFunc // of the present attempt

	room     chan struct{} // the window has room again
	wake     chan struct{} // the core has something to send
	advanced chan struct{} // freed has grown
	attached chan struct{} // closed at the first attach
	ended    chan struct{} // closed when the core has ended
	offline  chan struct{} // closed when no connection is used any more
	done     chan struct{} // closed when all goroutines have ended
	stop     context.CancelFunc
}

// Open connects, with retries until ctx ends for what may pass, and attaches.
// An error that is permanent ends it at once.
func Open(ctx context.Context, cfg Config) (*Client, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	cfg.Logger = cfg.Logger.With("vdisk", string(cfg.Vdisk))
	c := &Client{
		cfg:      cfg,
		turn:     make(chan struct{}, 1),
		memory:   memory{most: cfg.WindowBytes},
		core:     window.New(cfg.core()),
		waiting:  make(map[uint64]chan struct{}),
		hangup:   func(error) {},
		room:     make(chan struct{}, 1),
		wake:     make(chan struct{}, 1),
		advanced: make(chan struct{}, 1),
		attached: make(chan struct{}),
		ended:    make(chan struct{}),
		offline:  make(chan struct{}),
		done:     make(chan struct{}),
	}
	c.start()
	select {
	case <-c.attached:
		return c, nil
	case <-c.offline:
	case <-ctx.Done():
		c.do(&window.Event{Kind: window.Abort, Err: ErrClosed})
		<-c.offline
	}
	return nil, c.openError(ctx)
}

// start starts the goroutines. They end when the core has: run first, which
// waits for those of its connection, then notify, which says the last word.
func (c *Client) start() {
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	var wg sync.WaitGroup
	wg.Go(func() { c.run(ctx) })
	wg.Go(c.notify)
	go func() { wg.Wait(); close(c.done) }()
}

func (c *Client) openError(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("client: open: %w; last attempt: %w", err, orNone(c.core.Cause()))
	}
	return fmt.Errorf("client: open: %w", c.core.Ended())
}

// orNone stands in for a cause that does not exist.
func orNone(err error) error {
	if err == nil {
		return fmt.Errorf("no server has answered")
	}
	return err
}

// Start is the point at which this client's own records begin: the server's
// head at Open.
func (c *Client) Start() Point {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Point(c.core.Start())
}

// Last is the last sequence given.
func (c *Client) Last() tlog.Sequence {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.core.Last().Sequence
}

// Flushed is the durable prefix with its chain value.
func (c *Client) Flushed() Point {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Point(c.core.Flushed())
}

// Session is what the server said at the last handshake.
func (c *Client) Session() Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session
}

// Stats are the present numbers.
func (c *Client) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	records, bytes := c.core.Held()
	return Stats{WindowRecords: records, WindowBytes: bytes, Attaches: c.attaches, ClockSteps: c.core.ClockSteps()}
}

// Err is nil while records are taken, ErrClosed after Close, and otherwise the
// permanent error that ended the client.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.core.Ended()
}

// Ended is closed when the client has ended: a permanent error, or Close. Err says which.
func (c *Client) Ended() <-chan struct{} { return c.ended }

// do steps the core with e, does what needs no caller, and returns the rest.
// The result is the caller's own.
func (c *Client) do(e *window.Event) []window.Action {
	c.mu.Lock()
	defer c.mu.Unlock()
	var rest []window.Action
	for _, a := range c.step(e) {
		if a.Kind == window.Dial || a.Kind == window.Attached || a.Kind == window.Refuse {
			rest = append(rest, a)
		}
	}
	return rest
}

// step steps the core with e and does what needs no caller. It is called with
// mu held; what it returns holds until mu is released.
func (c *Client) step(e *window.Event) []window.Action {
	c.acts = c.core.Step(e, c.acts[:0])
	for i := range c.acts {
		c.act(&c.acts[i])
	}
	return c.acts
}

// act does one action, unless it is for the caller of step. Nothing here waits.
func (c *Client) act(a *window.Action) {
	switch a.Kind {
	case window.Wake:
		signal(c.wake)
	case window.Resolve:
		if ch, ok := c.waiting[a.Ticket]; ok {
			close(ch)
			delete(c.waiting, a.Ticket)
		}
	case window.Free:
		c.freed = a.Last
		c.memory.free(a.Last)
		signal(c.room)
		signal(c.advanced)
	case window.Disconnect:
		c.hangup(a.Err)
	case window.Fail, window.Done:
		close(c.ended) // wakes everyone
		c.stop()       // and lets the goroutines go
	}
}

// signal makes the receiver of a channel of capacity one look again.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// notify calls OnFlushed.
func (c *Client) notify() {
	var told tlog.Sequence
	for last := false; !last; {
		select {
		case <-c.advanced:
		case <-c.offline:
			last = true
		}
		c.mu.Lock()
		freed := c.freed
		c.mu.Unlock()
		if freed > told && c.cfg.OnFlushed != nil {
			c.cfg.OnFlushed(freed)
			told = freed
		}
	}
}

// hash is the hash of a record's data.
func (c *Client) hash(data []byte) tlog.Hash {
	if len(data) == 0 {
		return c.empty
	}
	return crypto.HashRecord(c.alg, data)
}
