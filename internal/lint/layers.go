package lint

import (
	"go/token"
	"path"
	"slices"
	"strings"
)

// layers is the order of docs/architecture.md: a package imports only from
// lower layers, never from its own. A pattern ends with * for one more element.
var layers = map[string]int{
	".":                   0,
	"internal/failpoint":  0,
	"internal/core/*":     1,
	"internal/reuse":      1,
	"internal/watch":      1,
	"group":               1,
	"schema":              2,
	"crypto":              2,
	"stor":                2,
	"aggregate":           3,
	"stor/redis":          3,
	"stor/file":           3,
	"stor/memory":         3,
	"stor/discard":        3,
	"stor/stortest":       3,
	"server":              4,
	"client":              4,
	"player/index":        1,
	"player":              4,
	"vdisk":               5,
	"bookmark":            5,
	"past":                5,
	"cmd/internal/*":      6,
	"cmd/*":               7,
	"internal/alloctest":  0,
	"internal/check":      1,
	"internal/modelcheck": 2,
	"internal/sim/*":      6,
	"internal/sim":        7,
	"internal/redisrun":   1,
	"internal/bench/*":    5,
	"internal/bench":      6,
}

// sameLayer are the imports within a layer that are meant: the memory store is
// a Redis in the process, and a tool's session is opened on a storage.
var sameLayer = map[[2]string]bool{
	{"stor/memory", "stor/redis"}:                   true,
	{"cmd/internal/attach", "cmd/internal/storage"}: true,
}

// homes says in which directories (and below) a foreign library may be used.
var homes = map[string][]string{
	"capnproto.org/go/capnp":           {"schema"},
	"github.com/gomodule/redigo":       {"stor/redis", "internal/bench/bare"},
	"github.com/alicebob/miniredis":    {"stor/memory"},
	"github.com/klauspost/reedsolomon": {"stor", "internal/bench/stage"},
	"github.com/klauspost/compress":    {"aggregate", "player/index", "internal/bench/stage"},
	"golang.org/x/crypto":              {"crypto"},
	"github.com/zeebo/blake3":          {"crypto", "internal/bench/stage"},
	"golang.org/x/sys":                 {"stor/file", "player/index", "vdisk", "past", "cmd", "group"},
	"github.com/spf13/cobra":           {"cmd"},
	"github.com/spf13/pflag":           {"cmd"},
	"github.com/knadh/koanf":           {"cmd"},
	"github.com/prometheus":            {"cmd"},
	"github.com/vbauerster/mpb":        {"cmd"},
	"github.com/dustin/go-humanize":    {"cmd"},
}

// exactHomes are homes without the directories below them.
var exactHomes = map[string]bool{"github.com/klauspost/reedsolomon": true}

// unlayered packages are no part of the product.
func unlayered(f *File) bool { return f.in("internal/lint", "internal/redistest", "test") }

// layerOf finds the layer of a directory.
func layerOf(dir string) (int, bool) {
	if n, ok := layers[dir]; ok {
		return n, true
	}
	n, ok := layers[path.Dir(dir)+"/*"]
	return n, ok
}

// Layers checks imports within the module. External test packages may import
// anything.
func Layers(f *File, report Report) {
	if f.External() || unlayered(f) {
		return
	}
	from, ok := layerOf(f.Dir())
	if !ok {
		report(token.NoPos, "layer", "package %s has no layer: give it one in internal/lint", f.Dir())
		return
	}
	f.imports(func(p string, at token.Pos) {
		dir, ok := moduleDir(p)
		if !ok || sameLayer[[2]string{f.Dir(), dir}] {
			return
		}
		to, ok := layerOf(dir)
		switch {
		case !ok:
			report(at, "layer", "%s imports %s, which has no layer", f.Dir(), dir)
		case to >= from:
			report(at, "layer", "%s (layer %d) imports %s (layer %d): only lower layers are allowed", f.Dir(), from, dir, to)
		}
	})
}

func moduleDir(importPath string) (string, bool) {
	if importPath == Module {
		return ".", true
	}
	return strings.CutPrefix(importPath, Module+"/")
}

// Homes checks imports of foreign libraries. Tests may import anything.
func Homes(f *File, report Report) {
	if f.Test() || unlayered(f) {
		return
	}
	f.imports(func(p string, at token.Pos) {
		first, _, _ := strings.Cut(p, "/")
		if !strings.Contains(first, ".") {
			return // the standard library, or this module
		}
		lib := library(p)
		switch {
		case lib == "":
			report(at, "home", "%s has no home: give it one in internal/lint", p)
		case !f.in(homes[lib]...), exactHomes[lib] && !slices.Contains(homes[lib], f.Dir()):
			report(at, "home", "%s is used in %s only", lib, strings.Join(homes[lib], ", "))
		}
	})
}

func library(importPath string) string {
	for lib := range homes {
		if importPath == lib || strings.HasPrefix(importPath, lib+"/") {
			return lib
		}
	}
	return ""
}
