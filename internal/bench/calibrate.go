package bench

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"tlog/crypto"
	"tlog/internal/bench/bare"
	"tlog/internal/bench/proc"
	"tlog/internal/bench/stage"
)

// records is how many records one aggregation has: --flush-size, or 1 MiB of them.
func (c *Case) records() int { return min(c.Aggregation, max(1, 1<<20/c.Record)) }

// stageConfig is what the stages of a case work on.
func (h *Harness) stageConfig(c Case) (stage.Config, error) {
	image := ""
	if c.Data == DataExt4 {
		var err error
		if image, err = h.ext4(); err != nil {
			return stage.Config{}, err
		}
	}
	data, err := content(c.Data, image)
	return stage.Config{Content: data, Record: c.Record, Records: c.records(), Data: dataShards, Parts: shards}, err
}

// stages is what each stage alone costs for records like the case's, in this turn.
func (h *Harness) stages(c Case) (Costs, error) {
	key := fmt.Sprint(c.Record, c.records(), c.Data)
	if costs, ok := h.turn[key]; ok {
		return costs, nil
	}
	cfg, err := h.stageConfig(c)
	if err != nil {
		return nil, err
	}
	costs := make(Costs)
	for _, name := range stage.Names {
		if costs[name], err = h.stage(name, cfg); err != nil {
			return nil, err
		}
	}
	h.turn[key] = costs
	return costs, nil
}

func (h *Harness) stage(name string, cfg stage.Config) (cost float64, err error) {
	s, err := stage.Open(name, cfg)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.Do(); err != nil { // warm
		return 0, err
	}
	done := int64(0)
	used, _, err := h.during(nil, func() error {
		for end := time.Now().Add(h.cfg.Stage); time.Now().Before(end); done += int64(cfg.Bytes()) {
			if err := s.Do(); err != nil {
				return err
			}
		}
		return nil
	})
	return perGB(used, done), err
}

func perGB(used time.Duration, bytes int64) float64 { return used.Seconds() / (float64(bytes) / 1e9) }

func mbps(bytes int64, took float64) float64 { return float64(bytes) / 1e6 / took }

// during is the processor time that this process and others use while f runs,
// and how long it takes.
func (h *Harness) during(pids []int, f func() error) (used time.Duration, took float64, err error) {
	usage := func() (time.Duration, error) {
		own, err := proc.Own()
		if err != nil {
			return 0, err
		}
		others, err := proc.Of(pids...)
		return own.CPU + others.CPU, err
	}
	before, err := usage()
	if err != nil {
		return 0, 0, err
	}
	start := time.Now()
	if err := f(); err != nil {
		return 0, 0, err
	}
	took = time.Since(start).Seconds()
	after, err := usage()
	return after - before, took, err
}

// shardBytes is the length of a shard as it is stored, of so much plain payload.
func shardBytes(stored int) int {
	return crypto.HeadRoom(dataShards, parityShards) + crypto.ShardLength(uint32(stored), dataShards)
}

// bareStream stores shards like the case's the shortest way, into a store of
// the case's kind. It sets the bare metrics, and is the store's cost.
func (h *Harness) bareStream(c Case, v Values) (cost float64, err error) {
	if c.Store == StoreNull {
		return 0, nil
	}
	cfg, err := h.stageConfig(c)
	if err != nil {
		return 0, err
	}
	shard := cfg.Content[:shardBytes(cfg.Stored()+recordRoom*c.records())]
	err = h.withBare(c.Store, func(s *store, b *bare.Store) error {
		done := int64(0)
		used, took, err := h.during(s.pids(), func() error {
			for end := time.Now().Add(h.cfg.For); time.Now().Before(end); done += int64(cfg.Bytes()) {
				b.Append(shard)
			}
			b.Drain()
			return nil
		})
		v["bare_mbps"], cost = mbps(done, took), perGB(used, done)
		return err
	})
	return cost, err
}

// recordRoom is what a record takes in a stored payload besides its data.
const recordRoom = 112

// withBare opens a store of a kind, and its bare counterpart in it, for f.
func (h *Harness) withBare(kind string, f func(*store, *bare.Store) error) (err error) {
	s, err := h.newStore(kind)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.end()) }()
	b, err := s.bare()
	if err != nil {
		return err
	}
	return errors.Join(f(s, b), b.Close())
}

// bareFlush stores single small shards, each awaited.
func (h *Harness) bareFlush(c Case, v Values) error {
	if c.Store == StoreNull {
		return nil
	}
	cfg, err := h.stageConfig(c)
	if err != nil {
		return err
	}
	shard := cfg.Content[:shardBytes(c.Record+2*recordRoom)] // a record and a mark
	var l Latencies
	err = h.withBare(c.Store, func(_ *store, b *bare.Store) error {
		for warm, end := time.Now().Add(h.cfg.Warm), time.Now().Add(h.cfg.Warm+h.cfg.For); ; {
			start := time.Now()
			if start.After(end) {
				return nil
			}
			b.Sync(shard)
			if start.After(warm) {
				l.Add(time.Since(start))
			}
		}
	})
	v["bare_p50"], v["bare_p99"] = micros(l.Quantile(0.5)), micros(l.Quantile(0.99))
	return err
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// bareFetch is what reading the data shards of so much payload costs, and no more.
func (h *Harness) bareFetch(c Case) (cost float64, err error) {
	cfg, err := h.stageConfig(c)
	if err != nil {
		return 0, err
	}
	size := shardBytes(cfg.Stored() + recordRoom*c.records())
	n := int(min(c.Length, 256<<20) / int64(cfg.Bytes()))
	err = h.withBare(c.Store, func(s *store, b *bare.Store) error {
		for range n {
			b.Append(cfg.Content[:size])
		}
		b.Drain()
		used, _, err := h.during(s.pids(), func() error {
			if len(s.servers) > 0 {
				return bare.Fetch(s.addrs()[:dataShards], n, size)
			}
			return bare.Read(s.dir, dataShards, n, size)
		})
		cost = perGB(used, int64(n)*int64(cfg.Bytes()))
		return err
	})
	return cost, err
}

// bareImage is what writing so much to a new file costs, synced.
func (h *Harness) bareImage(c Case) (cost float64, err error) {
	data, err := content(DataRandom, "")
	if err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp(h.cfg.Image, "tlog-bench-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	f, err := os.Create(filepath.Join(dir, "image"))
	if err != nil {
		return 0, err
	}
	used, _, err := h.during(nil, func() error {
		for at := int64(0); at < c.Length; at += 1 << 20 {
			if _, err := f.WriteAt(data[at%contentBytes:][:1<<20], at); err != nil {
				return err
			}
		}
		return f.Sync()
	})
	return perGB(used, c.Length), errors.Join(err, f.Close())
}
