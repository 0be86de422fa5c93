// Command mutants plants known bugs, one at a time, in a copy of the tree, and
// runs the tests that are to catch each: five runs, each of at most a minute,
// must all fail, as the same tests pass without the bug. A bug that no longer
// fits the code is an error, not one less.
//
// A table says who catches what; the last line is for machines:
//
//	mutants: planted=N caught=N
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	runs    = 5
	longest = "60s" // with a bug
	patient = "10m" // without one, when the machine is busy
	few     = 4     // that `make test` plants
)

func main() {
	today := flag.Bool("today", false, "plant four of them, others every day")
	only := flag.String("only", "", "plant those whose name contains this")
	flag.Parse()
	caught, planted, err := plant(chosen(*today, *only))
	if err != nil {
		fmt.Println("mutants:", err)
	}
	fmt.Printf("mutants: planted=%d caught=%d\n", planted, caught)
	if err != nil || caught != planted {
		os.Exit(1)
	}
}

func chosen(today bool, only string) (list []mutant) {
	day := time.Now().YearDay()
	for i := range mutants {
		m := mutants[i]
		if today && (i-day*few%len(mutants)+len(mutants))%len(mutants) >= few {
			continue
		}
		if strings.Contains(m.name, only) {
			list = append(list, m)
		}
	}
	return list
}

func plant(list []mutant) (caught, planted int, err error) {
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return 0, 0, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	tree := filepath.Join(dir, "tree")
	if err := copyTree(tree); err != nil {
		return 0, 0, err
	}
	passes := map[string]error{}
	for _, m := range list {
		key := m.pkg + " " + m.tests
		if _, tried := passes[key]; !tried {
			passes[key] = clean(tree, m)
		}
		planted++
		begin := time.Now()
		err := passes[key]
		if err == nil {
			err = m.plant(tree)
		}
		verdict := "caught"
		if err != nil {
			verdict = err.Error()
		} else {
			caught++
		}
		fmt.Printf("%-52s %-40s %-26s %4.0f s  %s\n", m.name, m.layer, m.pkg, time.Since(begin).Seconds(), verdict)
	}
	return caught, planted, nil
}

// copyTree copies what git knows, as it is in the working tree.
func copyTree(to string) error {
	out, err := exec.Command("git", "ls-files", "-z").Output()
	if err != nil {
		return fmt.Errorf("git ls-files: %w", err)
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
		b, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue // deleted, and not committed yet
		}
		if err != nil {
			return err
		}
		path := filepath.Join(to, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// clean checks that the tests pass without any bug.
func clean(tree string, m mutant) error {
	bin, err := build(tree, m.pkg)
	if err != nil {
		return err
	}
	if out, err := try(tree, bin, m, patient); err != nil {
		return fmt.Errorf("its tests fail without it: %w\n%s", err, tail(out))
	}
	return nil
}

func (m mutant) plant(tree string) error {
	path := filepath.Join(tree, m.file)
	right, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if n := bytes.Count(right, []byte(m.old)); n != 1 {
		return fmt.Errorf("does not apply: what it changes is there %d times in %s", n, m.file)
	}
	wrong := bytes.Replace(right, []byte(m.old), []byte(m.wrong), 1)
	if err := os.WriteFile(path, wrong, 0o600); err != nil {
		return err
	}
	defer os.WriteFile(path, right, 0o600) //nolint:errcheck // then the next one does not build
	bin, err := build(tree, m.pkg)
	if err != nil {
		return err
	}
	missed := 0
	for range runs {
		if _, err := try(tree, bin, m, longest); err == nil {
			missed++
		}
	}
	if missed > 0 {
		return fmt.Errorf("missed in %d of %d runs", missed, runs)
	}
	return nil
}

func build(tree, pkg string) (string, error) {
	bin := filepath.Join(tree, "mutant.test")
	cmd := exec.Command("go", "test", "-c", "-o", bin, pkg)
	cmd.Dir = tree
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("does not build: %w\n%s", err, tail(out))
	}
	return bin, nil
}

// try runs the tests once. Failures that an earlier run wrote down do not help.
func try(tree, bin string, m mutant, most string) ([]byte, error) {
	dir := filepath.Join(tree, m.pkg)
	if err := os.RemoveAll(filepath.Join(dir, "testdata", "rapid")); err != nil {
		return nil, err
	}
	cmd := exec.Command(bin, "-test.run", m.tests, "-test.failfast", "-test.timeout", most)
	cmd.Dir = dir
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.Writer(&out), &out
	err := cmd.Run()
	return out.Bytes(), err
}

func tail(b []byte) []byte { return b[max(0, len(b)-2000):] }
