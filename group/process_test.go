package group

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"
)

// peerEnv makes the test binary a peer: see TestMain.
const peerEnv = "TLOG_GROUP_PEER"

// TestMain runs the tests; or, for a test that started this binary again, a peer
// process: for each byte that it reads it draws a value and writes it.
func TestMain(m *testing.M) {
	dir := os.Getenv(peerEnv)
	if dir == "" {
		os.Exit(m.Run())
	}
	if err := peer(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func peer(dir string) error {
	c, err := Open(Config{Dir: dir, Name: "g"})
	if err != nil {
		return err
	}
	in := bufio.NewReader(os.Stdin)
	for {
		if _, err := in.ReadByte(); err != nil {
			return nil
		}
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], c.Next())
		if _, err := os.Stdout.Write(b[:]); err != nil {
			return err
		}
	}
}

// process is a running peer.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out io.Reader
}

func startPeer(t *testing.T, dir string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.Command(self)}
	p.cmd.Env = append(os.Environ(), peerEnv+"="+dir)
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if p.out, err = p.cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.cmd.Process.Kill() //nolint:errcheck // it may have ended
		p.cmd.Wait()         //nolint:errcheck // killed
	})
	return p
}

func (p *process) draw(t *testing.T) uint64 {
	t.Helper()
	if _, err := p.in.Write([]byte{0}); err != nil {
		t.Fatal(err)
	}
	var b [8]byte
	if _, err := io.ReadFull(p.out, b[:]); err != nil {
		t.Fatal(err)
	}
	return binary.LittleEndian.Uint64(b[:])
}

// disorder has the peers draw one after the other and counts the values that are
// not above the one before.
func disorder(t *testing.T, peers []*process, rounds int) (wrong int) {
	t.Helper()
	last := uint64(0)
	for i := range rounds {
		got := peers[i%len(peers)].draw(t)
		if got <= last {
			wrong++
		}
		last = got
	}
	return wrong
}

// Processes that draw after one another get rising values, whatever their own
// clocks would say, also across the kill -9 of one of them; the whole group's
// clock was raised, so a clock of one's own would be far behind.
func TestProcesses(t *testing.T) {
	dir := t.TempDir()
	c := openClock(t, Config{Dir: dir, Name: "g"})
	ahead := c.Next() + uint64(time.Hour)
	c.Raise(ahead)
	peers := []*process{startPeer(t, dir), startPeer(t, dir), startPeer(t, dir)}
	if wrong := disorder(t, peers, 6000); wrong != 0 {
		t.Errorf("%d values not above the one before", wrong)
	}
	before := peers[1].draw(t)
	if err := peers[1].cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	peers[1].cmd.Wait() //nolint:errcheck // killed
	peers[1] = startPeer(t, dir)
	if got := peers[1].draw(t); got <= before || before <= ahead {
		t.Errorf("%d after %d", got, before)
	}
	if wrong := disorder(t, peers, 3000); wrong != 0 {
		t.Errorf("%d values not above the one before", wrong)
	}
	// The test must be able to see: of peers with clocks of their own one is an
	// hour ahead.
	other := t.TempDir()
	openClock(t, Config{Dir: other, Name: "g"}).Raise(ahead + uint64(time.Hour))
	if wrong := disorder(t, []*process{peers[0], startPeer(t, other)}, 100); wrong == 0 {
		t.Error("two clocks were not told from one")
	}
}
