package sim

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"

	"tlog"
	"tlog/internal/core/session"
)

// aggregation is a sealed position. Its content, which the digest covers, is
// as in the real format all that a reader gets; the struct stands for what
// decoding it gives, and is found by the digest of what was really read.
type aggregation struct {
	position tlog.Position
	prev     tlog.Hash // digest of the position before
	digest   tlog.Hash
	head     session.Head // behind it: last record, writer, numbering
	disk     session.Disk // of a genesis
	records  []tlog.Record
	before   tlog.Hash // chain value before the first record
	content  []byte
}

// seal fixes the content of a; salt is what makes two attempts differ.
func (w *world) seal(a *aggregation, salt uint64) {
	b := append([]byte(nil), w.vdisk[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(a.position))
	b = binary.LittleEndian.AppendUint64(b, salt)
	b = append(b, a.prev[:]...)
	h := &a.head
	for _, v := range []uint64{uint64(h.Last), h.Timestamp, uint64(h.Generation), uint64(h.Hash), uint64(h.Base), h.First, a.disk.Size} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	b = append(append(append(b, h.Chain[:]...), h.Client[:]...), a.before[:]...)
	for i := range a.records {
		r := &a.records[i]
		b = append(append(r.AppendHeader(b), r.Hash[:]...), r.Data...)
	}
	a.content = b
	a.digest = sha256.Sum256(b)
	w.sealed[a.digest] = a
	w.made = append(w.made, a)
}

const shardTrailer = 9

// shard is what is stored of index i. Every shard of the model holds the whole
// content; that k distinct ones are needed to use it is for the reader to keep.
func (a *aggregation) shard(i int) []byte {
	b := append(make([]byte, 0, len(a.content)+shardTrailer), a.content...)
	b = append(b, byte(i))
	sum := sha256.Sum256(append(a.digest[:], byte(i)))
	return append(b, sum[:shardTrailer-1]...)
}

// checkShard is the model of crypto.Check: nil if b is not a good shard of the
// position.
func (w *world) checkShard(b []byte, pos tlog.Position) (*aggregation, int) {
	if len(b) < len(w.vdisk)+8+shardTrailer {
		return nil, -1
	}
	content, trailer := b[:len(b)-shardTrailer], b[len(b)-shardTrailer:]
	if !bytes.Equal(content[:16], w.vdisk[:]) || binary.LittleEndian.Uint64(content[16:]) != uint64(pos) {
		return nil, -1
	}
	digest := tlog.Hash(sha256.Sum256(content))
	sum := sha256.Sum256(append(digest[:], trailer[0]))
	if !bytes.Equal(sum[:shardTrailer-1], trailer[1:]) {
		return nil, -1
	}
	a := w.sealed[digest]
	if a == nil {
		return nil, -1
	}
	return a, int(trailer[0])
}

// verify is the model of aggregate.Decode: content and header are of one
// another, and every record has its hash.
func (a *aggregation) verify() bool {
	chain := a.before
	for i := range a.records {
		r := &a.records[i]
		if hashOf(r.Data) != r.Hash {
			return false
		}
		chain = tlog.ChainNext(chain, r)
	}
	return chain == a.head.Chain
}

func hashOf(data []byte) tlog.Hash { return sha256.Sum256(data) }
