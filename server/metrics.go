package server

import "sync/atomic"

// Metrics count what a Server does; read them at any time. BudgetInUse and
// Vdisks of Server are the gauges beside them.
type Metrics struct {
	Connections        atomic.Int64  // open now
	ConnectionsRefused atomic.Uint64 // closed at once, too many were open
	Handshakes         atomic.Uint64 // answered OK
	HandshakesFailed   atomic.Uint64 // refused, or never completed
	Records            atomic.Uint64 // accepted
	TimestampsClamped  atomic.Uint64 // of version-1 blocks whose clock stepped back or ran ahead
	ReceivedBytes      atomic.Uint64 // of messages with records, as framed
	ProtocolErrors     atomic.Uint64 // messages that ended a session
	OwnersFailed       atomic.Uint64 // vdisks let go of because their log failed
	RepairedShards     atomic.Uint64 // written again
	CheckedPositions   atomic.Uint64 // whose shards repair or scrub has read
}
