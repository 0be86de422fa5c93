//go:build e2e

package faults

import (
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"
)

var (
	whole  = flag.Bool("whole", false, "run every cell of a matrix, not a few of each fault")
	only   = flag.String("cell", "", "run the cells whose name contains this")
	figure = map[string]*tally{}
)

// tally is the line for machines of one matrix.
type tally struct {
	mu                sync.Mutex
	cells, violations int
	rows              []string
}

func (t *tally) note(row string, cells, violations int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cells += cells
	t.violations += violations
	t.rows = append(t.rows, row)
}

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	for name, t := range figure {
		for _, r := range t.rows {
			fmt.Println(r)
		}
		fmt.Printf("%s: cells=%d violations=%d\n", name, t.cells, t.violations)
		if t.violations > 0 {
			code = 1
		}
	}
	os.Exit(code)
}

// workers is how many pools are hurt at once: a cell mostly waits.
const workers = 6

// TestStoreFaults runs the store matrix.
func TestStoreFaults(t *testing.T) {
	total := &tally{}
	figure["storefaults"] = total
	todo := make(chan *cell)
	var mu sync.Mutex
	count, bad, spent := map[string]int{}, map[string]int{}, map[string]time.Duration{}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			s := newStores(t)
			for c := range todo {
				begin := time.Now()
				err := c.run(s)
				mu.Lock()
				count[c.fault.name]++
				spent[c.fault.name] += time.Since(begin)
				if err != nil {
					bad[c.fault.name]++
				}
				mu.Unlock()
				if err != nil {
					t.Errorf("%v: %v\nwhat was logged:\n%s", c, err, last(c.said.String(), 3000))
					s = newStores(t) // who knows what it left behind
				}
			}
		})
	}
	for _, c := range storeCells() {
		todo <- c
	}
	close(todo)
	wg.Wait()
	for i := range storeFaults {
		f := &storeFaults[i]
		if n := count[f.name]; n > 0 {
			by := "proxy"
			if f.answer == nil {
				by = "redis"
			}
			total.note(fmt.Sprintf("%-30s by %s  cells %2d  violations %d  %5.1f s a cell", f.name, by, n, bad[f.name], (spent[f.name]/time.Duration(n)).Seconds()), n, bad[f.name])
		}
	}
}

func last(s string, n int) string { return s[max(0, len(s)-n):] }

// storeCells lists the cells to run: all, or, without -whole, one of each
// fault, another one every day.
func storeCells() (list []*cell) {
	day := time.Now().YearDay()
	for i := range storeFaults {
		var of []*cell
		for _, op := range operations {
			for _, after := range []bool{false, true} {
				of = append(of, &cell{fault: &storeFaults[i], op: op, after: after})
			}
		}
		switch {
		case *only != "":
			for _, c := range of {
				if contains(c.String(), *only) {
					list = append(list, c)
				}
			}
		case *whole:
			list = append(list, of...)
		default:
			list = append(list, of[(day+3*i)%len(of)])
		}
	}
	return list
}
