package lint_test

import (
	"go/token"
	"slices"
	"strings"
	"testing"

	"tlog/internal/lint"
)

// Every rule must see what it is for, and leave the rest alone.
func TestRules(t *testing.T) {
	long := func(n int) string { return strings.Repeat("\t_ = 0\n", n) }
	for _, c := range []struct {
		name, path, src string
		rule            lint.Rule
		want            string // "" or what the one violation starts with
	}{
		{"lower layer", "server/a.go", `package server; import "tlog/schema"`, lint.Layers, ""},
		{"root", "schema/a.go", `package schema; import "tlog"`, lint.Layers, ""},
		{"own layer", "schema/a.go", "package schema\nimport \"tlog/crypto\"", lint.Layers, "schema/a.go:2: layer: schema (layer 2) imports crypto (layer 2)"},
		{"higher layer", "stor/a.go", `package stor; import "tlog/cmd/internal/storage"`, lint.Layers, "stor/a.go:1: layer:"},
		{"core", "internal/core/x/a.go", `package x; import "tlog/stor"`, lint.Layers, "internal/core/x/a.go:1: layer:"},
		{"no layer", "misc/a.go", `package misc`, lint.Layers, "misc/a.go:1: layer: package misc has no layer"},
		{"memory is redis", "stor/memory/a.go", `package memory; import "tlog/stor/redis"`, lint.Layers, ""},
		{"inside test", "stor/a_test.go", `package stor; import "tlog/server"`, lint.Layers, "stor/a_test.go:1: layer:"},
		{"outside test", "stor/a_test.go", `package stor_test; import "tlog/server"`, lint.Layers, ""},

		{"at home", "stor/redis/a.go", `package redis; import "github.com/gomodule/redigo/redis"`, lint.Homes, ""},
		{"abroad", "client/a.go", `package client; import "github.com/gomodule/redigo/redis"`, lint.Homes, "client/a.go:1: home: github.com/gomodule/redigo is used in stor/redis, internal/bench/bare only"},
		{"below home", "stor/file/a.go", `package file; import "github.com/klauspost/reedsolomon"`, lint.Homes, "stor/file/a.go:1: home:"},
		{"homeless", "client/a.go", `package client; import "example.org/x"`, lint.Homes, "client/a.go:1: home: example.org/x has no home"},
		{"tests travel", "client/a_test.go", `package client; import "example.org/x"`, lint.Homes, ""},

		{"sleep", "client/a.go", "package client\nimport \"time\"\nfunc f() { time.Sleep(1) }", lint.Calls, "client/a.go:3: banned: time.Sleep"},
		{"renamed", "client/a_test.go", `package client; import z "time"; var _ = z.Sleep`, lint.Calls, "client/a_test.go:1: banned: time.Sleep"},
		{"not time", "client/a.go", `package client; func f() { time.Sleep(1) }`, lint.Calls, ""},
		{"exit", "server/a.go", `package server; import "os"; func f() { os.Exit(1) }`, lint.Calls, "server/a.go:1: banned: os.Exit"},
		{"command", "cmd/x/a.go", `package main; import "os"; func f() { os.Exit(1) }`, lint.Calls, ""},
		{"log", "server/a.go", `package server; import "log"; func f() { log.Print() }`, lint.Calls, "server/a.go:1: banned: log.Print"},
		{"logger", "server/a.go", `package server; import "log/slog"; var l *slog.Logger`, lint.Calls, ""},
		{"default logger", "server/a.go", `package server; import "log/slog"; var l = slog.Default()`, lint.Calls, "server/a.go:1: banned: log/slog.Default"},
		{"clock", "internal/core/x/a.go", `package x; import "time"; var n = time.Now`, lint.Calls, "internal/core/x/a.go:1: banned: time.Now"},
		{"duration", "internal/core/x/a.go", `package x; import "time"; var n = 24 * time.Hour`, lint.Calls, ""},

		{"skip", "a_test.go", `package tlog; func f() { t.Skip() }`, lint.Skips, "a_test.go:1: banned: t.Skip"},
		{"init", "stor/a.go", `package stor; func init() {}`, lint.Inits, "stor/a.go:1: banned: func init"},
		{"goroutine", "internal/core/x/a.go", `package x; func f() { go f() }`, lint.Cores, "internal/core/x/a.go:1: core: a core starts no goroutine"},
		{"mutex", "internal/core/x/a.go", `package x; import "sync"`, lint.Cores, "internal/core/x/a.go:1: core: a core does not import sync"},
		{"shell", "server/a.go", `package server; import "sync"; func f() { go f() }`, lint.Cores, ""},

		{"long function", "a.go", "package tlog\nfunc f() {\n" + long(69) + "}\n", lint.Sizes, "a.go:2: size: func f of 71 lines"},
		{"function", "a.go", "package tlog\nfunc f() {\n" + long(68) + "}\n", lint.Sizes, ""},
		{"long file", "a_test.go", "package tlog\n" + strings.Repeat("\n", 500), lint.Sizes, "a_test.go:1: size: file of 501 lines"},
		{"package name", "x/util/a.go", `package util`, lint.Names, "x/util/a.go:1: name: package util"},
		{"manager", "a.go", `package tlog; type LogManager int`, lint.Names, "a.go:1: name: type LogManager"},

		{"undocumented", "a.go", `package tlog; func F() {}`, lint.Docs, "a.go:1: doc: func F has no docstring"},
		{"method", "a.go", `package tlog; func (t T[K]) F() {}`, lint.Docs, "a.go:1: doc: func F"},
		{"hidden method", "a.go", `package tlog; func (t *t) F() {}`, lint.Docs, ""},
		{"type in group", "a.go", "package tlog\n// Both.\ntype (\nA int\n)", lint.Docs, "a.go:4: doc: type A"},
		{"values in group", "a.go", "package tlog\n// Both.\nconst (\nA = 1\nB = 2\n)", lint.Docs, ""},
		{"value", "a.go", "package tlog\nvar A = 1", lint.Docs, "a.go:2: doc: var A"},
		{"trailing comment", "a.go", "package tlog\nvar A = 1 // is one", lint.Docs, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := lint.Check([]*lint.File{parse(t, c.path, c.src)}, c.rule)
			if c.want == "" && len(got) != 0 || c.want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], c.want)) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func parse(t *testing.T, path, src string) *lint.File {
	t.Helper()
	f, err := lint.Parse(token.NewFileSet(), path, []byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestPackageDocs(t *testing.T) {
	got := lint.PackageDocs([]*lint.File{
		parse(t, "a/x.go", "package a"), parse(t, "a/y.go", "// Package a is.\npackage a"),
		parse(t, "b/x.go", "package b"), parse(t, "b/x_test.go", "// Package b is.\npackage b"),
	})
	if want := []string{"b/x.go:1: doc: package has no package comment"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMapRanges(t *testing.T) {
	src := "package x\nimport \"tlog\"\nfunc f(m map[tlog.Sequence]int, s []int) {\nfor range s {}\nfor range m {}\n}"
	got, err := lint.MapRanges([]*lint.File{parse(t, "internal/core/x/a.go", src)})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"internal/core/x/a.go:5: core: ranges over a map"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
