// A bounded queue of writes that were acknowledged to nbdkit and that the disk
// has not made durable in its base yet: nbdkit's threads put, Go takes. A write
// then costs a copy and no call into Go, where a request would wait for one of
// the few processors that Go gives out.
//
//   put ─→ [ waiting ] ─→ take ─→ [ the disk's ] ─→ done ─→ free
//
// All calls are safe from any thread.

#include <stdint.h>

struct tlog_write {
  uint64_t offset;
  uint32_t count;
  uint8_t *data; // valid until done has counted the write
  uint64_t end;  // of its memory, as the ring counts bytes
  uint64_t time; // of the group's clock, drawn when it was put; 0: no clock
};

enum { TLOG_PUT = 0, TLOG_REFUSED = -1, TLOG_TIMEOUT = -2 };

// Makes the ring: so many bytes, and how long a put may wait. 0, or an errno.
int tlog_ring_init(uint64_t bytes, uint32_t milliseconds);

// Has every put draw a time from the clock of a consistency group: last is the
// last value that it gave, to any process of the host. See package group.
void tlog_ring_stamp(uint64_t *last);

// Copies a write in; waits while there is no room. TLOG_REFUSED: it is too
// large, or the ring is shut.
int tlog_ring_put(const void *data, uint32_t count, uint64_t offset);

// Takes at most max writes, in the order in which they were put. Does not wait.
int tlog_ring_take(struct tlog_write *to, int max);

// Waits until there is something to take, and then a moment for more, as each
// waking costs more than what it is for; nobody waits for the taker, since who
// needs the writes takes them. -1 when the ring is shut.
int tlog_ring_wait(void);

// The oldest n writes that were taken are not used any more.
void tlog_ring_done(int n);

// Refuses every put from now on; what is in the ring can still be taken.
void tlog_ring_shut(void);
