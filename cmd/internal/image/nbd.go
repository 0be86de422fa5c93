package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// export is what an NBD server serves, read by nbdcopy through a pipe: in
// order, zeroes for what is not allocated.
type export struct {
	uri  string
	cmd  *exec.Cmd // nil: not started, or waited for
	pipe io.ReadCloser
	said bytes.Buffer
}

func openNBD(ctx context.Context, uri string) (*Image, error) {
	cmd := exec.CommandContext(ctx, "nbdinfo", "--size", "--", uri)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, childError(cmd, &said, err)
	}
	size, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("image: %s: nbdinfo told a size of %q", uri, out)
	}
	return &Image{Name: uri, Size: size, from: &export{uri: uri}}, nil
}

func (e *export) start(ctx context.Context) (err error) {
	e.cmd = exec.CommandContext(ctx, "nbdcopy", "--", e.uri, "-")
	e.cmd.Stderr = &e.said
	// The terminal's ^C is for the tool, which ends its children itself, and theirs.
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	e.cmd.Cancel = killer(e.cmd)
	if e.pipe, err = e.cmd.StdoutPipe(); err != nil {
		return err
	}
	if err = e.cmd.Start(); err != nil {
		e.cmd = nil
	}
	return err
}

func (e *export) next(off int64) (int64, error) { return off, nil }
func (e *export) inOrder() bool                 { return true }

func (e *export) read(_ int64, b []byte) error {
	_, err := io.ReadFull(e.pipe, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		// It has ended: what it said is why.
		return errors.Join(errors.New("nbdcopy ended before the end of the disk"), e.wait())
	}
	return err
}

func (e *export) finish() error {
	if n, err := e.pipe.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
		return fmt.Errorf("nbdcopy gave more than the disk's size (%w)", err)
	}
	return e.wait()
}

// wait ends the child.
func (e *export) wait() error {
	cmd := e.cmd
	if cmd == nil {
		return nil
	}
	e.cmd = nil
	if err := cmd.Wait(); err != nil {
		return childError(cmd, &e.said, err)
	}
	return nil
}

// Close ends the child, if it was not seen to end: reading it has ended then.
func (e *export) Close() error {
	if e.cmd == nil {
		return nil
	}
	_ = e.cmd.Cancel()
	_ = e.wait() // it was killed
	return nil
}

// killer ends a process that leads a group, and all of the group.
func killer(cmd *exec.Cmd) func() error {
	return func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

// childError tells what a program said when it failed.
func childError(cmd *exec.Cmd, said *bytes.Buffer, err error) error {
	if text := strings.TrimSpace(said.String()); text != "" {
		err = fmt.Errorf("%w: %s", err, strings.ReplaceAll(text, "\n", "; "))
	}
	return fmt.Errorf("image: %s: %w", cmd.Args[0], err)
}
