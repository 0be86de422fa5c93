package redis

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gomodule/redigo/redis"

	"tlog"
	"tlog/stor"
)

// codes are the classes of Redis's error answers, by their first word.
func codeOf(message string) stor.Code {
	word, rest, _ := strings.Cut(message, " ")
	switch word {
	case "LOADING", "BUSY", "TRYAGAIN", "UNKILLABLE":
		return stor.Busy
	case "OOM", "MISCONF", "NOREPLICAS":
		return stor.Full
	case "READONLY", "MOVED", "ASK", "CLUSTERDOWN", "CROSSSLOT", "MASTERDOWN":
		return stor.Replica
	case "NOAUTH", "WRONGPASS", "NOPERM", "WRONGTYPE", "DENIED":
		return stor.Denied
	case "ERR":
		switch {
		case strings.HasPrefix(rest, "max number of clients"), strings.HasPrefix(rest, "max number of connections"):
			return stor.Busy
		case strings.HasPrefix(rest, "invalid password"), strings.HasPrefix(rest, "AUTH "), strings.HasPrefix(rest, "Client sent AUTH"):
			return stor.Denied
		}
	}
	return stor.ServerError
}

// advice ends a refusal that a person can do something about.
func advice(message string) string {
	word, _, _ := strings.Cut(message, " ")
	switch word {
	case "NOAUTH":
		return "; give a user and password for this server"
	case "WRONGPASS":
		return "; check the user and password given for this server"
	case "NOPERM":
		return "; docs/format-redis.md lists the commands the user needs"
	case "WRONGTYPE":
		return "; something else uses tlog's keys in this database"
	case "OOM":
		return "; raise maxmemory, or prune"
	}
	return ""
}

// answered reports whether err is an error answer of Redis, as against a
// failed connection, or of a refusal of our own.
func answered(err error) bool {
	_, ok := errors.AsType[redis.Error](err)
	return ok && !refused(err)
}

func refused(err error) bool {
	_, ok := errors.AsType[*stor.Refusal](err)
	return ok
}

// judge turns what came back of a request into the errors of stor.Server: an
// error answer is a refusal, anything else leaves the outcome unknown.
func (s *Server) judge(what string, err error) error {
	if err == nil || refused(err) || tlog.ClassOf(err) != tlog.Unclassified {
		return err
	}
	if said, ok := errors.AsType[redis.Error](err); ok {
		return s.refusal(codeOf(string(said)), "%s: %w%s", what, said, advice(string(said)))
	}
	if _, ok := errors.AsType[ended](err); ok {
		return fmt.Errorf("stor/redis: %s: %s: %w", s.name, what, err)
	}
	return tlog.Transientf("stor/redis: %s: %s: %w", s.name, what, err)
}

func (s *Server) refusal(code stor.Code, format string, a ...any) *stor.Refusal {
	return &stor.Refusal{Code: code, Server: s.name, Err: fmt.Errorf(format, a...)}
}

// verdict reads a script's answer: its word, and what follows. A word that
// refuses is given as a *stor.Refusal.
func (s *Server) verdict(what string, reply any, err error) (word, rest string, _ error) {
	text, err := redis.String(reply, err)
	if err != nil {
		return "", "", s.judge(what, err)
	}
	word, rest, _ = strings.Cut(text, " ")
	switch word {
	case "OK", "INDEX":
		return word, rest, nil
	case "FENCED":
		return word, rest, s.fenced(what, rest)
	case "NODATA":
		return word, rest, s.refusal(stor.NoData, "%s: the shard is not there", what)
	case "GARBLED":
		return word, rest, s.refusal(stor.ServerError, "%s: the request did not arrive as it was sent", what)
	case "CONFLICT":
		return word, rest, s.refusal(stor.Conflict, "%s: another one of the same number is held: %s", what, clip(rest))
	case "WRONGSTORE":
		if rest == "" {
			return word, rest, s.refusal(stor.WrongStore, "%s: %w; initialise it, or replace it in the pool", what, stor.ErrEmpty)
		}
		return word, rest, s.refusal(stor.WrongStore, "%s: its cookie is %s: another server, or one that was wiped", what, clip(rest))
	case "OLDCONFIG":
		return word, rest, s.refusal(stor.OldConfig, "%s: it knows config version %s; reload the configuration", what, clip(rest))
	case "NOTEMPTY":
		return word, rest, s.refusal(stor.Denied, "%s: the database holds %s keys of something else; use an empty one", what, clip(rest))
	case "DAMAGED":
		return word, rest, s.refusal(stor.Denied, "%s: the meta held is not one of tlog's: %q", what, clip(rest))
	}
	return word, rest, s.refusal(stor.ServerError, "%s: unknown answer %q", what, clip(text))
}

func (s *Server) fenced(what, rest string) error {
	epoch, id, _ := strings.Cut(rest, " ")
	held, err := parseOwner(epoch, id)
	if err != nil {
		return s.refusal(stor.ServerError, "%s: fenced by %q: %w", what, clip(rest), err)
	}
	r := s.refusal(stor.Fenced, "%s: epoch %d of owner %v is held", what, held.Epoch, held.ID)
	r.Owner = held
	return r
}
