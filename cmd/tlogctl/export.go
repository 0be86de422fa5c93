package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tlog"
	"tlog/cmd/internal/storage"
)

type exportOptions struct {
	moment
	to     string
	format string
	force  bool
}

func (t *tool) exportCommand() *cobra.Command {
	var o exportOptions
	c := &cobra.Command{
		Use:   "export VDISK --to FILE [--format qcow2] [--at WHEN]",
		Short: "write the disk of a moment in a format of other programs",
		Long: "Mounts the moment (tlognbd mount) and has qemu-img convert it: to qcow2, or to any other\n" +
			"format that it knows. For a raw image restore does without both. The file appears under\n" +
			"its name when it is whole.\n" +
			"WHEN = latest | seq:N | RFC 3339 time with zone | -5m (before now) | bookmark:NAME.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.vdisk = tlog.VdiskID(args[0])
			return t.export(cmd.Context(), o, cmd.Flags(), cmd.OutOrStdout())
		},
	}
	o.register(c.Flags())
	c.Flags().StringVar(&o.to, "to", "", "the file to write")
	c.Flags().StringVar(&o.format, "format", "qcow2", "qcow2, or another format of qemu-img")
	c.Flags().BoolVar(&o.force, "force", false, "replace an existing file")
	return c
}

func (t *tool) export(ctx context.Context, o exportOptions, given *pflag.FlagSet, out io.Writer) (err error) {
	if _, err := o.parse(); err != nil {
		return err
	}
	switch err := o.vdisk.Check(); {
	case err != nil:
		return storage.Usage(err)
	case o.to == "":
		return storage.Usage(errors.New("export: --to FILE is needed"))
	}
	if _, err := os.Lstat(o.to); !o.force && !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(fmt.Errorf("%s exists: --force replaces it", o.to), err)
	}
	temp, err := os.MkdirTemp(filepath.Dir(o.to), "."+filepath.Base(o.to)+".export-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	m, err := mountMoment(ctx, o, given)
	if err != nil {
		return err
	}
	file := filepath.Join(temp, "image")
	err = run(ctx, "qemu-img", "convert", "-f", "raw", "-O", o.format, "nbd+unix:///?socket="+m.socket, file)
	if err = errors.Join(err, m.end()); err != nil {
		return err
	}
	if err := publishFile(file, o.to); err != nil {
		return err
	}
	if t.json {
		return emit(out, struct {
			Vdisk  string `json:"vdisk"`
			File   string `json:"file"`
			Format string `json:"format"`
			Moment string `json:"moment"`
		}{string(o.vdisk), o.to, o.format, m.said})
	}
	_, err = fmt.Fprintf(out, "exported %s to %s (%s)\n", m.said, o.to, o.format)
	return err
}

// publishFile gives a file its name, durably.
func publishFile(file, name string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close(), os.Rename(file, name)); err != nil {
		return err
	}
	return syncParent(name)
}

// run runs a program; what it says is in the error.
func run(ctx context.Context, program string, args ...string) error {
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", program, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// mounted is a tlognbd mount that runs.
type mounted struct {
	cmd    *exec.Cmd
	dir    string
	socket string
	said   string // "vdisk v at seq:N (time)"
	errs   strings.Builder
}

// mountMoment starts the tlognbd beside this program, and waits until it serves.
func mountMoment(ctx context.Context, o exportOptions, given *pflag.FlagSet) (_ *mounted, err error) {
	nbd, err := beside("tlognbd")
	if err != nil {
		return nil, err
	}
	m := &mounted{}
	if m.dir, err = os.MkdirTemp("", "tlog-export-"); err != nil {
		return nil, err
	}
	m.socket = filepath.Join(m.dir, "s")
	args := append([]string{"mount", string(o.vdisk), "--at", o.at, "--snap-to", o.snap, "--listen", "unix:" + m.socket}, storageArgs(given)...)
	m.cmd = exec.CommandContext(ctx, nbd, args...)
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	m.cmd.Stderr = &m.errs
	out, err := m.cmd.StdoutPipe()
	if err == nil {
		err = m.cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(m.dir))
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, errors.Join(m.failed(m.cmd.Wait()), os.RemoveAll(m.dir))
	}
	m.said, _, _ = strings.Cut(strings.TrimPrefix(line, "tlognbd: "), ", ")
	return m, nil
}

// failed is the error of a mount that ended: what it said last, and its exit code.
func (m *mounted) failed(err error) error {
	said := strings.TrimSpace(m.errs.String())
	err = fmt.Errorf("tlognbd mount: %w: %s", err, said)
	if code := m.cmd.ProcessState.ExitCode(); code > 0 {
		return &storage.Exit{Code: code, Err: err}
	}
	return err
}

// end ends the mount.
func (m *mounted) end() error {
	err := m.cmd.Process.Signal(syscall.SIGTERM)
	if failed := m.cmd.Wait(); failed != nil {
		err = errors.Join(err, m.failed(failed))
	}
	return errors.Join(err, os.RemoveAll(m.dir))
}

// storageArgs are the flags of storage and index that were given to this program,
// for another one.
func storageArgs(given *pflag.FlagSet) (args []string) {
	var known pflag.FlagSet
	new(storage.Flags).Register(&known, false)
	new(storage.Index).Register(&known)
	given.Visit(func(f *pflag.Flag) {
		if known.Lookup(f.Name) == nil {
			return
		}
		value := f.Value.String()
		if list, ok := f.Value.(pflag.SliceValue); ok {
			value = strings.Join(list.GetSlice(), ",")
		}
		args = append(args, "--"+f.Name+"="+value)
	})
	return args
}
