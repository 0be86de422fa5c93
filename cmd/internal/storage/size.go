package storage

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes, written as 1048576, 1024K, 1M or 1MiB: as for
// qemu and nbdkit, K, M, G, T and P are powers of 1024.
type Size int64

// Set implements pflag.Value.
func (s *Size) Set(text string) error {
	digits := strings.TrimRight(strings.TrimSuffix(text, "iB"), "KMGTPkmgtp")
	unit := strings.TrimSuffix(text[len(digits):], "iB")
	n, err := strconv.ParseInt(digits, 10, 64)
	shift := 0
	if unit != "" {
		shift = 10 * (1 + strings.Index("KMGTP", strings.ToUpper(unit)))
	}
	if err != nil || n <= 0 || len(unit) > 1 || unit == "" && digits != text || n > math.MaxInt64>>shift {
		return fmt.Errorf("want a size in bytes, or with K, M, G or T, as 10G")
	}
	*s = Size(n << shift)
	return nil
}

// String implements pflag.Value.
func (s *Size) String() string { return strconv.FormatInt(int64(*s), 10) }

// Type implements pflag.Value.
func (s *Size) Type() string { return "SIZE" }
