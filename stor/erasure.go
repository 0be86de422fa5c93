package stor

import (
	"fmt"

	"github.com/klauspost/reedsolomon"
)

// codec is the Reed–Solomon code of a pool. It does not notice wrong shards:
// whoever calls it has checked their digests.
type codec struct {
	k, m int
	rs   reedsolomon.Encoder // nil without parity
}

func newCodec(k, m int) (*codec, error) {
	c := &codec{k: k, m: m}
	if m == 0 {
		return c, nil
	}
	var opts []reedsolomon.Option
	if k <= 10 { // more goroutines cost more than they bring, measured
		opts = append(opts, reedsolomon.WithMaxGoroutines(1))
	}
	var err error
	if c.rs, err = reedsolomon.New(k, m, opts...); err != nil {
		return nil, fmt.Errorf("stor: reed-solomon %d+%d: %w", k, m, err)
	}
	return c, nil
}

func (c *codec) encode(shards [][]byte) error {
	if c.m == 0 {
		return nil
	}
	if err := c.rs.Encode(shards); err != nil {
		return fmt.Errorf("stor: encode %d+%d shards: %w", c.k, c.m, err)
	}
	return nil
}

// join returns the k data shards of bodies one after the other, rebuilding
// those that are nil in their places. Bodies has n entries, of which k are set,
// all of one length. The result lies in dst if that has the capacity; without
// dst it may be a body itself.
func (c *codec) join(dst []byte, bodies [][]byte) ([]byte, error) {
	size := 0
	for _, b := range bodies {
		size = max(size, len(b))
	}
	if c.k == 1 && bodies[0] != nil && dst == nil {
		return bodies[0], nil
	}
	joined := grown(dst, c.k*size)
	work := append([][]byte(nil), bodies...)
	missing := false
	for i := range c.k {
		part := joined[i*size : (i+1)*size : (i+1)*size]
		if bodies[i] == nil {
			work[i] = part[:0]
			missing = true
			continue
		}
		copy(part, bodies[i])
	}
	if !missing {
		return joined, nil
	}
	if err := c.rs.ReconstructData(work); err != nil {
		return nil, fmt.Errorf("stor: reconstruct %d+%d shards: %w", c.k, c.m, err)
	}
	return joined, nil
}

// complete rebuilds every body that is nil.
func (c *codec) complete(bodies [][]byte) error {
	if c.m == 0 {
		return nil
	}
	if err := c.rs.Reconstruct(bodies); err != nil {
		return fmt.Errorf("stor: reconstruct %d+%d shards: %w", c.k, c.m, err)
	}
	return nil
}
