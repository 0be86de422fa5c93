package stortest

import (
	"slices"

	"tlog"
	"tlog/stor"
)

var fenceTests = map[string]func(*env){
	"an unknown vdisk has the zero control": func(e *env) {
		e.initialised().mustControl(vdiskA, stor.Control{})
	},
	"the first fence owns": func(e *env) {
		c := e.initialised().mustFence(vdiskA, me)
		if want := (stor.Control{Owner: me}); c != want {
			e.Fatalf("got %+v, want %+v", c, want)
		}
		e.mustControl(vdiskA, c)
		e.mustControl(vdiskB, stor.Control{})
		e.reopens()
		e.mustControl(vdiskA, c)
	},
	"fencing again by the same owner succeeds": func(e *env) {
		e.owned().mustFence(vdiskA, me)
		e.mustControl(vdiskA, stor.Control{Owner: me})
	},
	"a higher epoch takes over": func(e *env) {
		e.owned().mustFence(vdiskA, next)
		e.mustControl(vdiskA, stor.Control{Owner: next})
		e.reopens()
		e.mustControl(vdiskA, stor.Control{Owner: next})
	},
	"a lower epoch is refused": func(e *env) {
		e.owned().mustFence(vdiskA, next)
		e.mustFenceRefusal(me, next)
	},
	"the same epoch of another owner is refused": func(e *env) {
		e.owned().mustFenceRefusal(other, me)
	},
	"epochs above 2^53 are told apart": func(e *env) {
		low := stor.Owner{Epoch: 1 << 53, ID: tlog.UUID{1}}
		high := stor.Owner{Epoch: 1<<53 + 1, ID: tlog.UUID{2}}
		top := stor.Owner{Epoch: 1<<64 - 1, ID: tlog.UUID{3}}
		e.initialised().mustFence(vdiskA, low)
		e.mustFence(vdiskA, high)
		e.mustFenceRefusal(low, high)
		e.mustFence(vdiskA, top)
		e.mustFenceRefusal(high, top)
		e.mustControl(vdiskA, stor.Control{Owner: top})
	},
	"epochs are compared as numbers": func(e *env) {
		e.initialised().mustFence(vdiskA, stor.Owner{Epoch: 9, ID: tlog.UUID{1}})
		e.mustFence(vdiskA, stor.Owner{Epoch: 10, ID: tlog.UUID{2}})
		e.mustFenceRefusal(stor.Owner{Epoch: 9, ID: tlog.UUID{1}}, stor.Owner{Epoch: 10, ID: tlog.UUID{2}})
	},
	"vdisks are fenced apart": func(e *env) {
		e.owned().mustFence(vdiskB, next)
		e.mustControl(vdiskA, stor.Control{Owner: me})
		e.mustControl(vdiskB, stor.Control{Owner: next})
	},
	"another cookie is refused": func(e *env) {
		id := stor.Identity{Cookie: tlog.UUID{0xee}, ConfigVersion: 1}
		e.initialised().mustRefuseIdentity(id, stor.WrongStore)
	},
	"an older config is refused": func(e *env) {
		if err := e.initialised().s.Init(e.context(), cookie, manifest(2)); err != nil {
			e.Fatal(err)
		}
		e.mustRefuseIdentity(identity(), stor.OldConfig)
	},
	"a newer config is accepted": func(e *env) {
		id := stor.Identity{Cookie: cookie, ConfigVersion: 7}
		_, err := e.initialised().s.Fence(e.context(), &stor.FenceRequest{Identity: id, Owner: me, Vdisk: vdiskA})
		if err != nil {
			e.Fatal(err)
		}
		r := request(1, 'a')
		r.Identity = id
		e.mustAppend(r)
	},
	"vdisks lists what was fenced": func(e *env) {
		e.owned().mustFence(vdiskA, next)
		e.mustFenceRefusal(me, next)
		e.mustFence(vdiskB, me)
		e.mustVdisks(vdiskA, vdiskB)
		e.reopens()
		e.mustVdisks(vdiskA, vdiskB)
	},
	"a refused fence makes no vdisk": func(e *env) {
		id := stor.Identity{Cookie: tlog.UUID{0xee}, ConfigVersion: 1}
		e.initialised().mustRefuseIdentity(id, stor.WrongStore)
		e.mustVdisks()
	},
	"hints survive a takeover": func(e *env) {
		r := request(5, 'a')
		r.Commit = 4
		e.owned().mustAppend(r)
		want := stor.Control{Owner: next, Head: 5, Commit: 4}
		if c := e.mustFence(vdiskA, next); c != want {
			e.Fatalf("got %+v, want %+v", c, want)
		}
		e.mustControl(vdiskA, want)
	},
	"hints never go back": func(e *env) {
		high, low := request(5, 'a'), request(2, 'b')
		high.Commit, low.Commit = 4, 1
		e.owned().mustAppend(high)
		e.mustAppend(low)
		e.mustControl(vdiskA, stor.Control{Owner: me, Head: 5, Commit: 4})
		e.reopens()
		e.mustControl(vdiskA, stor.Control{Owner: me, Head: 5, Commit: 4})
	},
	"hints are per vdisk": func(e *env) {
		e.owned().mustFence(vdiskB, me)
		r := request(5, 'a')
		r.Commit = 4
		e.mustAppend(r)
		e.mustControl(vdiskB, stor.Control{Owner: me})
	},
	"hints are compared as numbers": func(e *env) {
		for _, p := range []tlog.Position{9, 10, 1 << 53, 1<<53 + 1} {
			r := request(p, 'a')
			r.Commit = p - 1
			if p == 9 {
				e.owned()
			}
			e.mustAppend(r)
			e.mustControl(vdiskA, stor.Control{Owner: me, Head: p, Commit: p - 1})
		}
	},
}

// mustFenceRefusal fences vdiskA for o and expects to hear that held owns it.
func (e *env) mustFenceRefusal(o, held stor.Owner) {
	e.Helper()
	_, err := e.fence(vdiskA, o)
	if r := e.mustRefuse(err, stor.Fenced); r.Owner != held {
		e.Fatalf("refusal names owner %v, want %v", r.Owner, held)
	}
	c, err := e.s.Control(e.context(), vdiskA)
	if err != nil || c.Owner != held {
		e.Fatalf("control after a refused fence: %+v, %v; want owner %v", c, err, held)
	}
}

// mustRefuseIdentity fences and appends with id and expects code from both.
func (e *env) mustRefuseIdentity(id stor.Identity, code stor.Code) {
	e.Helper()
	_, err := e.s.Fence(e.context(), &stor.FenceRequest{Identity: id, Owner: me, Vdisk: vdiskA})
	e.mustRefuse(err, code)
	r := request(1, 'a')
	r.Identity = id
	_, err = e.append(r)
	e.mustRefuse(err, code)
	e.mustBeAbsent(vdiskA, 1)
}

func (e *env) mustVdisks(want ...tlog.UUID) {
	e.Helper()
	got, err := e.s.Vdisks(e.context())
	if err != nil {
		e.Fatal(err)
	}
	slices.SortFunc(got, func(a, b tlog.UUID) int { return slices.Compare(a[:], b[:]) })
	if !slices.Equal(got, want) {
		e.Fatalf("vdisks: got %v, want %v", got, want)
	}
}
