package lint

import (
	"go/ast"
	"go/token"
	"strings"
)

// Limits in lines. A test's table may be longer than code should be.
const (
	MaxFileLines     = 500
	MaxFuncLines     = 70
	MaxTestFuncLines = 100
)

const badPackages = "util utils common types helper helpers base config misc"

// Sizes checks the length of files and functions.
func Sizes(f *File, report Report) {
	if f.Lines > MaxFileLines {
		report(token.NoPos, "size", "file of %d lines; the limit is %d: one file per concept", f.Lines, MaxFileLines)
	}
	limit := MaxFuncLines
	if f.Test() {
		limit = MaxTestFuncLines
	}
	for _, d := range f.AST.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Body == nil {
			continue
		}
		if n := f.fset.Position(fn.End()).Line - f.fset.Position(fn.Pos()).Line + 1; n > limit {
			report(fn.Pos(), "size", "func %s of %d lines; the limit is %d", fn.Name.Name, n, limit)
		}
	}
}

// Names checks the names of packages and types that say nothing.
func Names(f *File, report Report) {
	if name := strings.TrimSuffix(f.AST.Name.Name, "_test"); hasWord(badPackages, name) {
		report(f.AST.Name.Pos(), "name", "package %s: name it by what it provides", name)
	}
	ast.Inspect(f.AST, func(n ast.Node) bool {
		if s, ok := n.(*ast.TypeSpec); ok && strings.HasSuffix(s.Name.Name, "Manager") {
			report(s.Pos(), "name", "type %s: name it by what it does", s.Name.Name)
		}
		return true
	})
}

// Docs checks that every exported identifier has a docstring. Commands export
// nothing.
func Docs(f *File, report Report) {
	if f.Test() || f.AST.Name.Name == "main" {
		return
	}
	for _, d := range f.AST.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) {
				report(d.Pos(), "doc", "func %s has no docstring", d.Name.Name)
			}
		case *ast.GenDecl:
			genDocs(d, report)
		}
	}
}

func genDocs(d *ast.GenDecl, report Report) {
	for _, s := range d.Specs {
		switch s := s.(type) {
		case *ast.TypeSpec:
			// In a group, each type is its own thing.
			if s.Name.IsExported() && s.Doc == nil && (d.Doc == nil || d.Lparen.IsValid()) {
				report(s.Pos(), "doc", "type %s has no docstring", s.Name.Name)
			}
		case *ast.ValueSpec:
			if s.Doc != nil || s.Comment != nil || d.Doc != nil {
				continue
			}
			for _, n := range s.Names {
				if n.IsExported() {
					report(n.Pos(), "doc", "%v %s has no docstring", d.Tok, n.Name)
				}
			}
		}
	}
}

// exportedReceiver reports whether a function is one that others can call: not
// a method of an unexported type.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return true
	}
	t := d.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return true
		}
	}
}

// PackageDocs returns the directories whose package has no package comment, or
// the placeholder of a skeleton.
func PackageDocs(files []*File) []string {
	documented := map[string]bool{}
	first := map[string]string{}
	var order []string
	for _, f := range files {
		if f.Test() {
			continue
		}
		if _, seen := first[f.Dir()]; !seen {
			first[f.Dir()] = f.Path
			order = append(order, f.Dir())
		}
		if f.AST.Doc != nil {
			documented[f.Dir()] = true
		}
	}
	var found []string
	for _, dir := range order {
		if !documented[dir] {
			found = append(found, first[dir]+":1: doc: package has no package comment")
		}
	}
	return found
}
