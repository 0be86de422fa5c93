package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tlog"
	"tlog/cmd/internal/storage"
	"tlog/group"
)

// stateDir is where base images lie for which --base names no place.
const stateDir = "tlog-state"

// serve is the command line of one live disk.
type serve struct {
	vdisk    tlog.VdiskID
	size     storage.Size
	servers  []string
	base     string
	takeover bool
	deadline time.Duration
	endpoint endpoint
	group    group.Config

	storage storage.Flags
	given   *pflag.FlagSet // the storage's flags
}

func serveCommand() *cobra.Command {
	s := &serve{given: pflag.NewFlagSet("storage", pflag.ContinueOnError)}
	return s.command()
}

func (s *serve) command() *cobra.Command {
	c := &cobra.Command{
		Use:   "serve VDISK --size SIZE",
		Short: "a live disk whose every write is logged",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			s.vdisk = tlog.VdiskID(args[0])
			if err := s.check(); err != nil {
				return err
			}
			return s.run()
		},
	}
	f := c.Flags()
	f.Var(&s.size, "size", "size of the disk: bytes, or with K, M, G, T for powers of 1024")
	f.StringSliceVar(&s.servers, "server", []string{"127.0.0.1:11211"}, "tlogservers, HOST:PORT or unix:PATH, tried in order")
	f.StringVar(&s.base, "base", "", "base image, a sparse file that holds the current disk (empty: ./"+stateDir+"/VDISK.img)")
	f.BoolVar(&s.takeover, "takeover", false, "take the vdisk from the client that had it")
	f.DurationVar(&s.deadline, "flush-deadline", 30*time.Second, "what is not durable by then is an I/O error for the guest")
	f.StringVar(&s.group.Name, "group", "", "consistency group of the disk: a cut of all its disks at one moment is then consistent")
	f.StringVar(&s.group.Dir, "group-dir", group.DefaultDir, "where the clock of the group lies: on this host, and the same for all of its disks")
	s.endpoint.register(f)
	s.storage.Register(s.given, false)
	f.AddFlagSet(s.given)
	return c
}

// check refuses what cannot be right before anything is touched.
func (s *serve) check() error {
	if err := s.vdisk.Check(); err != nil {
		return storage.Usage(err)
	}
	switch {
	case s.size <= 0:
		return usagef("--size is needed: the size of the disk, as --size 10G")
	case s.size%512 != 0:
		return usagef("--size %d: a disk has a multiple of 512 bytes", int64(s.size))
	case s.deadline <= 0:
		return usagef("--flush-deadline %v: must be positive", s.deadline)
	case len(s.servers) == 0:
		return usagef("--server: name at least one")
	}
	if s.group.Name != "" {
		if err := group.CheckName(s.group.Name); err != nil {
			return usagef("--group: %w", err)
		}
	}
	for _, a := range s.servers {
		if err := checkAddress(a); err != nil {
			return usagef("--server %q: %w", a, err)
		}
	}
	if err := s.endpoint.check(); err != nil {
		return err
	}
	// The plugin reads the file again; here it is read for its errors.
	return s.storage.ReadConfig(s.given)
}

// run makes the base ready, and serves.
func (s *serve) run() error {
	base, err := s.prepareBase()
	if err != nil {
		return err
	}
	params, err := s.parameters(base)
	if err != nil {
		return err
	}
	return s.endpoint.serve(nil, params)
}

// parameters are the plugin's: what was given, with absolute paths.
func (s *serve) parameters(base string) ([]string, error) {
	params := []string{
		"vdisk=" + string(s.vdisk),
		"size=" + strconv.FormatInt(int64(s.size), 10),
		"server=" + strings.Join(s.servers, ","),
		"base=" + base,
		"flush-deadline=" + s.deadline.String(),
		"takeover=" + strconv.FormatBool(s.takeover),
	}
	if s.group.Name != "" {
		dir, err := filepath.Abs(s.group.Dir)
		if err != nil {
			return nil, err
		}
		params = append(params, "group="+s.group.Name, "group-dir="+dir)
	}
	storage, err := storageParameters(s.given)
	return append(params, storage...), err
}

// prepareBase is the absolute path of the base image, whose directory exists.
func (s *serve) prepareBase() (string, error) {
	base := s.base
	if base == "" {
		if err := os.MkdirAll(stateDir, 0o700); err != nil {
			return "", fmt.Errorf("state directory: %w", err)
		}
		base = filepath.Join(stateDir, string(s.vdisk)+".img")
	}
	if _, err := os.Stat(filepath.Dir(base)); err != nil {
		return "", &storage.Exit{Code: storage.ExitConfig, Err: fmt.Errorf("--base %s: %w", base, err)}
	}
	return filepath.Abs(base)
}

func usagef(format string, a ...any) error { return storage.Usage(fmt.Errorf(format, a...)) }
