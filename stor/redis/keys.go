package redis

import (
	"encoding/hex"
	"fmt"
	"strconv"

	"tlog"
	"tlog/stor"
)

// The keys of one server. Numbers in keys and values are of 20 decimal digits,
// so that scripts compare them as strings: Lua's numbers end at 2^53.
const (
	keyID     = "tlog:id"     // hash: cookie, config, manifest
	keyVdisks = "tlog:vdisks" // set of UUIDs

	metaSize = 20 + 1 + 64 + 1 + 3 // epoch, digest, index
)

func number[N ~uint64](n N) string { return fmt.Sprintf("%020d", uint64(n)) }

func appendNumber[N ~uint64](b []byte, n N) []byte {
	var d [20]byte
	v := uint64(n)
	for i := len(d) - 1; i >= 0; i-- {
		d[i] = byte('0' + v%10)
		v /= 10
	}
	return append(b, d[:]...)
}

func parseNumber[N ~uint64](s string) (N, error) {
	if len(s) != 20 {
		return 0, fmt.Errorf("%q is not a number of 20 digits", clip(s))
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number of 20 digits", clip(s))
	}
	return N(n), nil
}

func appendUUID(b []byte, u tlog.UUID) []byte {
	b = append(hex.AppendEncode(b, u[0:4]), '-')
	b = append(hex.AppendEncode(b, u[4:6]), '-')
	b = append(hex.AppendEncode(b, u[6:8]), '-')
	b = append(hex.AppendEncode(b, u[8:10]), '-')
	return hex.AppendEncode(b, u[10:16])
}

// appendIndex appends an index as scripts compare it: three digits.
func appendIndex(b []byte, i int) []byte {
	return append(b, byte('0'+i/100), byte('0'+i/10%10), byte('0'+i%10))
}

func appendVdiskKey(b []byte, v tlog.UUID, kind string) []byte {
	b = append(b, "tlog:{"...)
	b = append(appendUUID(b, v), "}:"...)
	return append(b, kind...)
}

func controlKey(v tlog.UUID) string { return string(appendVdiskKey(nil, v, "ctl")) }

func shardKey(v tlog.UUID, p tlog.Position) string {
	return string(appendNumber(appendVdiskKey(nil, v, "d:"), p))
}

// appendTemporaryKey appends the name under which a shard waits for its script.
func appendTemporaryKey(b []byte, r *stor.AppendRequest) []byte {
	b = append(appendNumber(appendVdiskKey(b, r.Vdisk, "t:"), r.Epoch), ':')
	b = append(appendUUID(b, r.ID), ':')
	return appendIndex(append(appendNumber(b, r.Position), ':'), r.Index)
}

// parseMeta reads the value of a meta key:
//
//	off size field
//	  0   20 epoch, decimal
//	 20    1 space
//	 21   64 chain digest, hexadecimal
//	 85    1 space
//	 86    3 index, decimal
func parseMeta(s string, pos tlog.Position) (stor.Meta, error) {
	m := stor.Meta{Position: pos}
	if len(s) != metaSize || s[20] != ' ' || s[85] != ' ' {
		return m, fmt.Errorf("meta of position %d: %q has not its form", pos, clip(s))
	}
	var err error
	if m.Epoch, err = parseNumber[tlog.Epoch](s[:20]); err != nil {
		return m, fmt.Errorf("meta of position %d: epoch: %w", pos, err)
	}
	if m.Digest, err = parseHash(s[21:85]); err != nil {
		return m, fmt.Errorf("meta of position %d: digest: %w", pos, err)
	}
	index, err := strconv.ParseUint(s[86:], 10, 8)
	if err != nil || index > maxIndex {
		return m, fmt.Errorf("meta of position %d: index %q", pos, s[86:])
	}
	m.Index = int(index)
	return m, nil
}

// parseHash reads 64 hexadecimal digits.
func parseHash(s string) (h tlog.Hash, err error) {
	if n, err := hex.Decode(h[:], []byte(s)); err != nil || n != len(h) {
		return h, fmt.Errorf("%q is not a digest", clip(s))
	}
	return h, nil
}

// parseOwner reads an owner's epoch and UUID; the empty UUID is none.
func parseOwner(epoch, id string) (stor.Owner, error) {
	var o stor.Owner
	var err error
	if o.Epoch, err = parseNumber[tlog.Epoch](epoch); err != nil {
		return o, fmt.Errorf("epoch: %w", err)
	}
	if id == "" {
		return o, nil
	}
	if o.ID, err = tlog.ParseUUID(id); err != nil {
		return o, fmt.Errorf("owner: %w", err)
	}
	return o, nil
}

// clip shortens what a server said for a message.
func clip(s string) string {
	const most = 200
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
