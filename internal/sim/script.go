package sim

import (
	"errors"
	"time"

	"tlog"
	"tlog/stor"
)

// errNoScript is NOSCRIPT: the server does not know the script by its name.
// What went ahead of it on the connection took effect.
var errNoScript = errors.New("no such script")

// temporary names the key that a shard is set to before the script takes it.
type temporary struct {
	owner    stor.Owner
	position tlog.Position
	index    int
}

type temporaryData struct {
	data    []byte
	expires time.Duration
}

const temporaryExpiry = 20 * time.Second

func temporaryOf(r *stor.AppendRequest) temporary { return temporary{r.Owner, r.Position, r.Index} }

// load is the script cache: EVAL fills it, and a request by name alone needs it.
func (s *shardServer) load(q *request) error {
	switch {
	case s.w.extra.noScript == 0 || q.script == "" || s.scripts[q.script]:
	case q.eval:
		s.scripts[q.script] = true
	default:
		if q.set != nil {
			q.set(s)
		}
		return errNoScript
	}
	return nil
}

// keep is a SET whose script did not run.
func (s *shardServer) keep(r *stor.AppendRequest) {
	if len(r.Body) > 0 {
		s.temps[temporaryOf(r)] = temporaryData{r.Body, s.w.now + temporaryExpiry}
	}
}

// kept is what a script finds when the SET before it failed: what an earlier
// one left, if that is of the right length and not too old.
func (s *shardServer) kept(r *stor.AppendRequest) []byte {
	t, ok := s.temps[temporaryOf(r)]
	if !ok || s.w.now >= t.expires || len(t.data) != len(r.Body) {
		return nil
	}
	return t.data
}

// flushScripts is SCRIPT FLUSH.
func (w *world) flushScripts() {
	s := w.anyStore()
	w.logf("%s loses its scripts", s.name)
	clear(s.scripts)
}
