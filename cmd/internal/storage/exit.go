package storage

import (
	"errors"

	"tlog"
	"tlog/client"
	"tlog/crypto"
	"tlog/stor"
	"tlog/stor/file"
)

// The exit codes of every tlog program.
const (
	ExitDone       = 0 // done
	ExitFailed     = 1 // failed
	ExitUsage      = 2 // wrong command line
	ExitConfig     = 3 // configuration or key
	ExitIntegrity  = 4 // data is not what was written
	ExitFenced     = 5 // another owner or client took the vdisk
	ExitServers    = 6 // not enough, or unsafe, shard servers
	ExitNotFlushed = 7 // not everything accepted is durable
)

// Exit is an error with an exit code of the caller's choice.
type Exit struct {
	Code int
	Err  error
}

// Error gives the words of the error behind the code.
func (e *Exit) Error() string { return e.Err.Error() }

// Unwrap gives the error behind the code.
func (e *Exit) Unwrap() error { return e.Err }

// ExitCode is the exit code that err calls for.
func ExitCode(err error) int {
	var (
		usage  usageError
		config configError
		exit   *Exit
		answer *stor.Refusal
	)
	switch {
	case err == nil:
		return ExitDone
	case errors.As(err, &exit):
		return exit.Code
	case errors.As(err, &usage):
		return ExitUsage
	case errors.As(err, &config), errors.Is(err, crypto.ErrWrongKey), errors.Is(err, stor.ErrConfig), errors.Is(err, file.ErrLocked):
		return ExitConfig
	case errors.Is(err, stor.ErrFenced), errors.Is(err, client.ErrFenced), errors.Is(err, client.ErrDenied):
		return ExitFenced
	case errors.Is(err, client.ErrNotFlushed):
		return ExitNotFlushed
	case tlog.ClassOf(err) == tlog.Corrupt:
		return ExitIntegrity
	case tlog.ClassOf(err) == tlog.Unavailable, errors.As(err, &answer), errors.Is(err, stor.ErrEmpty):
		return ExitServers
	}
	return ExitFailed
}

// Usage makes err a wrong command line.
func Usage(err error) error { return usageError{err} }
