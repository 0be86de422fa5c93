package stortest

import (
	"errors"
	"reflect"

	"tlog"
	"tlog/stor"
)

var initTests = map[string]func(*env){
	"a new server is empty": func(e *env) {
		if _, _, err := e.s.Identify(e.context()); !errors.Is(err, stor.ErrEmpty) {
			e.Fatalf("identify: got %v, want ErrEmpty", err)
		}
		if v, err := e.s.Vdisks(e.context()); err != nil || len(v) != 0 {
			e.Fatalf("vdisks: got %v, %v", v, err)
		}
		if e.s.Name() == "" {
			e.Fatal("the server has no name")
		}
		e.reopens()
		if _, _, err := e.s.Identify(e.context()); !errors.Is(err, stor.ErrEmpty) {
			e.Fatalf("identify after reopening: got %v, want ErrEmpty", err)
		}
	},
	"an empty server has no owner to accept": func(e *env) {
		_, err := e.fence(vdiskA, me)
		e.mustRefuse(err, stor.WrongStore)
		_, err = e.append(request(1, 'a'))
		e.mustRefuse(err, stor.WrongStore)
	},
	"init gives cookie and manifest": func(e *env) {
		e.initialised().mustIdentify(cookie, 1)
		e.reopens()
		e.mustIdentify(cookie, 1)
	},
	"init again by the same cookie and version succeeds": func(e *env) {
		e.initialised().initialised().mustIdentify(cookie, 1)
	},
	"init by another cookie is refused": func(e *env) {
		e.initialised()
		e.mustRefuse(e.s.Init(e.context(), tlog.UUID{0xee}, manifest(2)), stor.WrongStore)
		e.mustIdentify(cookie, 1)
	},
	"init with a higher config version replaces the manifest": func(e *env) {
		e.owned()
		if err := e.s.Init(e.context(), cookie, manifest(2)); err != nil {
			e.Fatal(err)
		}
		e.mustIdentify(cookie, 2)
		e.mustControl(vdiskA, stor.Control{Owner: me})
		e.reopens()
		e.mustIdentify(cookie, 2)
	},
	"init with a lower config version is refused": func(e *env) {
		if err := e.s.Init(e.context(), cookie, manifest(2)); err != nil {
			e.Fatal(err)
		}
		e.mustRefuse(e.s.Init(e.context(), cookie, manifest(1)), stor.OldConfig)
		e.mustIdentify(cookie, 2)
	},
	"init with another manifest of the same version is refused": func(e *env) {
		e.initialised()
		m := manifest(1)
		m.W = 2
		e.mustRefuse(e.s.Init(e.context(), cookie, m), stor.Conflict)
		e.mustIdentify(cookie, 1)
	},
	"space": func(e *env) {
		s, err := e.initialised().s.Space(e.context())
		if err != nil || s.Total != 0 && s.Used > s.Total {
			e.Fatalf("space: %+v, %v", s, err)
		}
	},
}

func (e *env) mustIdentify(want tlog.UUID, version uint64) {
	e.Helper()
	c, m, err := e.s.Identify(e.context())
	if err != nil {
		e.Fatalf("identify: %v", err)
	}
	if c != want || !reflect.DeepEqual(m, manifest(version)) {
		e.Fatalf("identify: got %v %+v, want %v %+v", c, m, want, manifest(version))
	}
}
