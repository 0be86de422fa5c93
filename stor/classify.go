package stor

import (
	"errors"

	"tlog/internal/core/appending"
)

// classify is the class of a server's answer to an append or fence, for the
// core: errors that are no refusal leave the outcome open.
func classify(err error) (appending.Outcome, *Refusal) {
	if err == nil {
		return appending.Stored, nil
	}
	var r *Refusal
	if !errors.As(err, &r) {
		return appending.Unknown, &Refusal{Err: err}
	}
	switch r.Code {
	case Fenced:
		return appending.Fenced, r
	case HasIndex:
		return appending.HasIndex, r
	case NoData:
		return appending.NoData, r
	case Conflict:
		return appending.Conflict, r
	case Busy:
		return appending.Busy, r
	case Full:
		return appending.Full, r
	case WrongStore, OldConfig, Replica, Denied, Unfit:
		return appending.Unusable, r
	}
	return appending.Unknown, r
}
