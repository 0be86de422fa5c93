package aggregate

import (
	"context"
	"crypto/rand"
	"fmt"

	"tlog"
	"tlog/crypto"
	"tlog/schema"
)

// Genesis seals position 1 and publishes it, and returns the Head behind it
// when it is committed. h names the vdisk, its writer and shards; its Position
// is 0. Of a branch it has the parent's Last, Chain and Timestamp; else these
// are zero, and the chain begins at tlog.ChainStart. Errors: the publisher's,
// or class tlog.Fatal when ctx ends first: the log may or may not have begun.
func Genesis(ctx context.Context, h Head, g crypto.Genesis, key *crypto.DataKey, encode func([][]byte) error, p Publisher) (Head, error) {
	if h.Position != 0 || g.Name != h.Vdisk {
		return Head{}, fmt.Errorf("aggregate: genesis of vdisk %s: at position %d, named %s", h.Vdisk, h.Position+1, g.Name)
	}
	if h.Last == 0 {
		h.Chain = tlog.ChainStart(h.Vdisk)
	}
	h.Position = 1
	header := crypto.Header{
		Kind: crypto.KindGenesis, Vdisk: h.UUID, Position: 1, First: h.Last + 1, Last: h.Last,
		FirstTimestamp: h.Timestamp, LastTimestamp: h.Timestamp,
		K: uint8(h.K), M: uint8(h.M), Genesis: &g,
	}
	pre := prelude(&h, &header, h.Chain, h.Timestamp)
	plain := schema.AppendPrelude(nil, &pre)
	header.PlainLength, header.StoredLength = uint32(len(plain)), uint32(len(plain))
	sealed, err := crypto.Seal(key, header, plain, encode, rand.Reader)
	if err != nil {
		return Head{}, err
	}
	h.Digest = sealed.Chain(tlog.Hash{})
	done := make(chan error, 1)
	p.Publish(1, h.Digest, sealed, func(err error) { done <- err })
	select {
	case err := <-done:
		if err != nil {
			return Head{}, err
		}
		return h, nil
	case <-ctx.Done():
		return Head{}, tlog.Fatalf("aggregate: genesis of vdisk %s is not yet committed: %w", h.Vdisk, context.Cause(ctx))
	}
}
