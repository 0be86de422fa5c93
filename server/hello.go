package server

import (
	"fmt"

	"tlog"
	"tlog/crypto"
	"tlog/internal/core/session"
	"tlog/schema"
)

// greeting is a request that was found well-formed.
type greeting struct {
	vdisk     tlog.VdiskID
	blockSize uint32
	version   schema.Version // of the session
	origin    tlog.Origin    // of the log; zero: none asked for
	attach    session.Attach // without Conn
}

// greet checks what can be checked of a request without the vdisk's log, in
// the order of docs/protocol.md. The version is that of the answer, also of a
// refusal.
func greet(h *schema.Hello, blockSize uint32) (greeting, *session.Refusal) {
	g := greeting{vdisk: tlog.VdiskID(h.Vdisk), version: schema.Version1, blockSize: h.BlockSize}
	var ok bool
	if g.version, ok = negotiate(h.Version, h.MinVersion); !ok {
		return g, refused(tlog.HandshakeInvalidVersion,
			"the client speaks versions %#x to %#x, this server %#x to %#x", max(h.MinVersion, 0), h.Version, schema.VersionLowest, schema.Version2)
	}
	if err := g.vdisk.Check(); err != nil {
		return g, &session.Refusal{Status: tlog.HandshakeInvalidVdisk, Message: err.Error()}
	}
	if g.blockSize == 0 {
		g.blockSize = blockSize
	}
	if g.version < schema.Version2 {
		g.blockSize = blockSize
		g.attach = session.Attach{Version1: true, First: h.FirstSequence, Reset: h.ResetFirst, Hash: tlog.HashBlake2b}
		return g, nil
	}
	g.attach = session.Attach{
		DiskSize: h.DiskSize, Client: h.Client, Generation: h.Generation, Takeover: h.Takeover,
		LastFlushed: h.LastFlushed, Chain: h.Chain, Hash: chooseHash(h.Hashes),
	}
	g.origin = h.Origin
	switch {
	case !g.origin.IsZero() && (g.origin.Vdisk.IsZero() || g.origin.Position == 0):
		return g, refused(tlog.HandshakeInvalidRequest, "an origin of vdisk %v at position %d is none", g.origin.Vdisk, g.origin.Position)
	case h.Client.IsZero():
		return g, refused(tlog.HandshakeInvalidRequest, "the client sent no UUID of its own")
	case g.attach.Hash == 0:
		return g, refused(tlog.HandshakeInvalidRequest, "none of the client's record hash algorithms %v is known here", h.Hashes)
	case h.DiskSize > 1<<63-1:
		return g, refused(tlog.HandshakeInvalidRequest, "disk size of %d bytes is out of range", h.DiskSize)
	case !validBlockSize(g.blockSize):
		return g, refused(tlog.HandshakeInvalidRequest, "block size of %d bytes; it must be a power of two from 512 to 64 KiB", h.BlockSize)
	}
	return g, nil
}

func refused(s tlog.HandshakeStatus, format string, a ...any) *session.Refusal {
	return &session.Refusal{Status: s, Message: fmt.Sprintf(format, a...)}
}

// negotiate finds the session's version; without one, that of the refusal.
func negotiate(highest, lowest schema.Version) (schema.Version, bool) {
	if lowest == 0 {
		lowest = highest
	}
	switch {
	case lowest > highest:
		return schema.Version1, false
	case highest >= schema.Version2:
		return schema.Version2, lowest <= schema.Version2
	case highest >= schema.VersionLowest:
		return schema.Version1, true
	}
	return schema.Version1, false
}

// chooseHash takes the first algorithm that is known here, 0 if there is none.
func chooseHash(offered []tlog.HashAlgorithm) tlog.HashAlgorithm {
	if len(offered) == 0 {
		return tlog.HashBlake2b
	}
	for _, a := range offered {
		if crypto.Supported(a) {
			return a
		}
	}
	return 0
}

// documented is the status as a client of that version knows it.
func documented(v schema.Version, s tlog.HandshakeStatus) tlog.HandshakeStatus {
	if v < schema.Version2 && s < tlog.HandshakeInternal {
		return tlog.HandshakeInternal
	}
	return s
}
