package file

import (
	"tlog/internal/failpoint"
	"tlog/stor"
)

// commit is the committer: the one goroutine of a Server that writes.
func (s *Server) commit() {
	b := &bench{name: s.name, index: s.index, digest: s.readDigest}
	for {
		batch := s.queue.take()
		if len(batch) == 0 {
			return
		}
		s.commitBatch(b, batch)
		clear(b.frames) // keep no caller's memory alive while idle
	}
}

// commitBatch judges a batch, makes its frames durable, and answers.
func (s *Server) commitBatch(b *bench, batch []*request) {
	if err := s.unfit(); err != nil {
		s.refuse(batch, err)
		return
	}
	b.reset()
	for _, r := range batch {
		b.verdicts = append(b.verdicts, b.judge(r))
	}
	if len(b.frames) > 0 {
		if err := s.store(b, batch); err != nil {
			s.refuse(batch, err)
			return
		}
	}
	s.queue.written(batch)
	for i, r := range batch {
		s.queue.answer(r, b.verdicts[i])
	}
}

func (b *bench) judge(r *request) verdict {
	if r.append != nil {
		return b.append(r.append)
	}
	return r.judge(b)
}

// store makes the frames of a batch durable and then visible. A refusal means
// that nothing was done; after any other error the server is failed.
func (s *Server) store(b *bench, batch []*request) error {
	err := s.log.reserve(b.bytes)
	if err == errFull {
		return b.refuse(stor.Full, "%w; make room, or replace it", errFull)
	}
	if err == nil {
		err = s.log.write(b.frames)
	}
	failpoint.Here("file.written")
	s.queue.written(batch)
	if err == nil {
		err = s.log.sync()
	}
	failpoint.Here("file.synced")
	if err != nil {
		return s.fail(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.storeID = s.log.store
	for i := range b.frames {
		f := &b.frames[i]
		if err := s.index.apply(&f.header, f.data[0], f.at); err != nil {
			panic("internal error: " + err.Error())
		}
	}
	return nil
}

// refuse answers a whole batch with one error: as its requests were judged on
// the strength of one another, none of the verdicts holds.
func (s *Server) refuse(batch []*request, err error) {
	s.queue.written(batch)
	for _, r := range batch {
		s.queue.answer(r, verdict{err: err})
	}
}
