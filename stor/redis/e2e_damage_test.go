//go:build e2e

package redis_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	redigo "github.com/gomodule/redigo/redis"

	"tlog"
	"tlog/internal/redistest"
	"tlog/stor"
	"tlog/stor/redis"
)

// TestDamagedMeta: what is no meta of one position hides no other, is not taken for
// nothing, and is replaced by a repair.
func TestDamagedMeta(t *testing.T) {
	r := redistest.Start(t)
	s := dial(t, r.Addr, redis.Options{})
	own(t, s)
	for pos := range tlog.Position(5) {
		mustAppend(t, s, shard(pos+1, 100))
	}
	key := func(pos tlog.Position) string { return fmt.Sprintf("tlog:{%v}:m:%020d", vdisk, pos) }
	good := func(pos tlog.Position) string {
		return fmt.Sprintf("%020d %x 003", owner.Epoch, shard(pos, 0).Digest[:])
	}
	for name, damaged := range map[string]func(string) string{
		"empty":                 func(string) string { return "" },
		"short":                 func(m string) string { return m[:88] },
		"long":                  func(m string) string { return m + "0" },
		"a digit that is none":  func(m string) string { return m[:40] + "q" + m[41:] },
		"an index that is none": func(m string) string { return m[:86] + "0.3" },
		"an index too high":     func(m string) string { return m[:86] + "999" },
		"of a higher epoch":     func(m string) string { return "1" + m[1:50] + "z" + m[51:] },
	} {
		for _, pos := range []tlog.Position{2, 4} {
			r.Do("SET", key(pos), damaged(good(pos)))
		}
		metas, err := s.Metas(t.Context(), vdisk, 1, 5)
		bad, ok := errors.AsType[*stor.BadMetas](err)
		if !ok || tlog.ClassOf(err) != tlog.Corrupt || !slices.Equal(bad.Positions, []tlog.Position{2, 4}) || len(metas) != 3 || metas[2].Position != 5 {
			t.Fatalf("%s: %v, %v", name, metas, err)
		}
		for _, pos := range bad.Positions {
			q := shard(pos, 100)
			q.Replace = true
			mustAppend(t, s, q)
		}
		if metas, err := s.Metas(t.Context(), vdisk, 1, 5); err != nil || len(metas) != 5 {
			t.Fatalf("%s, replaced: %v, %v", name, metas, err)
		}
	}
	// Another digest of our epoch is no damage.
	r.Do("SET", key(2), good(3))
	q := shard(2, 100)
	q.Replace = true
	mustRefuse(t, appendOne(t, s, q), stor.Conflict, "another one")
}

// appendWords are the keys and arguments of an append, but for their sum.
func appendWords(size string) []string {
	return []string{"5", "tlog:id", fmt.Sprintf("tlog:{%v}:ctl", vdisk), "m", "d", "tmp",
		me.Cookie.String(), fmt.Sprintf("%020d", 1), fmt.Sprintf("%020d", owner.Epoch), owner.ID.String(), fmt.Sprintf("%020d", 1),
		"000", fmt.Sprintf("%064x", 1), fmt.Sprintf("%020d", 0), size, "0"}
}

func evalAppend(c redigo.Conn, words []string) (string, error) {
	args := []any{redis.AppendScript()}
	for _, w := range words {
		args = append(args, w)
	}
	return redigo.String(c.Do("EVAL", args...))
}

// TestGarbled flips each bit of what an append says: nothing is changed by any of
// them.
func TestGarbled(t *testing.T) {
	r := redistest.Start(t)
	s := dial(t, r.Addr, redis.Options{})
	own(t, s)
	c, err := redigo.Dial("tcp", r.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Do("SET", "tmp", "abcd"); err != nil {
		t.Fatal(err)
	}
	before := r.Do("DBSIZE")
	words := appendWords("4")
	words = append(words, redis.WholeSum(words...))
	control, err := s.Control(t.Context(), vdisk)
	if err != nil {
		t.Fatal(err)
	}
	for i, word := range words {
		for bit := range 8 * len(word) {
			b := []byte(word)
			b[bit/8] ^= 1 << (bit % 8)
			garbled := slices.Clone(words)
			garbled[i] = string(b)
			if got, err := evalAppend(c, garbled); err == nil && got != "GARBLED" {
				t.Errorf("%q instead of %q: %s", b, word, got)
			}
		}
	}
	if got, err := s.Control(t.Context(), vdisk); err != nil || got != control || r.Do("DBSIZE") != before {
		t.Errorf("%+v, %v, %s keys; before it was %+v and %s", got, err, r.Do("DBSIZE"), control, before)
	}
	if got, err := evalAppend(c, words); err != nil || !strings.HasPrefix(got, "OK ") {
		t.Errorf("as it was sent: %q, %v", got, err)
	}
}
