package lint

import (
	"go/ast"
	"go/token"
	"strings"
)

// ban forbids uses of a package's names.
type ban struct {
	pkg   string
	names string // space-separated; "" is all of them
	why   string
	tests bool               // in tests too
	where func(f *File) bool // nil: everywhere
}

func outsideCmd(f *File) bool { return !f.in("cmd", "internal/lint", "test") }
func inCore(f *File) bool     { return f.in("internal/core") }

var bans = []ban{
	{"time", "Sleep", "wait for what happens, or use testing/synctest", true, nil},
	{"os", "Exit", "libraries return errors", false, outsideCmd},
	{"log", "", "a *slog.Logger is passed in", false, outsideCmd},
	{"log/slog", "Default SetDefault Debug Info Warn Error Log LogAttrs With DebugContext InfoContext WarnContext ErrorContext",
		"a *slog.Logger is passed in", false, outsideCmd},
	{"os", "Getenv LookupEnv Environ", "no environment below cmd", false, func(f *File) bool { return outsideCmd(f) && !f.in("internal/failpoint") }},
	{"flag", "", "no flags below cmd", false, outsideCmd},
	{"time", "Now Since Until After AfterFunc NewTimer NewTicker Tick", "a core has no clock", false, inCore},
}

// coreImports are packages that a core must not touch: a core decides, its
// shell acts.
var coreImports = []string{"net", "os", "io", "sync", "context", "math/rand", "math/rand/v2", "crypto/rand", "log/slog", "runtime"}

// Calls checks for banned names of packages.
func Calls(f *File, report Report) {
	for _, b := range bans {
		name := f.local(b.pkg)
		if name == "" || f.Test() && !b.tests || b.where != nil && !b.where(f) {
			continue
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := s.X.(*ast.Ident); ok && x.Name == name && (b.names == "" || hasWord(b.names, s.Sel.Name)) {
				report(s.Pos(), "banned", "%s.%s: %s", b.pkg, s.Sel.Name, b.why)
			}
			return true
		})
	}
}

func hasWord(words, w string) bool {
	for have := range strings.FieldsSeq(words) {
		if have == w {
			return true
		}
	}
	return false
}

// Skips checks that no test skips itself.
func Skips(f *File, report Report) {
	if !f.Test() {
		return
	}
	ast.Inspect(f.AST, func(n ast.Node) bool {
		c, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		s, ok := c.Fun.(*ast.SelectorExpr)
		if !ok || !hasWord("Skip Skipf SkipNow", s.Sel.Name) {
			return true
		}
		if x, ok := s.X.(*ast.Ident); ok && hasWord("t b f tb rt", x.Name) {
			report(s.Pos(), "banned", "%s.%s: a test that needs something starts it, or has a build tag", x.Name, s.Sel.Name)
		}
		return true
	})
}

// Inits checks that nothing happens when a package is linked in.
func Inits(f *File, report Report) {
	for _, d := range f.AST.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			report(fn.Pos(), "banned", "func init: pass what is needed")
		}
	}
}

// Cores checks that decision cores have no goroutine, channel, clock, socket
// or randomness. (Ranging over a map needs types to be seen; see MapRanges.)
func Cores(f *File, report Report) {
	if !inCore(f) || f.Test() {
		return
	}
	f.imports(func(p string, at token.Pos) {
		for _, banned := range coreImports {
			if p == banned || strings.HasPrefix(p, banned+"/") {
				report(at, "core", "a core does not import %s", p)
				return
			}
		}
	})
	ast.Inspect(f.AST, func(n ast.Node) bool {
		switch n.(type) {
		case *ast.GoStmt:
			report(n.Pos(), "core", "a core starts no goroutine")
		case *ast.ChanType, *ast.SelectStmt, *ast.SendStmt:
			report(n.Pos(), "core", "a core has no channels")
		}
		return true
	})
}
