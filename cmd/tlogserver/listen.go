package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"tlog/cmd/internal/storage"
)

const unixPrefix = "unix:"

// checkAddress refuses addresses that are none, and without --insecure those
// that other machines can reach.
func (o *options) checkAddress(flag, addr string) error {
	if addr == "" && flag != "listen" || strings.HasPrefix(addr, unixPrefix) && flag == "listen" {
		return nil
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return storage.Usage(fmt.Errorf("--%s %q: want HOST:PORT: %w", flag, addr, err))
	}
	if o.insecure || loopback(host) {
		return nil
	}
	return storage.Usage(fmt.Errorf("--%s %s: other machines reach this address, and nothing is encrypted or authenticated; listen on 127.0.0.1, or say --insecure", flag, addr))
}

// loopback reports whether host is this machine's own.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// listen opens a port or a unix socket. A socket file that a killed server
// left behind is replaced; one that somebody answers on is not.
func listen(addr string) (net.Listener, error) {
	path, isUnix := strings.CutPrefix(addr, unixPrefix)
	if !isUnix {
		return net.Listen("tcp", addr)
	}
	ln, err := net.Listen("unix", path)
	if !errors.Is(err, syscall.EADDRINUSE) {
		return ln, err
	}
	if c, dialErr := net.Dial("unix", path); dialErr == nil {
		return nil, errors.Join(fmt.Errorf("%s: another server listens there", addr), c.Close())
	} else if !errors.Is(dialErr, syscall.ECONNREFUSED) {
		return nil, err
	}
	if err := os.Remove(path); err != nil {
		return nil, err
	}
	return net.Listen("unix", path)
}

// address is how a client names addr.
func address(addr net.Addr) string {
	if addr.Network() == "unix" {
		return unixPrefix + addr.String()
	}
	return addr.String()
}
