package tlog

import "fmt"

// BlockStatus is the status of a server's answer about records.
type BlockStatus int8

// The documented codes of version 1; ours continue at 5.
const (
	StatusFlushFailed           BlockStatus = -2
	StatusRecvFailed            BlockStatus = -1
	StatusRecvOK                BlockStatus = 1
	StatusFlushOK               BlockStatus = 2
	StatusForceFlushReceived    BlockStatus = 3
	StatusWaitSlaveSyncReceived BlockStatus = 4
	StatusByeOK                 BlockStatus = 5 // everything received is flushed; the server closes
)

// HandshakeStatus is the server's answer to a handshake.
type HandshakeStatus int8

// The documented codes of version 1; ours continue below −4.
const (
	HandshakeOK             HandshakeStatus = 1
	HandshakeInvalidRequest HandshakeStatus = -1
	HandshakeInvalidVersion HandshakeStatus = -2
	HandshakeInvalidVdisk   HandshakeStatus = -3
	HandshakeInternal       HandshakeStatus = -4
	HandshakeFenced         HandshakeStatus = -5  // another client has, or had, a higher generation
	HandshakeLogBehind      HandshakeStatus = -6  // the log lacks records the client saw acknowledged
	HandshakeDiverged       HandshakeStatus = -7  // the log's history is not the client's
	HandshakeDenied         HandshakeStatus = -8  // not this client, or not now: another client is attached
	HandshakeMoved          HandshakeStatus = -9  // another server owns the vdisk
	HandshakeUnavailable    HandshakeStatus = -10 // too few shard servers answer; try again later
)

// Permanent reports whether trying again, here or elsewhere, cannot help.
func (s HandshakeStatus) Permanent() bool {
	switch s {
	case HandshakeOK, HandshakeInternal, HandshakeMoved, HandshakeUnavailable:
		return false
	}
	return true
}

// String returns the status as the tools print it.
func (s HandshakeStatus) String() string {
	switch s {
	case HandshakeOK:
		return "ok"
	case HandshakeInvalidRequest:
		return "invalid request"
	case HandshakeInvalidVersion:
		return "invalid version"
	case HandshakeInvalidVdisk:
		return "invalid vdisk"
	case HandshakeInternal:
		return "internal error"
	case HandshakeFenced:
		return "fenced"
	case HandshakeLogBehind:
		return "log behind client"
	case HandshakeDiverged:
		return "diverged"
	case HandshakeDenied:
		return "denied"
	case HandshakeMoved:
		return "moved"
	case HandshakeUnavailable:
		return "unavailable"
	}
	return fmt.Sprintf("handshake status %d", int8(s))
}
