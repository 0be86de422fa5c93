//go:build e2e

package bench

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tlog"
	"tlog/client"
)

// idleVdisks are attached, written to a little, and left alone.
const idleVdisks = 1000

// BenchmarkIdleVdisks is what a vdisk costs a real tlogserver while nothing
// happens on it: resident memory and goroutines. Clients are in this process.
// One more is attached before the first measure, which is of a server that has
// done little: memory that it once needed and kept would be used again by the
// idle ones, and not be seen. Needs `make build`.
func BenchmarkIdleVdisks(b *testing.B) {
	for b.Loop() {
		s := startServerProcess(b)
		s.use(b, "first", 64<<10)
		before := s.resident(b)
		for i := range idleVdisks {
			s.use(b, tlog.VdiskID(fmt.Sprintf("idle-%04d", i)), 64<<10)
		}
		grown := float64(s.resident(b) - before)
		b.ReportMetric(grown/idleVdisks/(1<<10), "KiB/vdisk")
		b.ReportMetric(grown/(1<<20), "MiB")
		b.ReportMetric(float64(before)/(1<<20), "MiB-before")
		b.ReportMetric(float64(s.dump(b))/idleVdisks, "goroutines/vdisk")
	}
}

// serverProcess is a tlogserver on a store of directories.
type serverProcess struct {
	cmd     *exec.Cmd
	addr    string
	output  bytes.Buffer // safe to read when the process has ended
	clients []*client.Client
}

func startServerProcess(b *testing.B) *serverProcess {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0") // a port that is free
	if err != nil {
		b.Fatal(err)
	}
	s := &serverProcess{addr: ln.Addr().String()}
	if err := ln.Close(); err != nil {
		b.Fatal(err)
	}
	program := filepath.Join("..", "..", "bin", "tlogserver")
	s.cmd = exec.Command(program, "--data-dir", b.TempDir(), "--listen", s.addr)
	s.cmd.Stdout, s.cmd.Stderr = &s.output, &s.output
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		b.Fatalf("%v: run make build first", err)
	}
	return s
}

// use attaches a vdisk, which waits for the server to listen, and makes size
// bytes of it durable.
func (s *serverProcess) use(b *testing.B, vdisk tlog.VdiskID, size int) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	c, err := client.Open(ctx, client.Config{Servers: []string{s.addr}, Vdisk: vdisk, DiskSize: diskSize})
	if err != nil {
		b.Fatal(err)
	}
	s.clients = append(s.clients, c)
	w := writer{c: c, size: 4 << 10}
	for range size / w.size {
		w.write(b)
	}
	if err := c.Flush(ctx); err != nil {
		b.Fatal(err)
	}
}

// resident is the server's memory, as soon as it does not change any more for
// two seconds; a collection of garbage may be due until then.
func (s *serverProcess) resident(b *testing.B) (bytes int) {
	b.Helper()
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		<-tick.C
		now := s.memory(b)
		if now == bytes {
			return now
		}
		bytes = now
	}
}

func (s *serverProcess) memory(b *testing.B) (bytes int) {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmRSS:" {
			n, err := strconv.Atoi(f[1])
			if err != nil {
				b.Fatal(err)
			}
			return n << 10
		}
	}
	b.Fatal("no VmRSS")
	return 0
}

// dump ends the server so that it prints its goroutines, and counts them.
func (s *serverProcess) dump(b *testing.B) (goroutines int) {
	b.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		b.Fatal(err)
	}
	_ = s.cmd.Wait() // its exit says only that it was told to
	for line := range bytes.Lines(s.output.Bytes()) {
		if bytes.HasPrefix(line, []byte("goroutine ")) {
			goroutines++
		}
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for _, c := range s.clients {
		_ = c.Close(ended)
	}
	return goroutines
}
