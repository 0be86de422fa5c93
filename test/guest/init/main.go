// Command init is all that runs in the test's guest. It makes a file system on
// the disk (with the argument `format`) or mounts the one that is there, and
// works until the power is cut. What it prints is what the disk promised:
//
//	formatted         mkfs.ext4 has synced what it wrote
//	resumed N         the database is whole and its counter is N
//	ready             the database has its tables
//	commit N          a transaction that set the counter to N has returned
//	file N            file N is in its place, fsynced, renamed, its directory fsynced
//	fail: …           something that must not happen
package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	device = "/dev/vda"
	root   = "/disk"
)

func main() {
	if err := work(); err != nil {
		say("fail: %v", err)
	}
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

// say prints a line in one write.
func say(format string, a ...any) { _, _ = os.Stdout.WriteString(fmt.Sprintf(format, a...) + "\n") }

func work() error {
	if err := errors.Join(mount("devtmpfs", "/dev", ""), mount("proc", "/proc", ""), mount("sysfs", "/sys", ""), loadModules(), waitFor(device)); err != nil {
		return err
	}
	if slices.Contains(os.Args, "format") {
		if out, err := exec.Command("/bin/mkfs.ext4", "-q", "-F", device).CombinedOutput(); err != nil {
			return fmt.Errorf("mkfs.ext4: %w: %s", err, out)
		}
		say("formatted")
	}
	// discard makes freed blocks discards on the disk.
	if err := mount("ext4", root, "discard"); err != nil {
		return err
	}
	d, err := openDatabase(root + "/db")
	if err != nil {
		return err
	}
	failed := make(chan error)
	go func() { failed <- d.run() }()
	go func() { failed <- files(root + "/files") }()
	return <-failed
}

func mount(kind, at, options string) error {
	if err := unix.Mount(device, at, kind, 0, options); err != nil {
		return fmt.Errorf("mount %s on %s: %w", kind, at, err)
	}
	return nil
}

// loadModules loads the modules that the initramfs has, in their order.
func loadModules() error {
	order, err := os.Open("/modules/order")
	if err != nil {
		return err
	}
	defer order.Close() //nolint:errcheck // only read
	for names := bufio.NewScanner(order); names.Scan(); {
		m, err := os.Open(names.Text())
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(m.Fd()), "", 0)
		if err := errors.Join(err, m.Close()); err != nil && !errors.Is(err, syscall.EEXIST) {
			return fmt.Errorf("%s: %w", names.Text(), err)
		}
	}
	return nil
}

// waitFor waits until the kernel shows a device.
func waitFor(name string) error {
	tick, limit := time.NewTicker(10*time.Millisecond), time.After(30*time.Second)
	for {
		if _, err := os.Stat(name); err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-limit:
			devices, _ := os.ReadDir("/sys/block")
			return fmt.Errorf("no %s; /sys/block: %s", name, strings.Join(names(devices), " "))
		}
	}
}

func names(entries []os.DirEntry) (list []string) {
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}
