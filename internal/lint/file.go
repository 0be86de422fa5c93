package lint

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// Module is the module's path, and that of its root package.
const Module = "tlog"

// File is one parsed source file of the module.
type File struct {
	Path  string // slash-separated, from the module's root
	Lines int
	AST   *ast.File

	fset *token.FileSet
}

// Parse reads one file; name is its path from the module's root.
func Parse(fset *token.FileSet, name string, src []byte) (*File, error) {
	tree, err := parser.ParseFile(fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, fmt.Errorf("lint: %w", err)
	}
	return &File{Path: name, Lines: bytes.Count(src, []byte("\n")), AST: tree, fset: fset}, nil
}

// Load parses every file that the rules are for, below the module's root.
func Load(root string) ([]*File, error) {
	var files []*File
	fset := token.NewFileSet()
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if d.IsDir() {
			if name != "." && skipDir(name) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, ".capnp.go") {
			return nil
		}
		src, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		f, err := Parse(fset, name, src)
		if err != nil {
			return err
		}
		files = append(files, f)
		return nil
	})
	return files, err
}

func skipDir(name string) bool {
	base := path.Base(name)
	return base == "testdata" || base == "vendor" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || name == "internal/deps"
}

// Dir is the file's directory from the module's root, "." for the root itself.
func (f *File) Dir() string { return path.Dir(f.Path) }

// Test reports whether the file belongs to tests only.
func (f *File) Test() bool { return strings.HasSuffix(f.Path, "_test.go") }

// External reports whether the file is in a test package of its own.
func (f *File) External() bool { return f.Test() && strings.HasSuffix(f.AST.Name.Name, "_test") }

// in reports whether the file lies in or below one of the directories.
func (f *File) in(dirs ...string) bool {
	for _, d := range dirs {
		if f.Dir() == d || strings.HasPrefix(f.Dir(), d+"/") {
			return true
		}
	}
	return false
}

// imports gives the path of each import, with its place.
func (f *File) imports(yield func(string, token.Pos)) {
	for _, s := range f.AST.Imports {
		if p, err := strconv.Unquote(s.Path.Value); err == nil {
			yield(p, s.Pos())
		}
	}
}

// local is the name by which the file uses the imported package, "" if it does not import it.
func (f *File) local(pkg string) string {
	for _, s := range f.AST.Imports {
		if s.Path.Value != strconv.Quote(pkg) {
			continue
		}
		if s.Name != nil {
			return s.Name.Name
		}
		return path.Base(pkg)
	}
	return ""
}

// Report takes one violation.
type Report func(at token.Pos, rule, format string, a ...any)

// Rule looks at one file.
type Rule func(f *File, report Report)

// Check runs the rules over the files and returns the violations, one line each.
func Check(files []*File, rules ...Rule) []string {
	var found []string
	for _, f := range files {
		report := func(at token.Pos, rule, format string, a ...any) {
			line := 1
			if at.IsValid() {
				line = f.fset.Position(at).Line
			}
			found = append(found, fmt.Sprintf("%s:%d: %s: %s", f.Path, line, rule, fmt.Sprintf(format, a...)))
		}
		for _, r := range rules {
			r(f, report)
		}
	}
	return found
}
