//go:build nbdkit

package main

import (
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// listening names the sockets this process listens on, as NBD URIs. nbdkit does
// not tell, and with port 0 only the kernel knows.
func listening() string {
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return "its socket"
	}
	var uris []string
	for _, e := range fds {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || on == 0 {
			continue
		}
		if at, err := unix.Getsockname(fd); err == nil {
			uris = append(uris, uri(at))
		}
	}
	if len(uris) == 0 {
		return "its socket"
	}
	return strings.Join(uris, " and ")
}

func uri(at unix.Sockaddr) string {
	switch at := at.(type) {
	case *unix.SockaddrInet4:
		return "nbd://" + net.JoinHostPort(net.IP(at.Addr[:]).String(), strconv.Itoa(at.Port))
	case *unix.SockaddrInet6:
		return "nbd://" + net.JoinHostPort(net.IP(at.Addr[:]).String(), strconv.Itoa(at.Port))
	case *unix.SockaddrUnix:
		return "nbd+unix:///?socket=" + at.Name
	}
	return "a socket"
}
