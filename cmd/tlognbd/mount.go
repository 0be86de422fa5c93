package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tlog"
	"tlog/cmd/internal/storage"
	"tlog/player"
)

// mount is the command line of a moment of the past, as a disk.
type mount struct {
	vdisk    tlog.VdiskID
	at       string
	snap     string
	cow      string
	cache    string
	hydrate  bool
	indexes  storage.Index
	endpoint endpoint

	storage storage.Flags
	given   *pflag.FlagSet // the storage's flags
	keys    *pflag.FlagSet // the flags that the configuration file may set
}

func newMount() *mount {
	return &mount{given: pflag.NewFlagSet("storage", pflag.ContinueOnError), keys: pflag.NewFlagSet("file", pflag.ContinueOnError)}
}

func mountCommand() *cobra.Command { return newMount().command() }

func (m *mount) command() *cobra.Command {
	c := &cobra.Command{
		Use:   "mount VDISK --at WHEN",
		Short: "a moment of the past as a disk, at once",
		Long: "Serves a disk as it was at WHEN, read only, or, with --cow, with a file that takes\n" +
			"what is written to it. The log is only read: the disk may be written meanwhile,\n" +
			"and several of its moments be mounted.\n" +
			"WHEN = latest | seq:N | RFC 3339 time with zone | -5m (before now) | bookmark:NAME.",
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			m.vdisk = tlog.VdiskID(args[0])
			if err := m.check(); err != nil {
				return err
			}
			return m.run()
		},
	}
	f := c.Flags()
	f.StringVar(&m.at, "at", "", "the moment")
	f.StringVar(&m.snap, "snap-to", "", "the last completed flush at or before the moment (flush), or the last record (any); empty: flush for times, any for a sequence")
	f.StringVar(&m.cow, "cow", "", "file that takes what is written, made if it is not there; the next mount of the same moment goes on with it (empty: read only)")
	f.StringVar(&m.cache, "cache", "", "file to hydrate into, made if it is not there, kept, and gone on with by the next mount of the same moment (empty: a file without a name in $TMPDIR, or /var/tmp)")
	f.BoolVar(&m.hydrate, "hydrate", true, "bring all data of the moment here in the background")
	m.indexes.Register(f)
	m.endpoint.register(f)
	m.storage.Register(m.given, false)
	f.AddFlagSet(m.given)
	m.keys.AddFlagSet(m.given)
	m.keys.AddFlag(f.Lookup("index"))
	return c
}

// check refuses what cannot be right before anything is touched.
func (m *mount) check() error {
	if err := m.vdisk.Check(); err != nil {
		return storage.Usage(err)
	}
	if m.at == "" {
		return usagef("--at is needed: the moment, as --at latest, --at -5m or --at 2006-01-02T15:04:05Z")
	}
	_, err := player.ParseWhen(m.at, time.Now())
	if err == nil {
		_, err = player.ParseSnap(m.snap)
	}
	switch {
	case err != nil:
		return storage.Usage(err)
	case m.cache != "" && !m.hydrate:
		return usagef("--cache %s: there is nothing to keep with --hydrate=false", m.cache)
	case m.cache != "" && m.cache == m.cow:
		return usagef("--cow and --cache want a file each")
	case !m.storage.Given():
		return usagef("name the storage that has the log: --data-dir DIR, --storage-addresses HOST:PORT,… or --config FILE")
	}
	if err := m.endpoint.check(); err != nil {
		return err
	}
	// The plugin reads the file again; here it is read for its errors.
	return m.storage.ReadConfig(m.keys)
}

func (m *mount) run() error {
	params, err := m.parameters()
	if err != nil {
		return err
	}
	var flags []string
	if m.cow == "" {
		flags = []string{"-r"} // nbdkit then refuses what writes before the plugin is asked
	}
	return m.endpoint.serve(flags, params)
}

// parameters are the plugin's: what was given, with absolute paths.
func (m *mount) parameters() ([]string, error) {
	params := []string{
		"vdisk=" + string(m.vdisk),
		"past=" + m.at,
		"snap-to=" + m.snap,
		"hydrate=" + strconv.FormatBool(m.hydrate),
		"temp-dir=" + temporary(),
	}
	for _, file := range []struct{ key, path string }{{"cow", m.cow}, {"cache", m.cache}, {"index", m.indexes.Dir}} {
		if file.path == "" {
			if file.key == "index" { // none is not the default
				params = append(params, "index=")
			}
			continue
		}
		path, err := filepath.Abs(file.path)
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(filepath.Dir(path)); err != nil && file.key != "index" {
			return nil, &storage.Exit{Code: storage.ExitConfig, Err: fmt.Errorf("--%s %s: %w", file.key, file.path, err)}
		}
		params = append(params, file.key+"="+path)
	}
	storage, err := storageParameters(m.given)
	return append(params, storage...), err
}

// temporary is where nbdkit's own filters keep such files too: a disk does not
// fit where /tmp is memory.
func temporary() string {
	if dir := os.Getenv("TMPDIR"); dir != "" {
		return dir
	}
	return "/var/tmp"
}
