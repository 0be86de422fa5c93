package storage

import (
	"fmt"
	"os"
	"slices"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/rawbytes"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

// maxConfig is the most a configuration file may hold, in bytes.
const maxConfig = 1 << 20

// serverKeys are the keys that only tlogserver acts on; other programs that
// read the same file leave them alone.
var serverKeys = []string{"listen", "insecure", "flush-size", "flush-time", "memory-budget", "metrics-listen", "memory", "repair-rate", "scrub-every", "verbose"}

// readerKeys are the keys that only programs that read logs act on.
var readerKeys = []string{"index"}

// ReadConfig reads the file that --config names, if it does, into the flags of
// fs that the command line has not set. An unknown key is an error, so that a
// misspelt one is not taken for a default.
func (f *Flags) ReadConfig(fs *pflag.FlagSet) error {
	if f.Config == "" {
		return nil
	}
	k, err := loadConfig(f.Config)
	if err != nil {
		return configError{fmt.Errorf("config: %s: %w", f.Config, err)}
	}
	keys := k.Keys()
	slices.Sort(keys)
	for _, key := range keys {
		if err := setFlag(fs, k, key); err != nil {
			return configError{fmt.Errorf("config: %s: %s: %w", f.Config, key, err)}
		}
	}
	return nil
}

func loadConfig(path string) (*koanf.Koanf, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.Size() > maxConfig {
		return nil, fmt.Errorf("larger than %d bytes", maxConfig)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	// Keys have no dots, so a delimiter they cannot hold keeps nesting visible.
	k := koanf.New("/")
	if err := k.Load(rawbytes.Provider(b), yaml.Parser()); err != nil {
		return nil, err
	}
	return k, nil
}

func setFlag(fs *pflag.FlagSet, k *koanf.Koanf, key string) error {
	flag := fs.Lookup(key)
	if flag == nil || key == "config" {
		if slices.Contains(serverKeys, key) || slices.Contains(readerKeys, key) {
			return nil
		}
		return fmt.Errorf("unknown key")
	}
	if flag.Changed {
		return nil
	}
	if list, ok := flag.Value.(pflag.SliceValue); ok {
		values := k.Strings(key)
		if len(values) == 0 {
			values = []string{k.String(key)}
		}
		return list.Replace(values)
	}
	return flag.Value.Set(k.String(key))
}

// configError is a configuration that cannot be used.
type configError struct{ error }

func (e configError) Unwrap() error { return e.error }

func configf(format string, a ...any) error { return configError{fmt.Errorf(format, a...)} }
