package stortest

import (
	"bytes"
	"math/rand/v2"

	"tlog"
	"tlog/stor"
)

var appendTests = map[string]func(*env){
	"an empty position takes the shard": func(e *env) {
		e.owned().mustAppend(request(1, 'a'))
		e.mustHold(request(1, 'a'))
		e.reopens()
		e.mustHold(request(1, 'a'))
	},
	"without a fence nobody owns": func(e *env) {
		_, err := e.initialised().append(request(1, 'a'))
		if r := e.mustRefuse(err, stor.Fenced); r.Owner != (stor.Owner{}) {
			e.Fatalf("refusal names owner %v, want none", r.Owner)
		}
		e.mustBeAbsent(vdiskA, 1)
	},
	"a lower epoch is fenced": func(e *env) {
		e.owned().mustFence(vdiskA, next)
		e.mustAppendFenced(me, next)
	},
	"a higher epoch than the one held is fenced": func(e *env) {
		e.owned().mustAppendFenced(next, me)
	},
	"another owner of the same epoch is fenced": func(e *env) {
		e.owned().mustAppendFenced(other, me)
	},
	"the same append again is a success": func(e *env) {
		e.owned().mustAppend(request(1, 'a'))
		e.mustAppend(request(1, 'a'))
		e.mustHold(request(1, 'a'))
		e.reopens()
		e.mustHold(request(1, 'a'))
	},
	"a retry keeps the data that is held": func(e *env) {
		e.owned().mustAppend(request(1, 'a'))
		r := request(1, 'a')
		r.Body = []byte("something else")
		e.mustAppend(r)
		e.mustHold(request(1, 'a'))
	},
	"a digest that is held needs no data": func(e *env) {
		e.owned().mustAppend(request(1, 'a'))
		r := request(1, 'a')
		r.Head, r.Body = nil, nil
		e.mustAppend(r)
		e.mustHold(request(1, 'a'))
	},
	"the next owner renews the epoch without data": func(e *env) {
		e.owned().mustAppend(request(1, 'a'))
		e.mustFence(vdiskA, next)
		r := request(1, 'a')
		r.Owner, r.Head, r.Body = next, nil, nil
		e.mustAppend(r)
		want := request(1, 'a')
		want.Owner = next
		e.mustHold(want)
		e.reopens()
		e.mustHold(want)
	},
	"another index of the digest is answered with the one held": func(e *env) {
		e.owned().mustAppend(request(1, 'a'))
		r := request(1, 'a')
		r.Index, r.Body = 2, []byte("shard 2")
		_, err := e.append(r)
		if f := e.mustRefuse(err, stor.HasIndex); f.Index != 1 {
			e.Fatalf("refusal names index %d, want 1", f.Index)
		}
		e.mustHold(request(1, 'a'))
	},
	"another index of the digest renews the epoch": func(e *env) {
		e.owned().mustAppend(request(1, 'a'))
		e.mustFence(vdiskA, next)
		r := request(1, 'a')
		r.Owner, r.Index, r.Head, r.Body = next, 2, nil, nil
		_, err := e.append(r)
		if f := e.mustRefuse(err, stor.HasIndex); f.Index != 1 {
			e.Fatalf("refusal names index %d, want 1", f.Index)
		}
		want := request(1, 'a')
		want.Owner = next
		e.mustHold(want)
		e.reopens()
		e.mustHold(want)
	},
	"replace puts another index in place": func(e *env) {
		e.owned().mustAppend(request(1, 'a'))
		r := request(1, 'a')
		r.Index, r.Replace, r.Body = 2, true, []byte("shard 2")
		e.mustAppend(r)
		e.mustHold(r)
		e.reopens()
		e.mustHold(r)
	},
	"replace puts other data in place": func(e *env) {
		e.owned().mustAppend(request(1, 'a'))
		r := request(1, 'a')
		r.Replace, r.Body = true, []byte("repaired")
		e.mustAppend(r)
		e.mustHold(r)
		e.reopens()
		e.mustHold(r)
	},
	"replace fills an empty position": func(e *env) {
		r := request(1, 'a')
		r.Replace = true
		e.owned().mustAppend(r)
		e.mustHold(r)
	},
	"replace needs data": func(e *env) {
		e.owned().mustAppend(request(1, 'a'))
		for _, index := range []int{1, 2} {
			r := request(1, 'a')
			r.Index, r.Replace, r.Head, r.Body = index, true, nil, nil
			_, err := e.append(r)
			e.mustRefuse(err, stor.NoData)
		}
		e.mustHold(request(1, 'a'))
	},
	"another digest of the same epoch is a conflict": func(e *env) {
		e.owned().mustAppend(request(1, 'a'))
		for _, replace := range []bool{false, true} {
			r := request(1, 'b')
			r.Replace = replace
			_, err := e.append(r)
			e.mustRefuse(err, stor.Conflict)
		}
		e.mustHold(request(1, 'a'))
	},
	"another digest of an older epoch is overwritten": func(e *env) {
		e.owned().mustAppend(request(1, 'a'))
		e.mustFence(vdiskA, next)
		r := request(1, 'b')
		r.Owner, r.Index = next, 0
		e.mustAppend(r)
		e.mustHold(r)
		e.reopens()
		e.mustHold(r)
	},
	"another digest needs data": func(e *env) {
		e.owned().mustAppend(request(1, 'a'))
		e.mustFence(vdiskA, next)
		r := request(1, 'b')
		r.Owner, r.Head, r.Body = next, nil, nil
		_, err := e.append(r)
		e.mustRefuse(err, stor.NoData)
		e.mustHold(request(1, 'a'))
	},
	"an empty position needs data": func(e *env) {
		r := request(1, 'a')
		r.Head, r.Body = nil, nil
		_, err := e.owned().append(r)
		e.mustRefuse(err, stor.NoData)
		e.mustBeAbsent(vdiskA, 1)
	},
	"a renewed digest is not overwritten in its new epoch": func(e *env) {
		e.owned().mustAppend(request(1, 'a'))
		e.mustFence(vdiskA, next)
		r := request(1, 'a')
		r.Owner = next
		e.mustAppend(r)
		r = request(1, 'b')
		r.Owner = next
		_, err := e.append(r)
		e.mustRefuse(err, stor.Conflict)
	},
	"head or body alone is data": func(e *env) {
		head, body := request(1, 'a'), request(2, 'b')
		head.Body, body.Head = nil, nil
		e.owned().mustAppend(head)
		e.mustAppend(body)
		e.reopens()
		e.mustHold(head)
		e.mustHold(body)
	},
	"a shard of 3 MiB": func(e *env) {
		r := request(1, 'a')
		r.Body = randomBytes(3 << 20)
		e.owned().mustAppend(r)
		e.mustHold(r)
		e.reopens()
		e.mustHold(r)
	},
	"every byte value is kept": func(e *env) {
		r := request(1, 'a')
		r.Head, r.Body = randomBytes(301), []byte("\r\n$5\r\n\x00\xff")
		e.owned().mustAppend(r)
		e.mustHold(r)
	},
	"index 0 and index 254": func(e *env) {
		low, high := request(1, 'a'), request(2, 'b')
		low.Index, high.Index = 0, 254
		e.owned().mustAppend(low)
		e.mustAppend(high)
		e.mustHold(low)
		e.mustHold(high)
	},
	"positions and vdisks are apart": func(e *env) {
		e.owned().mustFence(vdiskB, me)
		a, b, c := request(1, 'a'), request(2, 'b'), request(1, 'c')
		c.Vdisk = vdiskB
		for _, r := range []*stor.AppendRequest{a, b, c} {
			e.mustAppend(r)
		}
		for _, r := range []*stor.AppendRequest{a, b, c} {
			e.mustHold(r)
		}
	},
	"the slices are the caller's again": func(e *env) {
		r := request(1, 'a')
		e.owned().mustAppend(r)
		clear(r.Head)
		clear(r.Body)
		e.mustHold(request(1, 'a'))
		clear(e.shard(vdiskA, 1, 0))
		e.mustHold(request(1, 'a'))
	},
}

// mustAppendFenced appends as o and expects to hear that held owns vdiskA.
func (e *env) mustAppendFenced(o, held stor.Owner) {
	e.Helper()
	r := request(1, 'a')
	r.Owner = o
	_, err := e.append(r)
	if f := e.mustRefuse(err, stor.Fenced); f.Owner != held {
		e.Fatalf("refusal names owner %v, want %v", f.Owner, held)
	}
	e.mustBeAbsent(vdiskA, 1)
	e.mustControl(vdiskA, stor.Control{Owner: held})
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n)}).Read(b)
	return b
}

// digestOf gives each position of a longer log its own digest.
func digestOf(pos tlog.Position) tlog.Hash {
	return tlog.Hash(append(bytes.Repeat([]byte{0xd}, 24), byte(pos>>56), byte(pos>>48), byte(pos>>40), byte(pos>>32),
		byte(pos>>24), byte(pos>>16), byte(pos>>8), byte(pos)))
}
