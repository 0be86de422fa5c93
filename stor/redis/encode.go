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
	parts []part
	bufs  net.Buffers
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
	bufs, from := e.bufs[:0], 0
	for _, p := range e.parts {
		if p.at > from {
			bufs = append(bufs, e.text[from:p.at])
			from = p.at
		}
		bufs = append(bufs, p.data)
	}
	bufs = append(bufs, e.text[from:])
	e.bufs = bufs // WriteTo moves its own copy of the slice, and clears what it wrote
	_, err := bufs.WriteTo(w)
	clear(e.bufs)
	clear(e.parts)
	return err
}

func (e *encoder) request(q *request) {
	r := q.AppendRequest
	key, size := "", q.size()
	if size > 0 {
		key = temporaryKey(r)
		e.command(5, "SET", key)
		e.text = append(e.text, '$')
		e.text = strconv.AppendInt(e.text, int64(size), 10)
		e.text = append(e.text, "\r\n"...)
		e.data(r.Head)
		e.data(r.Body)
		e.text = append(e.text, "\r\n"...)
		e.bulk("PX")
		e.bulk(strconv.FormatInt(max(e.expiry.Milliseconds(), 1), 10))
	}
	if q.eval {
		e.command(18, "EVAL", e.scripts.append.text)
	} else {
		e.command(18, "EVALSHA", e.scripts.append.sha)
	}
	e.script(r, key, size)
}

// script appends the keys and arguments of the append script.
func (e *encoder) script(r *stor.AppendRequest, key string, size int) {
	replace := "0"
	if r.Replace {
		replace = "1"
	}
	if key == "" {
		key = temporaryKey(r)
	}
	for _, s := range [...]string{
		"5", keyID, controlKey(r.Vdisk), positionKey(r.Vdisk, "m", r.Position), positionKey(r.Vdisk, "d", r.Position), key,
		r.Cookie.String(), number(r.ConfigVersion), number(r.Epoch), r.ID.String(), number(r.Position),
		string(indexDigits(r.Index)), hex.EncodeToString(r.Digest[:]), number(r.Commit), strconv.Itoa(size), replace,
	} {
		e.bulk(s)
	}
}

// indexDigits is an index as scripts compare it.
func indexDigits(i int) []byte {
	return []byte{byte('0' + i/100), byte('0' + i/10%10), byte('0' + i%10)}
}

func (e *encoder) command(args int, words ...string) {
	e.text = append(e.text, '*')
	e.text = strconv.AppendInt(e.text, int64(args), 10)
	e.text = append(e.text, "\r\n"...)
	for _, w := range words {
		e.bulk(w)
	}
}

func (e *encoder) bulk(s string) {
	e.text = append(e.text, '$')
	e.text = strconv.AppendInt(e.text, int64(len(s)), 10)
	e.text = append(e.text, "\r\n"...)
	e.text = append(e.text, s...)
	e.text = append(e.text, "\r\n"...)
}

func (e *encoder) data(b []byte) {
	if len(b) > 0 {
		e.parts = append(e.parts, part{len(e.text), b})
	}
}
