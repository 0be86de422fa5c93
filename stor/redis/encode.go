package redis

import (
	"encoding/hex"
	"io"
	"net"
	"strconv"
	"time"

	"tlog/stor"
)

// encoder writes appends in RESP. redigo's Send would need head and body in
// one slice and makes three system calls of each; here the shard is never
// copied, and a batch is one writev.
type encoder struct {
	scripts *scripts
	expiry  time.Duration // of a temporary key

	text  []byte
	words []byte    // keys and arguments of a script
	word  [192]byte // room for the longest key
	parts []part
	all   [][]byte
	bufs  net.Buffers // of all, what is still to be written
}

// part is a slice of data, and where in text it goes.
type part struct {
	at   int
	data []byte
}

// write writes a batch to w.
func (e *encoder) write(w io.Writer, batch []*request) error {
	e.text, e.parts = e.text[:0], e.parts[:0]
	for _, q := range batch {
		e.request(q)
	}
	bufs, from := e.all[:0], 0
	for _, p := range e.parts {
		if p.at > from {
			bufs = append(bufs, e.text[from:p.at])
			from = p.at
		}
		bufs = append(bufs, p.data)
	}
	bufs = append(bufs, e.text[from:])
	e.all, e.bufs = bufs, bufs // WriteTo moves e.bufs, and clears what it wrote
	_, err := e.bufs.WriteTo(w)
	clear(e.all)
	clear(e.parts)
	return err
}

func (e *encoder) request(q *request) {
	r, size := q.AppendRequest, q.size
	if size > 0 {
		e.command(5, "SET")
		e.bytes(appendTemporaryKey(e.word[:0], r))
		e.text = append(e.text, '$')
		e.text = strconv.AppendInt(e.text, int64(size), 10)
		e.text = append(e.text, "\r\n"...)
		e.data(r.Head)
		e.data(r.Body)
		e.text = append(e.text, "\r\n"...)
		e.bulk("PX")
		e.bytes(strconv.AppendInt(e.word[:0], max(e.expiry.Milliseconds(), 1), 10))
	}
	if q.eval {
		e.command(19, "EVAL")
		e.bulk(e.scripts.append.text)
	} else {
		e.command(19, "EVALSHA")
		e.bulk(e.scripts.append.sha)
	}
	e.words = e.words[:0]
	e.keys(r)
	e.arguments(r, size)
	e.bytes(wholeSum(e.word[:0], e.words[:len(e.words)-1]))
}

// said is bytes of a key or an argument.
func (e *encoder) said(word []byte) {
	e.words = append(append(e.words, word...), ' ')
	e.bytes(word)
}

// keys appends the number of keys of the append script, and the keys.
func (e *encoder) keys(r *stor.AppendRequest) {
	e.said(append(e.word[:0], '5'))
	e.said(append(e.word[:0], keyID...))
	e.said(appendVdiskKey(e.word[:0], r.Vdisk, "ctl"))
	e.said(appendNumber(appendVdiskKey(e.word[:0], r.Vdisk, "m:"), r.Position))
	e.said(appendNumber(appendVdiskKey(e.word[:0], r.Vdisk, "d:"), r.Position))
	e.said(appendTemporaryKey(e.word[:0], r))
}

// arguments appends ARGV of the append script, but for the last.
func (e *encoder) arguments(r *stor.AppendRequest, size int) {
	e.said(appendUUID(e.word[:0], r.Cookie))
	e.said(appendNumber(e.word[:0], r.ConfigVersion))
	e.said(appendNumber(e.word[:0], r.Epoch))
	e.said(appendUUID(e.word[:0], r.ID))
	e.said(appendNumber(e.word[:0], r.Position))
	e.said(appendIndex(e.word[:0], r.Index))
	e.said(hex.AppendEncode(e.word[:0], r.Digest[:]))
	e.said(appendNumber(e.word[:0], r.Commit))
	e.said(strconv.AppendInt(e.word[:0], int64(size), 10))
	if r.Replace {
		e.said(append(e.word[:0], '1'))
	} else {
		e.said(append(e.word[:0], '0'))
	}
}

// command begins one of so many words, the first of which is name.
func (e *encoder) command(words int, name string) {
	e.text = append(e.text, '*')
	e.text = strconv.AppendInt(e.text, int64(words), 10)
	e.text = append(e.text, "\r\n"...)
	e.bulk(name)
}

func (e *encoder) bulk(s string) {
	e.text = append(e.text, '$')
	e.text = strconv.AppendInt(e.text, int64(len(s)), 10)
	e.text = append(e.text, "\r\n"...)
	e.text = append(e.text, s...)
	e.text = append(e.text, "\r\n"...)
}

// bytes is bulk for a word that was made in e.word.
func (e *encoder) bytes(word []byte) {
	e.text = append(e.text, '$')
	e.text = strconv.AppendInt(e.text, int64(len(word)), 10)
	e.text = append(e.text, "\r\n"...)
	e.text = append(e.text, word...)
	e.text = append(e.text, "\r\n"...)
}

func (e *encoder) data(b []byte) {
	if len(b) > 0 {
		e.parts = append(e.parts, part{len(e.text), b})
	}
}
