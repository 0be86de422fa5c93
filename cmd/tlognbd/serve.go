package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
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
	listen   string
	insecure bool
	deadline time.Duration
	threads  int
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
	f.StringVar(&s.listen, "listen", "127.0.0.1:10809", "where NBD clients connect: HOST:PORT or unix:PATH")
	f.BoolVar(&s.insecure, "insecure", false, "listen on addresses that other hosts reach: NBD asks nobody for a password")
	f.DurationVar(&s.deadline, "flush-deadline", 30*time.Second, "what is not durable by then is an I/O error for the guest")
	f.IntVar(&s.threads, "threads", 16, "requests served at once for a connection: more let more reads pass waiting flushes, and cost speed")
	f.StringVar(&s.group.Name, "group", "", "consistency group of the disk: a cut of all its disks at one moment is then consistent")
	f.StringVar(&s.group.Dir, "group-dir", group.DefaultDir, "where the clock of the group lies: on this host, and the same for all of its disks")
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
	case s.threads < 1 || s.threads > 1024:
		return usagef("--threads %d: must be 1 to 1024", s.threads)
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
	if err := s.checkListen(); err != nil {
		return err
	}
	// The plugin reads the file again; here it is read for its errors.
	return s.storage.ReadConfig(s.given)
}

func (s *serve) checkListen() error {
	if err := checkAddress(s.listen); err != nil {
		return usagef("--listen %q: %w", s.listen, err)
	}
	host, _, isTCP := s.tcp()
	if !isTCP || s.insecure {
		return nil
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return usagef("--listen %s: other hosts reach this address and NBD asks nobody for a password: use a loopback address or a unix socket, or say --insecure", s.listen)
}

// tcp splits --listen, unless it is a unix socket.
func (s *serve) tcp() (host, port string, ok bool) {
	if strings.HasPrefix(s.listen, "unix:") {
		return "", "", false
	}
	host, port, err := net.SplitHostPort(s.listen)
	return host, port, err == nil
}

func checkAddress(a string) error {
	if path, ok := strings.CutPrefix(a, "unix:"); ok {
		if path == "" || len(path) > 107 {
			return errors.New("the path of a unix socket has 1 to 107 bytes")
		}
		return nil
	}
	_, port, err := net.SplitHostPort(a)
	if err != nil {
		return errors.New("want HOST:PORT or unix:PATH")
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("%q is not a port", port)
	}
	if strings.Contains(a, ",") {
		return errors.New("an address has no comma")
	}
	return nil
}

// run makes ready what nbdkit expects, and becomes it.
func (s *serve) run() error {
	base, err := s.prepareBase()
	if err != nil {
		return err
	}
	if path, ok := strings.CutPrefix(s.listen, "unix:"); ok {
		if err := removeStale(path); err != nil {
			return err
		}
	}
	plugin, err := findPlugin()
	if err != nil {
		return err
	}
	params, err := s.parameters(base)
	if err != nil {
		return err
	}
	return become("nbdkit", slices.Concat([]string{"-f", "--threads", strconv.Itoa(s.threads)}, s.socket(), []string{plugin}, params))
}

// socket is --listen as nbdkit wants it.
func (s *serve) socket() []string {
	if host, port, ok := s.tcp(); ok {
		if host == "" {
			return []string{"-p", port}
		}
		return []string{"-i", host, "-p", port}
	}
	return []string{"-U", strings.TrimPrefix(s.listen, "unix:")}
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
	var failed error
	if s.group.Name != "" {
		dir, err := filepath.Abs(s.group.Dir)
		failed = err
		params = append(params, "group="+s.group.Name, "group-dir="+dir)
	}
	// Visit would miss them: they were parsed as flags of the command.
	s.given.VisitAll(func(f *pflag.Flag) {
		if !f.Changed {
			return
		}
		value := f.Value.String()
		if list, ok := f.Value.(pflag.SliceValue); ok {
			value = strings.Join(list.GetSlice(), ",")
		}
		if paths[f.Name] {
			abs, err := filepath.Abs(value)
			failed = errors.Join(failed, err)
			value = abs
		}
		params = append(params, f.Name+"="+value)
	})
	return params, failed
}

// paths are the storage flags that name a file or a directory.
var paths = map[string]bool{"config": true, "data-dir": true, "key-file": true, "redis-password-file": true}

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
