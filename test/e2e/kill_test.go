//go:build e2e

package e2e

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// kills is how often each process, and both together, are killed.
const kills = 10

// TestKill kills tlogserver, the disk's nbdkit, and both, at random moments
// while fio writes. fio reaches the disk through a front that reconnects and
// makes every write FUA, so that what it was told is written must be there,
// whatever was killed meanwhile.
func TestKill(t *testing.T) {
	for _, kind := range pools {
		t.Run(kind.name, func(t *testing.T) {
			s := newStack(t, kind.make(t))
			front := s.startFront()
			stop := make(chan struct{})
			wrote := make(chan int)
			go func() { wrote <- s.fioUntil(front, stop) }()
			s.killAll(func() { s.server.kill(); s.startServer() })
			s.killAll(func() { s.disk.kill(); s.startDisk() })
			s.killAll(func() { s.server.kill(); s.disk.kill(); s.startServer(); s.startDisk() })
			close(stop)
			if n := <-wrote; n == 0 {
				t.Error("fio never finished a round")
			}
			m := s.mark("disk.img")
			image, _ := restore(t, s.pool, "latest")
			equal(t, image, m.image)
			run(t, bin(t, "tlogctl"), append([]string{"verify", vdisk}, s.pool.flags...)...)
		})
	}
}

func (s *stack) killAll(kill func()) {
	for range kills {
		<-time.After(time.Duration(200+rand.IntN(1200)) * time.Millisecond)
		kill()
	}
}

// startFront starts an nbdkit that reconnects to the disk for clients that cannot.
func (s *stack) startFront() string {
	s.t.Helper()
	socket := filepath.Join(s.t.TempDir(), "front.sock")
	start(s.t, "nbdkit", "-f", "-U", socket, "--filter=fua", "--filter=retry", "nbd", "socket="+s.socket,
		"fuamode=force", "retries=60", "retry-delay=1", "retry-exponential=no")
	eventually(s.t, "front serves", func() error {
		if out, code := try(s.t, "nbdinfo", "--size", uri(socket)); code != 0 {
			return fmt.Errorf("nbdinfo: %s", out)
		}
		return nil
	})
	return socket
}

// fioUntil writes and verifies round after round; it returns how many.
func (s *stack) fioUntil(socket string, stop chan struct{}) int {
	done := 0
	for round := 0; ; round++ {
		select {
		case <-stop:
			return done
		default:
		}
		out, code := try(s.t, "timeout", "-s", "KILL", "240", "fio", fmt.Sprintf("--name=round%d", round), "--ioengine=nbd",
			"--uri="+uri(socket), "--rw=randwrite", "--bsrange=4k-64k", "--offset=64m", "--size=16m", "--iodepth=8",
			fmt.Sprintf("--randseed=%d", round), "--fsync=32", "--verify=crc32c", "--do_verify=1", "--verify_fatal=1", "--verify_state_save=0")
		if strings.Contains(out, "nbd_connect_uri:") { // the disk was just dead: nothing was written
			continue
		}
		if code != 0 {
			s.t.Errorf("fio round %d: exit code %d\n%s", round, code, tail(out))
			return done
		}
		done++
	}
}
