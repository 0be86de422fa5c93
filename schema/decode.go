package schema

import (
	"capnproto.org/go/capnp/v3"

	"tlog"
)

// maxDepth is the deepest nesting that our structs have: a hash in a block in
// a list in a batch, the root pointer included, and some to grow.
const maxDepth = 8

// open checks that frame is one whole message of at most limit bytes and
// returns its root struct, which reads from frame.
//
// The message is never released: what its accessors return stays valid as long
// as frame does. The traversal limit bounds a message whose pointers lead to
// the same bytes again and again; twice its size covers honest ones, which
// have each byte read at most as part of a list and as an element of it.
func open(frame []byte, limit int) (capnp.Struct, error) {
	if len(frame) > limit {
		return capnp.Struct{}, tlog.Protocolf("%d bytes; the limit is %d", len(frame), limit)
	}
	f, err := parseFrame(frame)
	if err != nil {
		return capnp.Struct{}, err
	}
	if f.total != uint64(len(frame)) {
		return capnp.Struct{}, tlog.Protocolf("%d bytes behind the frame", uint64(len(frame))-f.total)
	}
	if f.total == uint64(f.header) {
		return capnp.Struct{}, tlog.Protocolf("empty frame")
	}
	msg, err := capnp.Unmarshal(frame)
	if err != nil {
		return capnp.Struct{}, tlog.WithClass(tlog.Protocol, err)
	}
	msg.TraverseLimit = 2*uint64(len(frame)) + 1024
	msg.DepthLimit = maxDepth
	root, err := msg.Root()
	if err != nil {
		return capnp.Struct{}, tlog.WithClass(tlog.Protocol, err)
	}
	// A null or wrongly typed pointer reads as a struct of zeroes.
	s := root.Struct()
	if !s.IsValid() {
		return capnp.Struct{}, tlog.Protocolf("no root struct")
	}
	return s, nil
}

// fields reads the pointer fields of one struct and keeps the first error, so
// that a decoder is a list of its fields.
type fields struct{ err error }

func (f *fields) fail(err error) {
	if f.err == nil {
		f.err = tlog.WithClass(tlog.Protocol, err)
	}
}

// fixed copies a Data field of exactly len(dst) bytes; if it is empty, dst stays as it is.
func (f *fields) fixed(dst []byte, name string, p []byte, err error) {
	switch {
	case err != nil:
		f.fail(err)
	case len(p) == len(dst):
		copy(dst, p)
	case len(p) != 0:
		f.fail(tlog.Protocolf("%s of %d bytes; it has %d", name, len(p), len(dst)))
	}
}

func (f *fields) text(s string, err error) string {
	if err != nil {
		f.fail(err)
	}
	return s
}

// done gives a decoder's error its place.
func (f *fields) done(what string) error {
	if f.err == nil {
		return nil
	}
	return malformed(what, f.err)
}

func malformed(what string, err error) error {
	return tlog.Protocolf("schema: %s: %w", what, err)
}

// DecodeHello decodes a framed HandshakeRequest. The vdisk's name, versions and
// sizes are the caller's to check.
func DecodeHello(frame []byte) (Hello, error) {
	root, err := open(frame, MaxHandshake)
	if err != nil {
		return Hello{}, malformed("hello", err)
	}
	m := HandshakeRequest(root)
	h := Hello{
		Version:       Version(m.Version()),
		FirstSequence: m.FirstSequence(),
		ResetFirst:    m.ResetFirstSequence(),
	}
	var f fields
	h.Vdisk = f.text(m.VdiskID())
	if h.Version >= Version2 {
		f.hello2(&h, m)
	}
	return h, f.done("hello")
}

// hello2 reads what version 2 added. In an older client's request these words,
// if it has them, are somebody else's.
func (f *fields) hello2(h *Hello, m HandshakeRequest) {
	h.MinVersion = Version(m.MinVersion())
	h.DiskSize = m.DiskSize()
	h.BlockSize = m.BlockSize()
	h.Generation = tlog.Generation(m.Generation())
	h.Takeover = m.Takeover()
	h.Adopt = m.Adopt()
	h.LastFlushed = tlog.Sequence(m.LastFlushed())
	client, err := m.Client()
	f.fixed(h.Client[:], "client", client, err)
	chain, err := m.Chain()
	f.fixed(h.Chain[:], "chain", chain, err)
	f.origin(&h.Origin, m)
	hashes, err := m.Hashes()
	if err != nil {
		f.fail(err)
	} else if hashes.Len() > 256 {
		f.fail(tlog.Protocolf("%d hash algorithms", hashes.Len()))
	} else {
		for i := range hashes.Len() {
			h.Hashes = append(h.Hashes, tlog.HashAlgorithm(hashes.At(i)))
		}
	}
}

func (f *fields) origin(o *tlog.Origin, m HandshakeRequest) {
	o.Position = tlog.Position(m.OriginPosition())
	vdisk, err := m.Origin()
	f.fixed(o.Vdisk[:], "origin", vdisk, err)
	digest, err := m.OriginDigest()
	f.fixed(o.Digest[:], "origin's digest", digest, err)
}

// DecodeWelcome decodes a framed HandshakeResponse.
func DecodeWelcome(frame []byte) (Welcome, error) {
	root, err := open(frame, MaxHandshake)
	if err != nil {
		return Welcome{}, malformed("welcome", err)
	}
	m := HandshakeResponse(root)
	v, status := Version(m.Version()), tlog.HandshakeStatus(m.Status())
	if v < Version2 {
		return Welcome{Version: v, Status: status}, nil
	}
	w := Welcome{
		Version:       v,
		Status:        status,
		LastFlushed:   tlog.Sequence(m.LastFlushed()),
		Generation:    tlog.Generation(m.Generation()),
		Epoch:         tlog.Epoch(m.Epoch()),
		LastTimestamp: m.LastTimestamp(),
		CreditRecords: m.CreditRecords(),
		CreditBytes:   m.CreditBytes(),
		Hash:          tlog.HashAlgorithm(m.Hash()),
		DiskSize:      m.DiskSize(),
		BlockSize:     m.BlockSize(),
	}
	var f fields
	chain, err := m.Chain()
	f.fixed(w.Chain[:], "chain", chain, err)
	vdisk, err := m.Vdisk()
	f.fixed(w.Vdisk[:], "vdisk", vdisk, err)
	w.Durability = f.text(m.Durability())
	w.Message = f.text(m.Message_())
	return w, f.done("welcome")
}

// DecodeResponse decodes a framed TlogResponse of either version.
func DecodeResponse(frame []byte) (Response, error) {
	var r Response
	if canonicalResponse(frame, &r) {
		return r, nil
	}
	return otherResponse(frame)
}

func otherResponse(frame []byte) (Response, error) {
	root, err := open(frame, MaxResponse)
	if err != nil {
		return Response{}, malformed("response", err)
	}
	m := TlogResponse(root)
	r := Response{
		Status:        tlog.BlockStatus(m.Status()),
		UpTo:          tlog.Sequence(m.UpTo()),
		Epoch:         tlog.Epoch(m.Epoch()),
		Expected:      tlog.Sequence(m.Expected()),
		CreditRecords: m.CreditRecords(),
		CreditBytes:   m.CreditBytes(),
	}
	var f fields
	list, err := m.Sequences()
	if err != nil {
		f.fail(err)
	} else if n := list.Len(); n > len(frame)/wordSize {
		// A list of elements without size costs its sender nothing.
		f.fail(tlog.Protocolf("%d sequences in %d bytes", n, len(frame)))
	} else if n > 0 {
		r.Sequences = make([]uint64, n)
		for i := range r.Sequences {
			r.Sequences[i] = list.At(i)
		}
	}
	chain, err := m.Chain()
	f.fixed(r.Chain[:], "chain", chain, err)
	r.Message = f.text(m.Message_())
	return r, f.done("response")
}

// DecodeCommand decodes a framed Command; the type is the one inside, which the
// caller compares with the type byte.
func DecodeCommand(frame []byte) (MessageType, uint64, error) {
	if t, seq, ok := canonicalCommand(frame); ok {
		return t, seq, nil
	}
	return otherCommand(frame)
}

func otherCommand(frame []byte) (MessageType, uint64, error) {
	root, err := open(frame, MaxCommand)
	if err != nil {
		return 0, 0, malformed("command", err)
	}
	m := Command(root)
	return MessageType(m.Type()), m.Sequence(), nil
}

// DecodePrelude decodes a framed TlogAggregation.
func DecodePrelude(frame []byte) (Prelude, error) {
	root, err := open(frame, MaxHandshake)
	if err != nil {
		return Prelude{}, malformed("prelude", err)
	}
	m := TlogAggregation(root)
	p := Prelude{
		Size:          m.Size(),
		Timestamp:     m.Timestamp(),
		Generation:    tlog.Generation(m.Generation()),
		Hash:          tlog.HashAlgorithm(m.Hash()),
		Base:          m.Base(),
		First:         m.First(),
		Version1:      m.Version1(),
		LastTimestamp: m.LastTimestamp(),
	}
	var f fields
	p.Vdisk = tlog.VdiskID(f.text(m.VdiskID()))
	if err := p.Vdisk.Check(); err != nil {
		f.fail(err)
	}
	chain, err := m.Chain()
	f.fixed(p.Chain[:], "chain", chain, err)
	client, err := m.Client()
	f.fixed(p.Client[:], "client", client, err)
	return p, f.done("prelude")
}
