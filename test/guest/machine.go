package guest

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Line is what the guest printed, and when the host saw it: never before the
// guest printed it.
type Line struct {
	Text string
	At   time.Time
}

// Machine is a virtual machine that runs.
type Machine struct {
	// Lines is what the guest prints; closed when the machine is gone. It must
	// be read, or the guest stops.
	Lines <-chan Line

	cmd *exec.Cmd
}

// Boot starts a machine whose disks are the NBD exports on Unix sockets. args go
// to the guest's init. Writes, flushes and discards reach the exports as the
// guest sends them.
func Boot(k *Kernel, initramfs string, sockets []string, args ...string) (*Machine, error) {
	m := &Machine{cmd: exec.Command("qemu-system-x86_64",
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
		"-machine", "pc", "-accel", "tcg", "-cpu", "qemu64", "-smp", "1", "-m", "256",
		"-kernel", k.Image, "-initrd", initramfs,
		"-append", "console=ttyS0 quiet panic=-1 mitigations=off no_timer_check random.trust_cpu=on -- "+strings.Join(args, " "),
		"-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
		"-device", "virtio-rng-pci")}
	for i, socket := range sockets {
		m.cmd.Args = append(m.cmd.Args,
			"-blockdev", fmt.Sprintf("driver=nbd,node-name=disk%d,discard=unmap,server.type=unix,server.path=%s", i, socket),
			"-device", fmt.Sprintf("virtio-blk-pci,drive=disk%d", i))
	}
	// A machine must not outlive a test that is killed.
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("guest: %w", err)
	}
	m.cmd.Stderr = m.cmd.Stdout
	if err := m.cmd.Start(); err != nil {
		return nil, fmt.Errorf("guest: %w", err)
	}
	lines := make(chan Line, 64)
	m.Lines = lines
	go read(out, lines)
	return m, nil
}

// read stamps each line with the time at which it was whole.
func read(out io.Reader, lines chan<- Line) {
	defer close(lines)
	for in := bufio.NewScanner(out); in.Scan(); {
		lines <- Line{strings.TrimSpace(in.Text()), time.Now().UTC()}
	}
}

// Cut cuts the power: qemu is killed where it stands. It returns what the guest
// had printed and nobody had read.
func (m *Machine) Cut() (rest []Line) {
	_ = m.cmd.Process.Kill() // it may have ended by itself
	for l := range m.Lines {
		rest = append(rest, l)
	}
	_ = m.cmd.Wait() // it was killed
	return rest
}
