package main

import (
	"crypto/sha256"
	"strings"
	"testing"

	"tlog"
	"tlog/internal/check"
	"tlog/schema"
)

// seen is a ledger whose client has sent two records, of which one is acknowledged.
func seen(t *testing.T) (*ledger, *session, [3]check.Point) {
	t.Helper()
	l := newLedger("d", 1024, nil)
	s := &session{l: l, client: tlog.UUID{1}}
	at := [3]check.Point{{Chain: tlog.ChainStart("d")}}
	s.welcome(&schema.Welcome{Status: tlog.HandshakeOK, Epoch: 3, Chain: at[0].Chain})
	var b schema.Batch
	for i := range 2 {
		data := []byte{byte(i + 1)}
		b.Records = append(b.Records, tlog.Record{Sequence: tlog.Sequence(i + 1), Offset: uint64(i), Size: 1, Timestamp: 9,
			Operation: tlog.OpWrite, Hash: sha256.Sum256(data), Data: data})
		at[i+1] = check.Point{Sequence: tlog.Sequence(i + 1), Chain: tlog.ChainNext(at[i].Chain, &b.Records[i])}
	}
	b.Chain = at[2].Chain
	if err := s.batch(&b); err != nil {
		t.Fatal(err)
	}
	s.response(&schema.Response{Status: tlog.StatusRecvOK, UpTo: 2, Chain: at[2].Chain, Epoch: 3})
	s.response(&schema.Response{Status: tlog.StatusFlushOK, UpTo: 1, Chain: at[1].Chain, Epoch: 3})
	if v := l.violations(); len(v) > 0 || l.durable() != at[1] {
		t.Fatalf("durable %v, violations %v", l.durable(), v)
	}
	return l, s, at
}

func write(data byte) *tlog.Record {
	return &tlog.Record{Operation: tlog.OpWrite, Offset: 0, Size: 1, Data: []byte{data}}
}

// What the ledger must see of the wire and of clients, it sees.
func TestLedger(t *testing.T) {
	for _, c := range []struct {
		name, want string // want "": it is right
		do         func(l *ledger, s *session, at [3]check.Point)
	}{
		{"a client is told of what was acknowledged", "", func(l *ledger, _ *session, at [3]check.Point) { l.flushed(1, 3, at[1]) }},
		{"a client is told of more", "nobody acknowledged", func(l *ledger, _ *session, at [3]check.Point) { l.flushed(1, 3, at[2]) }},
		{"the write that was asked for", "", func(l *ledger, s *session, _ [3]check.Point) { l.carried(s.client, 1, write(1)) }},
		{"another write", "not what its caller wrote", func(l *ledger, s *session, _ [3]check.Point) { l.carried(s.client, 1, write(2)) }},
		{"a write that was not sent", "not what its caller wrote", func(l *ledger, s *session, _ [3]check.Point) { l.carried(s.client, 7, write(1)) }},
		{"RecvOK of too much", "RecvOK of record 3", func(_ *ledger, s *session, _ [3]check.Point) {
			s.response(&schema.Response{Status: tlog.StatusRecvOK, UpTo: 3})
		}},
		{"RecvOK taken back", "RecvOK of record 1 after 2", func(_ *ledger, s *session, _ [3]check.Point) {
			s.response(&schema.Response{Status: tlog.StatusRecvOK, UpTo: 1})
		}},
		{"FlushOK of another history", "no such history", func(_ *ledger, s *session, at [3]check.Point) {
			s.response(&schema.Response{Status: tlog.StatusFlushOK, UpTo: 2, Chain: at[1].Chain, Epoch: 3})
		}},
		{"a server that lost an acknowledgement", "acknowledged record 1", func(l *ledger, _ *session, at [3]check.Point) {
			(&session{l: l}).welcome(&schema.Welcome{Status: tlog.HandshakeOK, Epoch: 4, Chain: at[0].Chain})
		}},
		{"a server that says so", "log behind", func(l *ledger, _ *session, _ [3]check.Point) {
			(&session{l: l}).welcome(&schema.Welcome{Status: tlog.HandshakeLogBehind})
		}},
		{"a client that leaves a record out", "sent record 4 after 2", func(_ *ledger, s *session, _ [3]check.Point) {
			_ = s.batch(&schema.Batch{Records: []tlog.Record{{Sequence: 4, Timestamp: 9, Operation: tlog.OpFlush}}})
		}},
		{"a wrong chain value", "not that of what it sent", func(_ *ledger, s *session, at [3]check.Point) {
			_ = s.batch(&schema.Batch{Records: []tlog.Record{{Sequence: 3, Timestamp: 9, Operation: tlog.OpFlush}}, Chain: at[2].Chain})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, s, at := seen(t)
			c.do(l, s, at)
			v := l.violations()
			if c.want == "" && len(v) > 0 || c.want != "" && (len(v) != 1 || !strings.Contains(v[0].Error(), c.want)) {
				t.Errorf("violations %v, want %q", v, c.want)
			}
		})
	}
}
