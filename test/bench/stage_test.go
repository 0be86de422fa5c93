//go:build e2e

package bench

import (
	"crypto/aes"
	"crypto/cipher"
	"io"
	"net"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/reedsolomon"
	"github.com/zeebo/blake3"

	"tlog"
	"tlog/crypto"
	"tlog/internal/core/session"
	"tlog/schema"
)

// One aggregation: what a stage's operation works on.
const (
	stageRecords = 256
	stageRecord  = 4 << 10
	stageBytes   = stageRecords * stageRecord
	perBatch     = 64 // records of a message
)

// BenchmarkStage is each stage alone, by the shortest way there is, over the
// 256 records of 4 KiB of one aggregation. Their sum is what the path's
// processor time is compared with.
func BenchmarkStage(b *testing.B) {
	records := stageHistory()
	batches := stageBatches(records)
	b.Run("hash", func(b *testing.B) { stage(b, func() { stageHash(tlog.HashBlake2b, records) }) })
	b.Run("hash-sha256", func(b *testing.B) { stage(b, func() { stageHash(tlog.HashSHA256, records) }) })
	b.Run("chain", func(b *testing.B) { stage(b, func() { stageChain(records) }) })
	b.Run("encode", func(b *testing.B) { stageEncode(b, batches) })
	b.Run("tcp", stageTCP)
	b.Run("decode", func(b *testing.B) { stageDecode(b, batches) })
	b.Run("session", func(b *testing.B) { stageSession(b, records, batches) })
	b.Run("s2", stageS2)
	b.Run("gcm", stageGCM)
	b.Run("erasure", stageErasure)
	b.Run("digests", stageDigests)
}

// stage measures f, which works on one aggregation.
func stage(b *testing.B, f func()) {
	b.SetBytes(stageBytes)
	b.ReportAllocs()
	m := startMeter(b, nil)
	for b.Loop() {
		f()
	}
	m.report(int64(b.N) * stageBytes)
}

func stageHistory() []tlog.Record {
	records := make([]tlog.Record, stageRecords)
	for i := range records {
		data := content[i*stageRecord:][:stageRecord]
		records[i] = tlog.Record{
			Sequence: tlog.Sequence(i + 1), Offset: uint64(i * stageRecord), Size: stageRecord, Timestamp: 1,
			Operation: tlog.OpWrite, Hash: crypto.HashRecord(tlog.HashBlake2b, data), Data: data,
		}
	}
	return records
}

func stageBatches(records []tlog.Record) []schema.Batch {
	var batches []schema.Batch
	c := tlog.ChainStart(vdisk)
	for at := 0; at < len(records); at += perBatch {
		for i := range perBatch {
			c = tlog.ChainNext(c, &records[at+i])
		}
		batches = append(batches, schema.Batch{Records: records[at : at+perBatch], Chain: c})
	}
	return batches
}

func stageHash(alg tlog.HashAlgorithm, records []tlog.Record) {
	for i := range records {
		crypto.HashRecord(alg, records[i].Data)
	}
}

func stageChain(records []tlog.Record) {
	c := tlog.ChainStart(vdisk)
	for i := range records {
		c = tlog.ChainNext(c, &records[i])
	}
}

func stageEncode(b *testing.B, batches []schema.Batch) {
	var vecs [][]byte
	var scratch []byte
	stage(b, func() {
		for i := range batches {
			vecs, scratch = schema.BatchVectors(vecs[:0], scratch[:0], &batches[i])
		}
	})
}

func stageDecode(b *testing.B, batches []schema.Batch) {
	var frames [][]byte
	for i := range batches {
		frames = append(frames, schema.AppendBatch(nil, &batches[i]))
	}
	var got schema.Batch
	stage(b, func() {
		for _, f := range frames {
			if err := schema.DecodeBatch(f, &got); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// stageTCP sends messages of 64 records with one writev each, and receives them.
func stageTCP(b *testing.B) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	received := make(chan error, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			received <- err
			return
		}
		defer c.Close()
		buf := make([]byte, perBatch*stageRecord)
		for err == nil {
			_, err = io.ReadFull(c, buf)
		}
		received <- err
	}()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	var vecs [perBatch][]byte
	stage(b, func() {
		for at := 0; at < stageBytes; at += perBatch * stageRecord {
			for i := range vecs {
				vecs[i] = content[at+i*stageRecord:][:stageRecord]
			}
			buffers := net.Buffers(vecs[:])
			if _, err := buffers.WriteTo(c); err != nil {
				b.Fatal(err)
			}
		}
	})
	c.Close()
	if err := <-received; err != io.EOF {
		b.Fatal(err)
	}
}

// stageSession is what the server decides about an aggregation's batches: order,
// chain, duplicates, answers. Record hashes are not checked here.
func stageSession(b *testing.B, records []tlog.Record, batches []schema.Batch) {
	me := tlog.UUID{1}
	stage(b, func() {
		m := session.New(session.Limits{}, session.Disk{Size: diskSize, BlockSize: 4096}, session.Head{Chain: tlog.ChainStart(vdisk)}, nil)
		m.Step(session.Attach{Conn: 1, Client: me})
		m.Step(session.BarrierDone{})
		for i := range batches {
			m.Step(session.Batch{Conn: 1, Records: batches[i].Records, Chain: batches[i].Chain, Now: 1, Payload: i})
		}
		if got := m.Head().Last; got != records[len(records)-1].Sequence {
			b.Fatalf("the session is at %d", got)
		}
		m.Step(session.Committed{Last: m.Head().Last, Chain: m.Head().Chain})
	})
}

// stageS2 compresses what cannot be compressed.
func stageS2(b *testing.B) {
	dst := make([]byte, s2.MaxEncodedLen(stageBytes))
	stage(b, func() { s2.Encode(dst, content[:stageBytes]) })
}

func stageGCM(b *testing.B) {
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, stageBytes, stageBytes+gcm.Overhead())
	nonce := make([]byte, gcm.NonceSize())
	stage(b, func() { gcm.Seal(buf[:0], nonce, buf[:stageBytes], nil) })
}

func stageShards() [][]byte {
	all := make([][]byte, shards)
	for i := range all {
		all[i] = append([]byte(nil), content[i*stageBytes/dataShards:][:stageBytes/dataShards]...)
	}
	return all
}

func stageErasure(b *testing.B) {
	code, err := reedsolomon.New(dataShards, parityShards, reedsolomon.WithMaxGoroutines(1))
	if err != nil {
		b.Fatal(err)
	}
	all := stageShards()
	stage(b, func() {
		if err := code.Encode(all); err != nil {
			b.Fatal(err)
		}
	})
}

func stageDigests(b *testing.B) {
	all := stageShards()
	stage(b, func() {
		for _, s := range all {
			blake3.Sum256(s)
		}
	})
}
