//go:build e2e

package e2e

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
)

// nbd is a client of the NBD protocol that sends one request at a time and
// knows when it was answered, to the call.
type nbd struct{ c net.Conn }

// The numbers of the protocol that are used here (NBD protocol specification).
const (
	nbdOption  = 0x49484156454f5054 // IHAVEOPT
	nbdRequest = 0x25609513
	nbdReply   = 0x67446698
	nbdWrite   = 1
	nbdFlush   = 3
	nbdZeroes  = 6
	nbdFUA     = 1
)

func dialNBD(socket string) (*nbd, error) {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return nil, err
	}
	n := &nbd{c}
	if err := n.greet(); err != nil {
		c.Close() //nolint:errcheck // greet's error says more
		return nil, err
	}
	return n, nil
}

// greet asks for the default export, without the padding of the first servers.
func (n *nbd) greet() error {
	var hello [18]byte
	if _, err := io.ReadFull(n.c, hello[:]); err != nil {
		return err
	}
	b := binary.BigEndian.AppendUint32(nil, 3)
	b = binary.BigEndian.AppendUint64(b, nbdOption)
	b = binary.BigEndian.AppendUint32(b, 1) // NBD_OPT_EXPORT_NAME
	b = binary.BigEndian.AppendUint32(b, 0)
	if _, err := n.c.Write(b); err != nil {
		return err
	}
	var export [10]byte
	_, err := io.ReadFull(n.c, export[:])
	return err
}

// do sends a request and waits for its answer.
func (n *nbd) do(kind, flags uint16, off uint64, size int, data []byte) error {
	b := binary.BigEndian.AppendUint32(nil, nbdRequest)
	b = binary.BigEndian.AppendUint16(b, flags)
	b = binary.BigEndian.AppendUint16(b, kind)
	b = binary.BigEndian.AppendUint64(b, 7)
	b = binary.BigEndian.AppendUint64(b, off)
	b = binary.BigEndian.AppendUint32(b, uint32(size))
	if _, err := n.c.Write(append(b, data...)); err != nil {
		return err
	}
	var reply [16]byte
	if _, err := io.ReadFull(n.c, reply[:]); err != nil {
		return err
	}
	if magic, errno := binary.BigEndian.Uint32(reply[:]), binary.BigEndian.Uint32(reply[4:]); magic != nbdReply || errno != 0 {
		return fmt.Errorf("nbd: reply %x, error %d", magic, errno)
	}
	return nil
}

// close ends a connection, if there is one.
func (n *nbd) close() error {
	if n == nil {
		return nil
	}
	return n.c.Close()
}
