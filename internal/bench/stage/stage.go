// Package stage is each stage of the path alone, by the shortest way there is,
// over the records of one aggregation. The sum of their processor time is what
// the path's is judged by; docs/performance.md says how.
//
// What depends on how well data compresses (sealing and all after it) works on
// the bytes that would be stored, and counts those that came in.
package stage

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/reedsolomon"
	"github.com/zeebo/blake3"

	"tlog"
	"tlog/crypto"
	"tlog/internal/core/session"
	"tlog/schema"
)

const (
	vdisk    = tlog.VdiskID("bench")
	diskSize = 1 << 40
	perBatch = 64 // records of a message, at most
)

// Config of the work. All fields are needed.
type Config struct {
	Content     []byte // records' data are cut from its start
	Record      int    // bytes of a record
	Records     int    // of an aggregation
	Data, Parts int    // shards: k, and k+m
}

// Bytes is the payload of one operation of a stage.
func (c *Config) Bytes() int { return c.Record * c.Records }

// Stored is how much of an aggregation's payload is stored: compressed, unless
// that helps too little.
func (c *Config) Stored() int {
	n := len(s2.Encode(nil, c.payload()))
	if n > c.Bytes()*97/100 {
		return c.Bytes()
	}
	return n
}

func (c *Config) payload() []byte { return c.Content[:c.Bytes()] }

// Stage is one of them. Do works on one aggregation.
type Stage struct {
	Name  string
	Do    func() error
	close func() error
}

// Close gives back what the stage needed.
func (s *Stage) Close() error {
	if s.close == nil {
		return nil
	}
	return s.close()
}

// Names are the stages there are.
var Names = []string{"hash-blake2b", "hash-sha256", "chain", "encode", "tcp", "decode", "session", "s2", "gcm", "erasure", "reconstruct", "digests"}

// Open makes a stage ready.
func Open(name string, c Config) (*Stage, error) {
	if c.Record < 1 || c.Records < 1 || len(c.Content) < c.Bytes() || c.Data < 1 || c.Parts <= c.Data {
		return nil, fmt.Errorf("stage: %d records of %d bytes, %d of content, %d of %d shards: out of range", c.Records, c.Record, len(c.Content), c.Data, c.Parts)
	}
	open, ok := map[string]func(*Config) (*Stage, error){
		"hash-blake2b": func(c *Config) (*Stage, error) { return hash(c, tlog.HashBlake2b) },
		"hash-sha256":  func(c *Config) (*Stage, error) { return hash(c, tlog.HashSHA256) },
		"chain":        chain, "encode": encode, "tcp": tcp, "decode": decode, "session": sessions,
		"s2": compress, "gcm": gcm, "erasure": erasure, "reconstruct": reconstruct, "digests": digests,
	}[name]
	if !ok {
		return nil, fmt.Errorf("stage: there is no %q", name)
	}
	s, err := open(&c)
	if err != nil {
		return nil, fmt.Errorf("stage: %s: %w", name, err)
	}
	s.Name = name
	return s, nil
}

// Records are those of one aggregation.
func Records(c *Config) []tlog.Record {
	records := make([]tlog.Record, c.Records)
	for i := range records {
		data := c.Content[i*c.Record:][:c.Record]
		records[i] = tlog.Record{
			Sequence: tlog.Sequence(i + 1), Offset: uint64(i * c.Record), Size: uint32(c.Record), Timestamp: 1,
			Operation: tlog.OpWrite, Hash: crypto.HashRecord(tlog.HashBlake2b, data), Data: data,
		}
	}
	return records
}

func batches(records []tlog.Record) []schema.Batch {
	var out []schema.Batch
	c := tlog.ChainStart(vdisk)
	for at := 0; at < len(records); at += perBatch {
		rs := records[at:min(at+perBatch, len(records))]
		for i := range rs {
			c = tlog.ChainNext(c, &rs[i])
		}
		out = append(out, schema.Batch{Records: rs, Chain: c})
	}
	return out
}

func hash(c *Config, alg tlog.HashAlgorithm) (*Stage, error) {
	return &Stage{Do: func() error {
		for at := 0; at < c.Bytes(); at += c.Record {
			crypto.HashRecord(alg, c.Content[at:at+c.Record])
		}
		return nil
	}}, nil
}

func chain(c *Config) (*Stage, error) {
	records := Records(c)
	return &Stage{Do: func() error {
		v := tlog.ChainStart(vdisk)
		for i := range records {
			v = tlog.ChainNext(v, &records[i])
		}
		return nil
	}}, nil
}

func encode(c *Config) (*Stage, error) {
	all := batches(Records(c))
	var vecs [][]byte
	var scratch []byte
	return &Stage{Do: func() error {
		for i := range all {
			vecs, scratch = schema.BatchVectors(vecs[:0], scratch[:0], &all[i])
		}
		return nil
	}}, nil
}

func decode(c *Config) (*Stage, error) {
	var frames [][]byte
	all := batches(Records(c))
	for i := range all {
		frames = append(frames, schema.AppendBatch(nil, &all[i]))
	}
	var got schema.Batch
	return &Stage{Do: func() error {
		for _, f := range frames {
			if err := schema.DecodeBatch(f, &got); err != nil {
				return err
			}
		}
		return nil
	}}, nil
}

// tcp sends messages with one writev each over loopback, and receives them.
func tcp(c *Config) (*Stage, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	received := make(chan error, 1)
	go func() { received <- swallow(ln, min(c.Records, perBatch)*c.Record) }()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	var vecs [][]byte
	do := func() error {
		for at := 0; at < c.Records; at += perBatch {
			vecs = vecs[:0]
			for i := at; i < min(at+perBatch, c.Records); i++ {
				vecs = append(vecs, c.Content[i*c.Record:][:c.Record])
			}
			buffers := net.Buffers(vecs)
			if _, err := buffers.WriteTo(conn); err != nil {
				return err
			}
		}
		return nil
	}
	return &Stage{Do: do, close: func() error { return errors.Join(conn.Close(), <-received, ln.Close()) }}, nil
}

// swallow reads what one connection sends, n bytes at a time.
func swallow(ln net.Listener, n int) error {
	c, err := ln.Accept()
	if err != nil {
		return err
	}
	defer c.Close()
	buf := make([]byte, n)
	for err == nil {
		_, err = io.ReadFull(c, buf)
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil
	}
	return err
}

// sessions is what the server decides about an aggregation's batches: order,
// chain, duplicates, answers. Record hashes are not checked here.
func sessions(c *Config) (*Stage, error) {
	records := Records(c)
	all := batches(records)
	return &Stage{Do: func() error {
		m := session.New(session.Limits{}, session.Disk{Size: diskSize, BlockSize: 4096}, session.Head{Chain: tlog.ChainStart(vdisk)}, nil)
		m.Step(session.Attach{Conn: 1, Client: tlog.UUID{1}})
		m.Step(session.BarrierDone{})
		for i := range all {
			m.Step(session.Batch{Conn: 1, Records: all[i].Records, Chain: all[i].Chain, Now: 1, Payload: i})
		}
		if got := m.Head().Last; got != records[len(records)-1].Sequence {
			return fmt.Errorf("the session is at %d", got)
		}
		m.Step(session.Committed{Last: m.Head().Last, Chain: m.Head().Chain})
		return nil
	}}, nil
}

func compress(c *Config) (*Stage, error) {
	dst := make([]byte, s2.MaxEncodedLen(c.Bytes()))
	return &Stage{Do: func() error { s2.Encode(dst, c.payload()); return nil }}, nil
}

// gcm is sealing; opening costs the same.
func gcm(c *Config) (*Stage, error) {
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	n := c.Stored()
	buf := make([]byte, n, n+aead.Overhead())
	copy(buf, c.Content)
	nonce := make([]byte, aead.NonceSize())
	return &Stage{Do: func() error { aead.Seal(buf[:0], nonce, buf, nil); return nil }}, nil
}

// Shard is the length of one of the shards, without its header.
func (c *Config) Shard() int { return (c.Stored() + c.Data - 1) / c.Data }

func (c *Config) shards() [][]byte {
	all := make([][]byte, c.Parts)
	n := c.Shard()
	for i := range all {
		all[i] = make([]byte, n)
		copy(all[i], c.Content[min(i, c.Data-1)*n:])
	}
	return all
}

func coder(c *Config) (reedsolomon.Encoder, error) {
	return reedsolomon.New(c.Data, c.Parts-c.Data, reedsolomon.WithMaxGoroutines(1))
}

func erasure(c *Config) (*Stage, error) {
	code, err := coder(c)
	if err != nil {
		return nil, err
	}
	all := c.shards()
	return &Stage{Do: func() error { return code.Encode(all) }}, nil
}

// reconstruct makes the first data shards again, as many as there is parity for.
func reconstruct(c *Config) (*Stage, error) {
	code, err := coder(c)
	if err != nil {
		return nil, err
	}
	all := c.shards()
	if err := code.Encode(all); err != nil {
		return nil, err
	}
	return &Stage{Do: func() error {
		for i := range min(c.Parts-c.Data, c.Data) {
			all[i] = all[i][:0]
		}
		return code.ReconstructData(all)
	}}, nil
}

func digests(c *Config) (*Stage, error) {
	all := c.shards()
	return &Stage{Do: func() error {
		for _, s := range all {
			blake3.Sum256(s)
		}
		return nil
	}}, nil
}
