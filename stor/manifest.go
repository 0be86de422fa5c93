package stor

import (
	"errors"
	"fmt"
	"slices"

	"tlog"
)

// ErrConfig says that what was configured disagrees with the pool, or cannot
// be safe. It needs a person.
var ErrConfig = errors.New("configuration does not fit")

// Durability is what a shard server's "done" is worth.
type Durability string

const (
	DurabilityAlways   Durability = "always"   // synced before the answer; the default
	DurabilityEverysec Durability = "everysec" // loses up to a second at power loss
	DurabilityMemory   Durability = "memory"   // loses everything when the process ends
)

// Manifest describes a pool. It is written whole to every server of it; the
// one that R servers hold rules.
type Manifest struct {
	Pool          tlog.UUID   `json:"pool"`
	ConfigVersion uint64      `json:"config_version"` // 1 on init
	K             int         `json:"data_shards"`
	M             int         `json:"parity_shards"`
	W             int         `json:"write_quorum"` // distinct indices that make a position committed
	Durability    Durability  `json:"durability"`
	Cookies       []tlog.UUID `json:"cookies"` // one a slot; len is P
	// Joining are the slots whose server took another's place and may not hold
	// yet what that one held. They are written to, but do not vote.
	Joining []int `json:"joining,omitempty"`
}

// N is the number of shards of an aggregation.
func (m *Manifest) N() int { return m.K + m.M }

// P is the number of servers.
func (m *Manifest) P() int { return len(m.Cookies) }

// R is how many servers must answer a takeover or a reader:
// (N − W) + (P − R) ≤ M.
func (m *Manifest) R() int { return m.P() + m.N() - m.W - m.M }

// Q is how many servers, other than those that join, must hold a changed
// manifest before it rules. It is a majority, so that of two changes at most
// one can rule, and at least R, so that who goes by the old manifest can
// neither write nor take over any more.
func (m *Manifest) Q() int { return max(m.R(), m.P()/2+1) }

// ruledBy is how many servers must hold m for it to rule. The first one was
// written to servers that were all empty: there can be no other.
func (m *Manifest) ruledBy() int {
	if m.ConfigVersion == 1 {
		return m.R()
	}
	return m.Q()
}

// joining is Joining by slot; nil: none.
func (m *Manifest) joining() []bool {
	if len(m.Joining) == 0 {
		return nil
	}
	list := make([]bool, m.P())
	for _, slot := range m.Joining {
		list[slot] = true
	}
	return list
}

// sameShape reports whether o differs from m at most in who the servers are.
func (m *Manifest) sameShape(o *Manifest) bool {
	return m.Pool == o.Pool && m.K == o.K && m.M == o.M && m.W == o.W && m.Durability == o.Durability && m.P() == o.P()
}

func (m *Manifest) clone() *Manifest {
	c := *m
	c.Cookies, c.Joining = slices.Clone(m.Cookies), slices.Clone(m.Joining)
	return &c
}

// Losses is how many servers may be lost at the moment of an acknowledgement
// without losing what was acknowledged.
func (m *Manifest) Losses() int { return m.W - m.K }

// Check reports what makes a manifest unusable or unsafe. With f_w = N − W
// shards missing at an acknowledgement and f_r = P − R servers out of reach of
// a takeover, f_w + f_r ≤ M makes any W indices and any R servers share K.
func (m *Manifest) Check() error {
	switch {
	case m.K < 1 || m.M < 0 || m.N() > 255:
		return fmt.Errorf("stor: manifest: %w: %d+%d shards; data shards are at least 1, parity shards at least 0, together at most 255", ErrConfig, m.K, m.M)
	case m.P() < m.N():
		return fmt.Errorf("stor: manifest: %w: %d+%d shards need at least %d shard servers, there are %d", ErrConfig, m.K, m.M, m.N(), m.P())
	case m.W < m.K || m.W > m.N():
		return fmt.Errorf("stor: manifest: %w: write quorum %d; it is between %d and %d with %d+%d shards", ErrConfig, m.W, m.K, m.N(), m.K, m.M)
	case m.Pool.IsZero() || m.ConfigVersion == 0:
		return fmt.Errorf("stor: manifest: %w: no pool identifier or version", ErrConfig)
	}
	switch m.Durability {
	case DurabilityAlways, DurabilityEverysec, DurabilityMemory:
	default:
		return fmt.Errorf("stor: manifest: %w: unknown durability %q", ErrConfig, m.Durability)
	}
	for i, c := range m.Cookies {
		if c.IsZero() || slices.Index(m.Cookies, c) != i {
			return fmt.Errorf("stor: manifest: %w: cookie of slot %d is empty or not its own", ErrConfig, i)
		}
	}
	for i, slot := range m.Joining {
		if slot < 0 || slot >= m.P() || slices.Index(m.Joining, slot) != i {
			return fmt.Errorf("stor: manifest: %w: slot %d cannot be joining", ErrConfig, slot)
		}
	}
	if len(m.Joining) > 0 && m.P()-len(m.Joining) < m.Q() {
		return fmt.Errorf("stor: manifest: %w: %d of %d servers are joining, and %d others are needed", ErrConfig, len(m.Joining), m.P(), m.Q())
	}
	return nil
}

// agrees reports where cfg says something else than the manifest; what cfg
// leaves open agrees.
func (m *Manifest) agrees(cfg *Config) error {
	const hint = "give the pool's own value, or leave it out"
	switch {
	case cfg.K != 0 && cfg.K != m.K:
		return fmt.Errorf("stor: pool %v: %w: it has %d+%d shards, not %d data shards; %s", m.Pool, ErrConfig, m.K, m.M, cfg.K, hint)
	case cfg.M > 0 && cfg.M != m.M, cfg.M == 0 && cfg.K != 0 && m.M != 0:
		return fmt.Errorf("stor: pool %v: %w: it has %d+%d shards, not %d parity shards; %s", m.Pool, ErrConfig, m.K, m.M, cfg.M, hint)
	case cfg.MinShards != 0 && cfg.MinShards != m.W:
		return fmt.Errorf("stor: pool %v: %w: its write quorum is %d, not %d; %s", m.Pool, ErrConfig, m.W, cfg.MinShards, hint)
	case cfg.Durability != "" && cfg.Durability != m.Durability:
		return fmt.Errorf("stor: pool %v: %w: its durability is %q, not %q; %s", m.Pool, ErrConfig, m.Durability, cfg.Durability, hint)
	}
	return nil
}

func (m *Manifest) equal(o *Manifest) bool {
	return m.Pool == o.Pool && m.ConfigVersion == o.ConfigVersion && m.K == o.K && m.M == o.M &&
		m.W == o.W && m.Durability == o.Durability && slices.Equal(m.Cookies, o.Cookies) && slices.Equal(m.Joining, o.Joining)
}

// newManifest mints the manifest of a new pool of p servers.
func newManifest(cfg *Config, p int) (*Manifest, error) {
	m := &Manifest{ConfigVersion: 1, K: cfg.K, M: cfg.M, W: cfg.MinShards, Durability: cfg.Durability}
	if m.W == 0 {
		m.W = m.N()
	}
	if m.Durability == "" {
		m.Durability = DurabilityAlways
	}
	var err error
	if m.Pool, err = newUUID(cfg.Random); err != nil {
		return nil, err
	}
	for range p {
		cookie, err := newUUID(cfg.Random)
		if err != nil {
			return nil, err
		}
		m.Cookies = append(m.Cookies, cookie)
	}
	return m, m.Check()
}
