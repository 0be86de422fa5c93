package stortest

import (
	"bytes"

	"tlog"
	"tlog/stor"
)

var readTests = map[string]func(*env){
	"what was never stored is absent": func(e *env) {
		e.initialised().mustBeAbsent(vdiskA, 1)
		e.mustFence(vdiskA, me)
		e.mustBeAbsent(vdiskA, 1)
		e.mustAppend(request(2, 'a'))
		e.mustBeAbsent(vdiskA, 1)
		e.mustBeAbsent(vdiskA, 3)
		e.mustBeAbsent(vdiskB, 2)
	},
	"metas come in order and within the range": func(e *env) {
		e.owned()
		var all []stor.Meta
		for _, p := range []tlog.Position{4, 2, 9, 3, 7} {
			e.mustAppend(request(p, byte(p)))
		}
		for _, p := range []tlog.Position{2, 3, 4, 7, 9} {
			all = append(all, metaOf(request(p, byte(p))))
		}
		for range 2 {
			e.mustMetas(vdiskA, 1, 20, all...)
			e.mustMetas(vdiskA, 0, 20, all...)
			e.mustMetas(vdiskA, 2, 9, all...)
			e.mustMetas(vdiskA, 3, 8, all[1:4]...)
			e.mustMetas(vdiskA, 5, 6)
			e.mustMetas(vdiskA, 10, 20)
			e.mustMetas(vdiskA, 4, 3)
			e.mustMetas(vdiskB, 1, 20)
			e.reopens()
		}
	},
	"metas far apart": func(e *env) {
		e.owned()
		var all []stor.Meta
		for _, p := range []tlog.Position{1, 50_000, 100_000, 1<<53 + 1} {
			r := request(p, 'x')
			r.Digest = digestOf(p)
			e.mustAppend(r)
			all = append(all, metaOf(r))
		}
		e.mustMetas(vdiskA, 1, 100_000, all[:3]...)
		e.mustMetas(vdiskA, 1<<53, 1<<53+2, all[3])
	},
	"metas of a longer log": func(e *env) {
		e.owned()
		var all []stor.Meta
		var requests []*stor.AppendRequest
		for p := tlog.Position(1); p <= 1500; p++ {
			r := request(p, 'x')
			r.Digest, r.Index = digestOf(p), int(p%6)
			requests = append(requests, r)
			all = append(all, metaOf(r))
		}
		for _, err := range e.appendAll(requests) {
			if err != nil {
				e.Fatal(err)
			}
		}
		e.mustMetas(vdiskA, 1, 1500, all...)
		e.mustMetas(vdiskA, 700, 1299, all[699:1299]...)
		e.reopens()
		e.mustMetas(vdiskA, 1, 1500, all...)
		e.mustControl(vdiskA, stor.Control{Owner: me, Head: 1500})
	},
	"limit cuts a shard": func(e *env) {
		r := request(1, 'a')
		r.Head, r.Body = []byte("head"), []byte("and the body")
		e.owned().mustAppend(r)
		whole := "headand the body"
		for limit, want := range map[int]string{0: whole, 1: "h", 4: "head", 7: "headand", 16: whole, 17: whole, 1 << 30: whole} {
			if got := e.shard(vdiskA, 1, limit); !bytes.Equal(got, []byte(want)) {
				e.Errorf("limit %d: got %q, want %q", limit, got, want)
			}
		}
	},
}
