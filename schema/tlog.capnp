# The messages of tlog, on the wire and inside stored aggregations.
#
# Fields up to the ordinals that docs/protocol.md lists as version 1 are those
# of the protocol that existing clients speak; they never change. What stands
# behind them is ours, and may only grow at the end.
@0xf14767bc86505e90;

using Go = import "/go.capnp";
$Go.package("schema");
$Go.import("tlog/schema");

struct HandshakeRequest {
  version            @0 :UInt32;  # highest version the client speaks
  vdiskID            @1 :Text;
  firstSequence      @2 :UInt64;  # version 1 only
  resetFirstSequence @3 :Bool;    # version 1 only
  # Version 2:
  minVersion         @4 :UInt32;  # lowest version the client speaks; 0: version 1 only
  diskSize           @5 :UInt64;  # bytes
  blockSize          @6 :UInt32;  # bytes
  client             @7 :Data;    # 16 bytes: the client's UUID
  generation         @8 :UInt64;  # the last generation this client had; 0: none
  takeover           @9 :Bool;    # take the vdisk from another client
  adopt              @10 :Bool;   # the client holds no records: it takes the server's head
  lastFlushed        @11 :UInt64; # last sequence the client saw acknowledged durable
  chain              @12 :Data;   # 32 bytes: chain value at lastFlushed
  hashes             @13 :List(UInt8); # record hash algorithms, best first
  # The moment that a log is begun with; a log that is there must have begun with it.
  origin             @14 :Data;   # 16 bytes: UUID of its vdisk; empty: none
  originPosition     @15 :UInt64; # position that holds its last record
  originDigest       @16 :Data;   # 32 bytes: chain digest of that position
}

struct HandshakeResponse {
  version       @0 :UInt32;
  status        @1 :Int8;
  # Version 2:
  lastFlushed   @2 :UInt64;
  chain         @3 :Data;   # 32 bytes: chain value at lastFlushed
  generation    @4 :UInt64; # the client's generation from now on
  epoch         @5 :UInt64; # the server's epoch for this vdisk
  lastTimestamp @6 :UInt64; # nanoseconds; the client's clock starts no lower
  creditRecords @7 :UInt32; # records that may be unflushed
  creditBytes   @8 :UInt64; # bytes of data that may be unflushed
  hash          @9 :UInt8;  # record hash algorithm of this session
  vdisk         @10 :Data;  # 16 bytes: the vdisk's UUID in its pool
  diskSize      @11 :UInt64;
  blockSize     @12 :UInt32;
  durability    @13 :Text;  # what FlushOK promises, in words
  message       @14 :Text;  # what to do, when status is not OK
}

struct TlogBlock {
  sequence  @0 :UInt64;
  index     @1 :Int64;   # block number; version 1
  hash      @2 :Data;    # of data
  data      @3 :Data;
  timestamp @4 :UInt64;  # nanoseconds since 1970
  operation @5 :UInt8;   # 1 set (write), 2 delete (trim); ours: 3 write-zeroes, 4 flush mark, 5 watermark
  # Version 2:
  offset    @6 :UInt64;  # bytes
  size      @7 :UInt32;  # bytes
  group     @8 :UInt64;  # consistency-group stamp
}

# A run of consecutive records: the body of a version-2 batch message, and of
# a stored aggregation, which holds one or more.
struct TlogBatch {
  blocks @0 :List(TlogBlock);
  chain  @1 :Data;           # 32 bytes: chain value after the last block
}

struct TlogResponse {
  status        @0 :Int8;
  sequences     @1 :List(UInt64);
  # Version 2:
  upTo          @2 :UInt64;  # all records up to this one
  chain         @3 :Data;    # 32 bytes: chain value at upTo, with FlushOK
  epoch         @4 :UInt64;
  expected      @5 :UInt64;  # with RecvFailed: the sequence the server waits for
  creditRecords @6 :UInt32;
  creditBytes   @7 :UInt64;
  message       @8 :Text;
}

struct Command {
  type     @0 :UInt8;
  sequence @1 :UInt64;
}

# Opens the payload of a stored aggregation; TlogBatch messages follow it.
# The first six fields are the storage format of the system whose protocol
# version 1 is; blocks, name and prev stay empty in ours.
struct TlogAggregation {
  name          @0 :Text;
  size          @1 :UInt64;           # number of records
  timestamp     @2 :UInt64;           # of the first record, or of the sealing
  vdiskID       @3 :Text;
  blocks        @4 :List(TlogBlock);
  prev          @5 :Data;
  # Ours:
  chain         @6 :Data;             # 32 bytes: chain value before the first record
  generation    @7 :UInt64;           # generation of the client that wrote it
  hash          @8 :UInt8;            # record hash algorithm
  client        @9 :Data;             # 16 bytes: UUID of that client
  base          @10 :UInt64;          # version 1: log sequence = base + its sequence - first
  first         @11 :UInt64;          # version 1: the first sequence of that numbering
  lastTimestamp @12 :UInt64;          # timestamp of the last record before this aggregation
  version1      @13 :Bool;            # base and first are set: a version-1 client wrote it
}
