package stor

import (
	"fmt"
	"io"
	"sync"
	"time"

	"math/rand/v2"

	"tlog"
)

// newUUID reads a random (version 4) UUID.
func newUUID(random io.Reader) (tlog.UUID, error) {
	var u tlog.UUID
	if _, err := io.ReadFull(random, u[:]); err != nil {
		return u, fmt.Errorf("stor: random bytes: %w", err)
	}
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return u, nil
}

// jitter spreads back-offs, so that owners and retries do not meet again.
type jitter struct {
	mu  sync.Mutex
	rng *rand.Rand
}

func newJitter(random io.Reader) (*jitter, error) {
	var seed [32]byte
	if _, err := io.ReadFull(random, seed[:]); err != nil {
		return nil, fmt.Errorf("stor: random bytes: %w", err)
	}
	return &jitter{rng: rand.New(rand.NewChaCha8(seed))}, nil
}

// backoff is a random time between half and all of low × 2^(n−1), at most high.
func (j *jitter) backoff(n int, low, high time.Duration) time.Duration {
	d := high
	if n >= 1 && n < 32 && low<<(n-1) < high {
		d = low << (n - 1)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return d/2 + time.Duration(j.rng.Int64N(int64(d/2)+1))
}
