// Package storage is the STORAGE part of tlog's command lines: flags and
// configuration file, opened as a pool of shard servers with its keys.
//
// A pool is one of three: directories of this machine (--data-dir, the
// embedded store), Redis servers (--storage-addresses), or the memory of the
// process (--memory, tlogserver only). Writers may create an embedded store;
// readers create and change nothing. Flags are stronger than the file.
package storage

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// Flags are what the command line says of storage. The names of the flags are
// also the keys of the configuration file.
type Flags struct {
	Config           string
	DataDir          string
	StorageAddresses []string // HOST:PORT[@DB]
	Memory           bool
	Discard          bool // keep nothing at all: for measurements
	DataShards       int  // k; 0: as the pool's manifest says, 4 for a new pool
	ParityShards     int  // m; −1: as the pool's manifest says, 2 for a new pool
	MinShards        int  // W; 0: k+m
	Durability       string
	KeyFile          string
	RedisUsername    string
	RedisPassword    string // path of a file that holds it

	// EveryFrame has directories opened by looking at every frame. It is not a
	// flag: the tools that look for damage set it.
	EveryFrame bool
}

// Defaults of a new pool.
const (
	defaultDataShards   = 4
	defaultParityShards = 2
	embeddedSpares      = 1
)

// Register adds the flags to fs; those that make sense for a server only,
// when server is set.
func (f *Flags) Register(fs *pflag.FlagSet, server bool) {
	fs.StringVar(&f.Config, "config", "", "YAML file with the names of flags as keys")
	fs.StringVar(&f.DataDir, "data-dir", "", "embedded store: the directory with its shard servers and key file")
	fs.StringSliceVar(&f.StorageAddresses, "storage-addresses", nil, "Redis shard servers, HOST:PORT[@DB],…; fewer than k+m fill up with the following ports of the last host")
	if server {
		fs.BoolVar(&f.Memory, "memory", false, "keep everything in memory: lost when the server ends")
		fs.BoolVar(&f.Discard, "discard", false, "for measurements: acknowledge everything and KEEP NOTHING")
		_ = fs.MarkHidden("discard") // it was just added
	}
	fs.IntVar(&f.DataShards, "data-shards", 0, "k: shards that an aggregation is cut into (0: as the pool says, 4 for a new one)")
	fs.IntVar(&f.ParityShards, "parity-shards", -1, "m: shards that may be lost (-1: as the pool says, 2 for a new one)")
	fs.IntVar(&f.MinShards, "min-shards", 0, "W: shards stored before a flush is acknowledged (0: as the pool says, k+m for a new one)")
	fs.StringVar(&f.Durability, "durability", "", "what a shard server's answer is worth: always, everysec or memory (empty: as the pool says, always for a new one)")
	fs.StringVar(&f.KeyFile, "key-file", "", "file with the key-encryption keys, mode 0600 (embedded store: DIR/key)")
	fs.StringVar(&f.RedisUsername, "redis-username", "", "ACL user of the Redis servers")
	fs.StringVar(&f.RedisPassword, "redis-password-file", "", "file with the password of the Redis servers")
}

// Given reports whether the flags, or the file they name, choose a storage.
func (f *Flags) Given() bool {
	return f.Config != "" || f.DataDir != "" || len(f.StorageAddresses) > 0 || f.Memory || f.Discard
}

// check finds contradictions before anything is opened.
func (f *Flags) check() error {
	kinds := 0
	for _, given := range []bool{f.DataDir != "", len(f.StorageAddresses) > 0, f.Memory, f.Discard} {
		if given {
			kinds++
		}
	}
	switch {
	case kinds > 1:
		return usagef("--data-dir, --storage-addresses and --memory exclude each other")
	case kinds == 0:
		return usagef("name the storage: --data-dir DIR, --storage-addresses HOST:PORT,… or --config FILE")
	}
	return f.checkNumbers()
}

// checkNumbers refuses what no pool can have.
func (f *Flags) checkNumbers() error {
	k, m := f.shards()
	switch {
	case f.DataShards < 0 || f.ParityShards < -1 || f.MinShards < 0:
		return f.wrongf("data-shards %d, parity-shards %d, min-shards %d: none is negative", f.DataShards, f.ParityShards, f.MinShards)
	case k+m > 255:
		return f.wrongf("data-shards %d and parity-shards %d are %d together, and at most 255 are possible", k, m, k+m)
	case f.MinShards > k+m:
		return f.wrongf("min-shards %d: an aggregation has %d+%d shards, no more than %d can be stored", f.MinShards, k, m, k+m)
	case f.MinShards != 0 && f.MinShards < k:
		// f_w = k+m−W and f_r = W−k give f_w + f_r = m for any W from k on: with
		// fewer no number of servers that a takeover reads would be enough.
		return f.wrongf("min-shards %d: %d shards may then be missing when a flush is acknowledged, and with parity-shards %d no more than %d may; at least data-shards (%d) are needed", f.MinShards, k+m-f.MinShards, m, m, k)
	}
	switch f.Durability {
	case "", "always", "everysec", "memory":
	default:
		return f.wrongf("durability %q: want always, everysec or memory", f.Durability)
	}
	return nil
}

// Wrong makes err, of a value, what it is: a wrong configuration file if one was
// read, else a wrong command line.
func (f *Flags) Wrong(err error) error {
	if f.Config != "" {
		return configError{fmt.Errorf("config: %s: %w", f.Config, err)}
	}
	return Usage(err)
}

func (f *Flags) wrongf(format string, a ...any) error { return f.Wrong(fmt.Errorf(format, a...)) }

// shards are k and m for a new pool.
func (f *Flags) shards() (k, m int) {
	k, m = f.DataShards, f.ParityShards
	if k == 0 {
		k = defaultDataShards
	}
	if m < 0 {
		m = defaultParityShards
	}
	return k, m
}

// addresses are the Redis servers: the ones given, and while they are fewer
// than k+m, the following ports on the host of the last.
func (f *Flags) addresses() ([]string, error) {
	k, m := f.shards()
	list := make([]string, 0, max(k+m, len(f.StorageAddresses)))
	for _, a := range f.StorageAddresses {
		a = strings.TrimSpace(a)
		if _, _, _, err := splitAddress(a); err != nil {
			return nil, err
		}
		list = append(list, a)
	}
	host, port, db, err := splitAddress(list[len(list)-1])
	if err != nil {
		return nil, err
	}
	for len(list) < k+m {
		port++
		if port > 65535 {
			return nil, usagef("--storage-addresses: %d addresses, and no port left above %s for %d shard servers", len(f.StorageAddresses), list[len(list)-1], k+m)
		}
		list = append(list, net.JoinHostPort(host, strconv.Itoa(port))+db)
	}
	return list, unique(list)
}

func splitAddress(a string) (host string, port int, db string, err error) {
	hostport := a
	if i := strings.LastIndexByte(a, '@'); i >= 0 {
		if n, err := strconv.Atoi(a[i+1:]); err != nil || n < 0 {
			return "", 0, "", usagef("--storage-addresses: %q: after @ comes the number of a database", a)
		}
		hostport, db = a[:i], a[i:]
	}
	host, p, err := net.SplitHostPort(hostport)
	if err == nil {
		port, err = strconv.Atoi(p)
	}
	if err != nil || host == "" || port < 1 || port > 65535 {
		return "", 0, "", usagef("--storage-addresses: %q: want HOST:PORT or HOST:PORT@DB", a)
	}
	return host, port, db, nil
}

func unique(list []string) error {
	seen := make(map[string]bool, len(list))
	for _, a := range list {
		if seen[a] {
			return usagef("--storage-addresses: %s is named twice", a)
		}
		seen[a] = true
	}
	return nil
}

// usageError is a wrong command line.
type usageError struct{ error }

func usagef(format string, a ...any) error { return usageError{fmt.Errorf(format, a...)} }
