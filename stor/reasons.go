package stor

import (
	"errors"
	"strings"
)

// because joins what several servers said into one reason, as text only: that
// one of them is empty or misconfigured must not make the whole look so to
// errors.Is. Without any, everybody answered.
func because(errs []error) error {
	var lines []string
	for _, err := range errs {
		if err != nil {
			lines = append(lines, strings.ReplaceAll(err.Error(), "\n", "; "))
		}
	}
	if len(lines) == 0 {
		return errors.New("every server answered")
	}
	return errors.New(strings.Join(lines, "; "))
}
