// Package reuse keeps the memory that the write path needs again and again:
// buffers in size classes, and objects of one type.
//
// Ownership: what Get returned has one owner at a time, who may hand it on and
// of whom the last calls Put, once. After Put nobody reads or writes it, nor
// what it refers to. docs/architecture.md names the owners of each kind.
//
// Built with the tag invariants the rule is checked: what was put back is
// filled with a pattern and kept for a while before it is given out again; a
// write to it after Put, or a second Put, panics, and a read after Put sees the
// pattern, which no hash and no MAC lets pass.
//
// What Get returned may hold anything. All of it is safe for concurrent use.
package reuse
