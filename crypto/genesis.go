package crypto

import (
	"encoding/binary"
	"errors"
	"fmt"

	"tlog"
)

// Genesis is the extension that position 1 carries in clear, whole in every
// stored shard: what has to be known before a log's first byte can be opened.
//
//	off size field
//	  0    8 disk size in bytes; 0: unknown
//	  8    4 block size in bytes
//	 12    1 W, distinct shards that make a position committed
//	 13    1 length n of the name, 1 to 128
//	 14    2 length w of the wrapped key
//	 16    8 time of creation, nanoseconds since 1970 UTC
//	 24   16 parent's UUID; zero but for a branch
//	 40    8 parent's position
//	 48   32 parent's chain digest at that position
//	 80    n name
//	80+n   w wrapped key, then zeroes up to a multiple of 8
type Genesis struct {
	Name           tlog.VdiskID
	DiskSize       uint64 // bytes; 0: unknown (version 1)
	BlockSize      uint32 // bytes
	W              uint8
	WrappedKey     []byte
	Created        uint64    // nanoseconds since 1970 UTC
	Parent         tlog.UUID // of a branch; zero else
	ParentPosition tlog.Position
	ParentDigest   tlog.Hash
}

const (
	genesisFixed  = 80
	maxWrappedKey = 2048
)

// size is the length of the extension; 0 for none.
func (g *Genesis) size() int {
	if g == nil {
		return 0
	}
	return (genesisFixed + len(g.Name) + len(g.WrappedKey) + 7) &^ 7
}

func (g *Genesis) check() error {
	if err := g.Name.Check(); err != nil {
		return fmt.Errorf("genesis: %v", err) // without its class: whose fault it is the caller knows
	}
	if len(g.WrappedKey) > maxWrappedKey {
		return fmt.Errorf("wrapped key of %d bytes", len(g.WrappedKey))
	}
	return nil
}

func (g *Genesis) append(dst []byte) []byte {
	if g == nil {
		return dst
	}
	end := len(dst) + g.size()
	dst = binary.LittleEndian.AppendUint64(dst, g.DiskSize)
	dst = binary.LittleEndian.AppendUint32(dst, g.BlockSize)
	dst = append(dst, g.W, byte(len(g.Name)))
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(g.WrappedKey)))
	dst = binary.LittleEndian.AppendUint64(dst, g.Created)
	dst = append(dst, g.Parent[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(g.ParentPosition))
	dst = append(dst, g.ParentDigest[:]...)
	dst = append(dst, g.Name...)
	dst = append(dst, g.WrappedKey...)
	for len(dst) < end {
		dst = append(dst, 0)
	}
	return dst
}

func parseGenesis(b []byte) (*Genesis, error) {
	if len(b) < genesisFixed {
		return nil, fmt.Errorf("genesis of %d bytes", len(b))
	}
	name, wrapped := int(b[13]), int(binary.LittleEndian.Uint16(b[14:]))
	used := genesisFixed + name + wrapped
	if (used+7)&^7 != len(b) {
		return nil, fmt.Errorf("genesis of %d bytes with a name of %d and a key of %d", len(b), name, wrapped)
	}
	for _, c := range b[used:] {
		if c != 0 {
			return nil, errors.New("genesis: padding is not zero")
		}
	}
	g := &Genesis{
		Name:           tlog.VdiskID(b[genesisFixed : genesisFixed+name]),
		DiskSize:       binary.LittleEndian.Uint64(b[0:]),
		BlockSize:      binary.LittleEndian.Uint32(b[8:]),
		W:              b[12],
		WrappedKey:     append([]byte(nil), b[genesisFixed+name:used]...),
		Created:        binary.LittleEndian.Uint64(b[16:]),
		Parent:         tlog.UUID(b[24:]),
		ParentPosition: tlog.Position(binary.LittleEndian.Uint64(b[40:])),
		ParentDigest:   tlog.Hash(b[48:]),
	}
	return g, g.check()
}
