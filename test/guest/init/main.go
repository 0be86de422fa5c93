// Command init is all that runs in the test's guest. It makes a file system on
// each disk (with the argument `format`) or mounts those that are there, and
// works until the power is cut. What it prints is what the disks promised:
//
//	formatted         mkfs.ext4 has synced what it wrote, on every disk
//	resumed N         the database is whole and its counter is N
//	ready             the database has its tables
//	commit N          a transaction that set the counter to N has returned
//	file N            file N is in its place, fsynced, renamed, its directory fsynced;
//	                  with two disks it was put on the first, and then on the second
//	fail: …           something that must not happen
package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// disk is a virtio disk and where its file system is mounted.
type disk struct{ device, root string }

func main() {
	if err := work(); err != nil {
		say("fail: %v", err)
	}
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

// say prints a line in one write.
func say(format string, a ...any) { _, _ = os.Stdout.WriteString(fmt.Sprintf(format, a...) + "\n") }

func work() error {
	err := errors.Join(mount("devtmpfs", "none", "/dev", ""), mount("proc", "none", "/proc", ""), mount("sysfs", "none", "/sys", ""), loadModules(), waitFor("/dev/vda"))
	if err != nil {
		return err
	}
	disks, err := mountDisks()
	if err != nil {
		return err
	}
	if len(disks) > 1 {
		return files(disks)
	}
	d, err := openDatabase(disks[0].root + "/db")
	if err != nil {
		return err
	}
	failed := make(chan error)
	go func() { failed <- d.run() }()
	go func() { failed <- files(disks) }()
	return <-failed
}

// mountDisks mounts every disk; freed blocks become discards.
func mountDisks() (disks []disk, err error) {
	devices, err := filepath.Glob("/dev/vd?")
	if err != nil {
		return nil, err
	}
	for _, device := range devices {
		disks = append(disks, disk{device, "/disk/" + filepath.Base(device)})
	}
	if slices.Contains(os.Args, "format") {
		for _, d := range disks {
			if out, err := exec.Command("/bin/mkfs.ext4", "-q", "-F", d.device).CombinedOutput(); err != nil {
				return nil, fmt.Errorf("mkfs.ext4: %w: %s", err, out)
			}
		}
		say("formatted")
	}
	for _, d := range disks {
		if err := errors.Join(os.MkdirAll(d.root, 0o755), mount("ext4", d.device, d.root, "discard")); err != nil {
			return nil, err
		}
	}
	return disks, nil
}

func mount(kind, device, at, options string) error {
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
