package aggregate

import (
	"fmt"
	"testing"
	"time"

	"tlog"
)

// The effective configuration of the zero value, and of one beyond the limits.
func TestDefaults(t *testing.T) {
	show := func(c Config) string {
		c = c.withDefaults()
		return fmt.Sprintf("%d bytes, %d records, %v, %d in flight, %d bytes sealed", c.MaxBytes, c.MaxRecords, c.MaxAge, c.InFlight, c.Sealers.limit)
	}
	if got, want := show(Config{}), "1048576 bytes, 256 records, 1s, 8 in flight, 134217728 bytes sealed"; got != want {
		t.Errorf("default: %s, want %s", got, want)
	}
	c := Config{MaxBytes: 1 << 30, MaxRecords: 1, MaxAge: time.Minute, InFlight: 2, Sealers: NewSealers(1, 5)}
	if got, want := show(c), fmt.Sprintf("%d bytes, 1 records, 1m0s, 2 in flight, 5 bytes sealed", tlog.MaxAggregation); got != want {
		t.Errorf("set: %s, want %s", got, want)
	}
}
