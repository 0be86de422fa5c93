package client

import (
	"errors"

	"tlog/internal/core/window"
)

// Typed errors, found by errors.Is. All but ErrNotFlushed are permanent: every
// later call fails with the same one.
var (
	// ErrFenced says that another client took the vdisk. Class tlog.Fatal.
	ErrFenced = window.ErrFenced
	// ErrLogBehind says that the log lacks records this client saw flushed. Class tlog.Corrupt.
	ErrLogBehind = window.ErrLogBehind
	// ErrDiverged says that the log's history is another. Class tlog.Corrupt.
	ErrDiverged = window.ErrDiverged
	// ErrDenied says that the vdisk is another client's, and Takeover is not set. Class tlog.Fatal.
	ErrDenied = window.ErrDenied
	// ErrRefused says that the server holds the request, the vdisk, the protocol
	// version or the records for invalid. Class tlog.Protocol.
	ErrRefused = window.ErrRefused
	// ErrClosed says that Close was called.
	ErrClosed = window.ErrClosed
	// ErrNotFlushed is in the tree of Close's error when records were not
	// acknowledged durable. It names the prefix that was.
	ErrNotFlushed = errors.New("not everything is flushed")
)
