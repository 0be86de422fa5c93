//go:build !unix

package group

import "errors"

func openFile(Config) ([]byte, error) {
	return nil, errors.New("consistency groups need a Unix system")
}

// Close ends the attachment.
func (c *Clock) Close() error { return nil }
