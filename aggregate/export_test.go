package aggregate

// Unpack and DecodePayload are the two last steps of Decode, without envelope.
var Unpack = new(Decoder).unpack

// DecodePayload is the step of Decode behind the envelope.
func (a *Aggregation) DecodePayload(plain []byte) error { return a.decode(plain) }

// Memory is what the sealed aggregations hold, and what waits.
func (s *Sealers) Memory() (held, queued, running int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held, s.queue.len(), s.running
}

func (t *turns) len() (n int) {
	for _, l := range t.lines {
		n += len(l.jobs)
	}
	return n
}
