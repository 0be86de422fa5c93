package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

var passed = regexp.MustCompile(`failpoint\.(?:Here|If)\((?:.*, )?"([a-z.]+)"\)`)

// inSources are the points that the product passes.
func inSources(t *testing.T) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "test" || strings.HasPrefix(d.Name(), ".") && path != root) {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		b, err := os.ReadFile(path)
		for _, m := range passed.FindAllStringSubmatch(string(b), -1) {
			names = append(names, m[1])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return slices.Compact(names) // a restore goes one of two ways, past the same point
}

// The code, the list that is tried, and the document name the same points.
func TestPoints(t *testing.T) {
	var tried []string
	for _, p := range points {
		tried = append(tried, p.name)
	}
	slices.Sort(tried)
	if got := inSources(t); !slices.Equal(got, tried) {
		t.Errorf("the product passes\n%v\ntried are\n%v", got, tried)
	}
	doc, err := os.ReadFile(filepath.Join(root, "docs", "crash.md"))
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z.]+)` \\|").FindAllStringSubmatch(string(doc), -1) {
		told = append(told, m[1])
	}
	slices.Sort(told)
	if !slices.Equal(told, tried) {
		t.Errorf("docs/crash.md has\n%v\ntried are\n%v", told, tried)
	}
}

// What is hit least is tried next, and what is tried in vain does not hold up the rest.
func TestTally(t *testing.T) {
	tally := newTally()
	for _, want := range []string{"restore.position", "restore.written", "restore.position", "restore.written"} {
		p := tally.next(byRestore)
		if p == nil || p.name != want {
			t.Fatalf("next is %v, want %s", p, want)
		}
	}
	tally.hits["restore.position"]++
	for range 4 {
		if p := tally.next(byRestore); p.name != "restore.written" {
			t.Fatalf("next is %s, want the one that was not hit", p.name)
		}
	}
	if p := tally.next(byRestore); p.name != "restore.position" {
		t.Errorf("a point that is tried in vain is all that is tried")
	}
	if tally.next("nobody") != nil {
		t.Error("a point that nobody passes")
	}
	if n, _ := tally.least(); n != 0 {
		t.Errorf("least %d, want 0", n)
	}
}

// A fault whose points lag behind is drawn more often.
func TestUrgent(t *testing.T) {
	tally := newTally()
	for _, p := range points {
		tally.hits[p.name] = 4
	}
	tally.hits["append.fenced"] = 2
	for by, want := range map[string]int{byZombie: 2, byServer: 1, "nobody": 1} { // of 3, the mean, rounded down
		if got := tally.urgent([]string{by}); got != want {
			t.Errorf("%s: %d times, want %d", by, got, want)
		}
	}
}
