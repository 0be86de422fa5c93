package lint_test

import (
	"os/exec"
	"strings"
	"testing"

	"tlog/internal/lint"
)

const root = "../.."

func load(t *testing.T) []*lint.File {
	t.Helper()
	files, err := lint.Load(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 20 {
		t.Fatalf("only %d files found below %s", len(files), root)
	}
	return files
}

func TestTree(t *testing.T) {
	files := load(t)
	for name, rule := range map[string]lint.Rule{
		"layers": lint.Layers,
		"homes":  lint.Homes,
		"calls":  lint.Calls,
		"skips":  lint.Skips,
		"inits":  lint.Inits,
		"cores":  lint.Cores,
		"sizes":  lint.Sizes,
		"names":  lint.Names,
		"docs":   lint.Docs,
	} {
		t.Run(name, func(t *testing.T) {
			for _, v := range lint.Check(files, rule) {
				t.Error(v)
			}
		})
	}
	t.Run("package docs", func(t *testing.T) {
		for _, v := range lint.PackageDocs(files) {
			t.Error(v)
		}
	})
}

// Linking the client in must not bring the server's world along.
func TestClientIsLight(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "./client")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	deps := strings.Fields(string(out))
	if len(deps) == 0 {
		t.Fatal("go list gave nothing")
	}
	for _, heavy := range []string{
		"github.com/gomodule/redigo", "github.com/alicebob/miniredis", "github.com/prometheus", "github.com/klauspost/reedsolomon",
		"github.com/spf13/cobra", "github.com/knadh/koanf", "tlog/stor", "tlog/aggregate", "tlog/server", "tlog/player", "net/http",
	} {
		for _, d := range deps {
			if d == heavy || strings.HasPrefix(d, heavy+"/") {
				t.Errorf("client depends on %s", d)
			}
		}
	}
}

func TestCoresRangeOverNoMap(t *testing.T) {
	found, err := lint.MapRanges(load(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range found {
		t.Error(v)
	}
}
