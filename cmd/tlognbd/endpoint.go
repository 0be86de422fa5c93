package main

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// endpoint is where nbdkit listens, and with how many threads.
type endpoint struct {
	listen   string
	insecure bool
	threads  int
}

func (e *endpoint) register(f *pflag.FlagSet) {
	f.StringVar(&e.listen, "listen", "127.0.0.1:10809", "where NBD clients connect: HOST:PORT or unix:PATH")
	f.BoolVar(&e.insecure, "insecure", false, "listen on addresses that other hosts reach: NBD asks nobody for a password")
	f.IntVar(&e.threads, "threads", 16, "requests served at once for a connection: more let more reads pass waiting flushes, and cost speed")
}

func (e *endpoint) check() error {
	if e.threads < 1 || e.threads > 1024 {
		return usagef("--threads %d: must be 1 to 1024", e.threads)
	}
	if err := checkAddress(e.listen); err != nil {
		return usagef("--listen %q: %w", e.listen, err)
	}
	host, _, isTCP := e.tcp()
	if !isTCP || e.insecure {
		return nil
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return usagef("--listen %s: other hosts reach this address and NBD asks nobody for a password: use a loopback address or a unix socket, or say --insecure", e.listen)
}

// tcp splits --listen, unless it is a unix socket.
func (e *endpoint) tcp() (host, port string, ok bool) {
	if strings.HasPrefix(e.listen, "unix:") {
		return "", "", false
	}
	host, port, err := net.SplitHostPort(e.listen)
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

// socket is --listen as nbdkit wants it.
func (e *endpoint) socket() []string {
	if host, port, ok := e.tcp(); ok {
		if host == "" {
			return []string{"-p", port}
		}
		return []string{"-i", host, "-p", port}
	}
	return []string{"-U", strings.TrimPrefix(e.listen, "unix:")}
}

// serve becomes nbdkit.
func (e *endpoint) serve(flags, parameters []string) error {
	args, err := e.arguments(flags, parameters)
	if err != nil {
		return err
	}
	return become("nbdkit", args)
}

// arguments makes ready what nbdkit expects, and are its command line.
func (e *endpoint) arguments(flags, parameters []string) ([]string, error) {
	if path, ok := strings.CutPrefix(e.listen, "unix:"); ok {
		if err := removeStale(path); err != nil {
			return nil, err
		}
	}
	plugin, err := findPlugin()
	if err != nil {
		return nil, err
	}
	return slices.Concat([]string{"-f", "--threads", strconv.Itoa(e.threads)}, flags, e.socket(), []string{plugin}, parameters), nil
}

// storageParameters are the flags of the storage that were given, for the
// plugin, with absolute paths.
func storageParameters(given *pflag.FlagSet) (params []string, failed error) {
	// Visit would miss them: they were parsed as flags of the command.
	given.VisitAll(func(f *pflag.Flag) {
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
