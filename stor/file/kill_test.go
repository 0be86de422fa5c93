package file

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"go.uber.org/goleak"

	"tlog"
	"tlog/stor"
)

var writeUntilKilled = flag.String("write-until-killed", "", "directory: be the child of TestKill")

func TestMain(m *testing.M) {
	flag.Parse()
	if *writeUntilKilled != "" {
		writeForever(*writeUntilKilled)
	}
	goleak.VerifyTestMain(m)
}

// writeForever appends from the first free position on, eight at a time, and
// prints each position that was answered.
func writeForever(dir string) {
	s, err := Open(dir, Options{SegmentBytes: 1})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	c, _ := s.Control(bg, testVdisk)
	slots := make(chan struct{}, 8)
	for p := c.Head + 1; ; p++ {
		slots <- struct{}{}
		s.Append(bg, testRequest(p, sizes(p)), func(_ stor.Meta, err error) {
			if err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
			fmt.Println(p)
			<-slots
		})
	}
}

// TestKill kills a writing process again and again. Every position that it
// said was answered must be there, whole, and so must those before it.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	initialise(t, s)
	s.Close()
	answered := tlog.Position(0)
	for round := range 6 {
		answered = max(answered, runAndKill(t, dir, 20+round*13))
		if s, err = Open(dir, Options{}); err != nil {
			t.Fatal(err)
		}
		if got := checkNoneAbsent(t, s, answered, sizes); got != int(answered) {
			t.Fatalf("after kill %d: %d of %d positions are whole", round+1, got, answered)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// runAndKill starts a writer and kills it when it has answered n positions. It
// gives the highest that was answered.
func runAndKill(t *testing.T, dir string, n int) (highest tlog.Position) {
	t.Helper()
	child := exec.Command(os.Args[0], "-write-until-killed", dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); n-- {
		p, err := strconv.ParseUint(lines.Text(), 10, 64)
		if err != nil {
			t.Errorf("the writer says %q", lines.Text())
		}
		highest = max(highest, tlog.Position(p))
		if n == 1 {
			child.Process.Kill()
		}
	}
	child.Wait()
	return highest
}
