package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"tlog"
	"tlog/player"
)

// saver keeps, in a file, how far what is written to another file or a device
// has come.
type saver struct {
	target *os.File
	note   string          // the file of the state
	state  *restoreState   // of what is in the target; nil: of nothing
	saving chan savedState // nil: nothing is
	marks  marks           // of a target that others can write to
}

type savedState struct {
	state *restoreState
	err   error
}

// begin sets what a restore to the target goes on below, if the target has
// something of the same moment, and what it saves. empty forgets what is there.
func (s *saver) begin(ctx context.Context, src *source, name string, o *player.RestoreOptions, empty func() error) error {
	now, err := stateOf(ctx, src)
	if err != nil {
		return err
	}
	if s.state != nil && !s.state.same(now) {
		fmt.Fprintf(os.Stderr, "tlogctl: the interrupted restore to %s was of another moment (seq:%d): beginning anew\n", name, s.state.Sequence)
		if err := empty(); err != nil {
			return err
		}
	}
	if s.state != nil {
		o.Below = tlog.Position(s.state.Floor)
		fmt.Fprintf(os.Stderr, "tlogctl: going on with the restore that was interrupted, below position %d\n", o.Below)
	}
	o.Save = func(floor tlog.Position) error { return s.save(*now, floor) }
	return nil
}

// forget removes the state: it must not outlive what it is of.
func (s *saver) forget() error {
	s.state = nil
	return errors.Join(remove(s.note), syncParent(s.note))
}

// save makes what is in the target durable, and then the state that says so,
// while the restore goes on.
func (s *saver) save(state restoreState, floor tlog.Position) error {
	if err := s.saved(); err != nil {
		return err
	}
	state.Floor, state.Marks = uint64(floor), s.marks.list()
	done := make(chan savedState, 1)
	s.saving = done
	go func() {
		err := datasync(s.target)
		if err == nil {
			err = state.write(s.note)
		}
		done <- savedState{&state, err}
	}()
	return nil
}

// saved waits until nothing is being saved.
func (s *saver) saved() error {
	if s.saving == nil {
		return nil
	}
	done := <-s.saving
	s.saving = nil
	if done.err == nil {
		s.state = done.state
	}
	return done.err
}

func datasync(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); err != unix.EINTR {
			return err
		}
	}
}
