package tlog

import (
	"errors"
	"fmt"
)

// Class says what an error means for the one who gets it. It is set where the
// error is born and found again by ClassOf through any wrapping.
type Class uint8

const (
	// Unclassified errors are those of the caller's own making, such as an
	// ended context.
	Unclassified Class = iota
	// Transient errors may go away by themselves; only stor retries them.
	Transient
	// Corrupt errors say that stored or received bytes are not what was
	// written. They are never retried.
	Corrupt
	// Fatal errors leave an outcome unknown or an owner fenced: the vdisk
	// stops and is loaded again from storage.
	Fatal
	// Protocol errors are a peer's; they end the session.
	Protocol
	// Unavailable errors say that fewer shard servers answer than are needed.
	Unavailable
)

type classed struct {
	class Class
	err   error
}

func (e *classed) Error() string { return e.err.Error() }
func (e *classed) Unwrap() error { return e.err }

// WithClass gives err a class; nil stays nil.
func WithClass(c Class, err error) error {
	if err == nil {
		return nil
	}
	return &classed{c, err}
}

// ClassOf is the class of the outermost classified error in err's tree.
func ClassOf(err error) Class {
	var c *classed
	if errors.As(err, &c) {
		return c.class
	}
	return Unclassified
}

// Transientf, Corruptf, Fatalf, Protocolf and Unavailablef are fmt.Errorf with a class.
func Transientf(format string, a ...any) error { return WithClass(Transient, fmt.Errorf(format, a...)) }

// Corruptf: see Transientf.
func Corruptf(format string, a ...any) error { return WithClass(Corrupt, fmt.Errorf(format, a...)) }

// Fatalf: see Transientf.
func Fatalf(format string, a ...any) error { return WithClass(Fatal, fmt.Errorf(format, a...)) }

// Protocolf: see Transientf.
func Protocolf(format string, a ...any) error { return WithClass(Protocol, fmt.Errorf(format, a...)) }

// Unavailablef: see Transientf.
func Unavailablef(format string, a ...any) error {
	return WithClass(Unavailable, fmt.Errorf(format, a...))
}
