package lint

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/token"
	"go/types"
	"slices"
)

// MapRanges returns the loops over maps in decision cores: their order is
// random, and a core's decisions must not be. slices.Sorted(maps.Keys(m)) is
// the way. The process must run inside the module: imports are resolved from
// its working directory.
func MapRanges(files []*File) ([]string, error) {
	byDir := map[string][]*File{}
	for _, f := range files {
		if inCore(f) && !f.Test() {
			byDir[f.Dir()] = append(byDir[f.Dir()], f)
		}
	}
	var found []string
	for _, dir := range sortedKeys(byDir) {
		more, err := packageMapRanges(dir, byDir[dir])
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	return found, nil
}

func sortedKeys(m map[string][]*File) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func packageMapRanges(dir string, files []*File) ([]string, error) {
	fset := files[0].fset
	var trees []*ast.File
	for _, f := range files {
		trees = append(trees, f.AST)
	}
	info := types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
	cfg := types.Config{Importer: importer.ForCompiler(token.NewFileSet(), "source", nil)}
	if _, err := cfg.Check(dir, fset, trees, &info); err != nil {
		return nil, fmt.Errorf("lint: types of %s: %w", dir, err)
	}
	var found []string
	for _, f := range files {
		report := func(at token.Pos) {
			found = append(found, fmt.Sprintf("%s:%d: core: ranges over a map", f.Path, fset.Position(at).Line))
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			r, ok := n.(*ast.RangeStmt)
			if !ok {
				return true
			}
			if t := info.TypeOf(r.X); t != nil {
				if _, isMap := t.Underlying().(*types.Map); isMap {
					report(r.Pos())
				}
			}
			return true
		})
	}
	return found, nil
}
