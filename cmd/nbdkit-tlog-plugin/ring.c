//go:build nbdkit

#define _GNU_SOURCE // for adaptive mutexes

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ring.h"

#define WRITES 8192 // a power of two

// The taker is woken for so many bytes, or so many milliseconds after the first.
#define ENOUGH (128 << 10)
#define MOMENT 1

// ring: writes [done, taken) are the disk's, [taken, put) wait. Memory is used
// round and round; tail and head count the bytes freed and used since the start.
static struct {
  pthread_mutex_t lock;
  pthread_cond_t more, room;
  uint64_t wanted; // the taker sleeps until head is there; 0: it does not
  unsigned queued; // puts that wait for room
  bool shut;
  uint32_t patience; // milliseconds

  uint8_t *memory;
  uint64_t size, head, tail, seen; // seen: head when all was taken
  struct tlog_write writes[WRITES];
  uint64_t put, taken, done;

  uint64_t *clock; // of the group; NULL: none
} ring;

int tlog_ring_init(uint64_t bytes, uint32_t milliseconds) {
  pthread_condattr_t a;
  pthread_mutexattr_t m;
  ring.memory = malloc(bytes);
  if (ring.memory == NULL)
    return ENOMEM;
  ring.size = bytes;
  ring.patience = milliseconds;
  pthread_mutexattr_init(&m);
  pthread_mutexattr_settype(&m, PTHREAD_MUTEX_ADAPTIVE_NP); // it is held for a copy
  pthread_mutex_init(&ring.lock, &m);
  pthread_mutexattr_destroy(&m);
  pthread_condattr_init(&a);
  pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
  pthread_cond_init(&ring.more, &a);
  pthread_cond_init(&ring.room, &a);
  pthread_condattr_destroy(&a);
  return 0;
}

void tlog_ring_stamp(uint64_t *last) { ring.clock = last; }

// The next value of the group's clock, as Next of package group gives it. It is
// drawn under the lock, so that the order of writes is that of their times.
static uint64_t draw(void) {
  struct timespec t;
  uint64_t now, last, next;
  if (ring.clock == NULL)
    return 0;
  clock_gettime(CLOCK_REALTIME, &t);
  now = (uint64_t)t.tv_sec * 1000000000 + t.tv_nsec;
  last = __atomic_load_n(ring.clock, __ATOMIC_SEQ_CST);
  do
    next = now > last ? now : last + 1;
  while (!__atomic_compare_exchange_n(ring.clock, &last, next, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
  return next;
}

// Where a write of count bytes would begin: it does not wrap.
static uint64_t start(uint32_t count) {
  uint64_t rest = ring.size - ring.head % ring.size;
  return rest < count ? ring.head + rest : ring.head;
}

static bool fits(uint32_t count) {
  return ring.put - ring.done < WRITES && start(count) + count - ring.tail <= ring.size;
}

static struct timespec after(uint32_t milliseconds) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  t.tv_sec += milliseconds / 1000;
  t.tv_nsec += milliseconds % 1000 * 1000000L;
  if (t.tv_nsec >= 1000000000L) {
    t.tv_sec++;
    t.tv_nsec -= 1000000000L;
  }
  return t;
}

// Waits for room. Those who wait are not served in order; each gets its turn
// long before its deadline, unless nothing moves.
static int await(uint32_t count) {
  struct timespec by = after(ring.patience);
  int err = 0;
  ring.queued++;
  while (!ring.shut && !fits(count) && err != ETIMEDOUT)
    err = pthread_cond_timedwait(&ring.room, &ring.lock, &by);
  ring.queued--;
  if (ring.shut)
    return TLOG_REFUSED;
  return fits(count) ? TLOG_PUT : TLOG_TIMEOUT;
}

int tlog_ring_put(const void *data, uint32_t count, uint64_t offset) {
  struct tlog_write *w;
  uint64_t at;
  int result = TLOG_REFUSED;
  if (count == 0 || count > ring.size / 8)
    return TLOG_REFUSED;
  pthread_mutex_lock(&ring.lock);
  if (!ring.shut)
    result = fits(count) ? TLOG_PUT : await(count);
  if (result == TLOG_PUT) {
    // The copy is made under the lock, so that writes are complete in the order
    // in which they can be acknowledged.
    at = start(count);
    w = &ring.writes[ring.put++ % WRITES];
    *w = (struct tlog_write){offset, count, ring.memory + at % ring.size, at + count, draw()};
    ring.head = w->end;
    memcpy(w->data, data, count);
    if (ring.wanted != 0 && ring.head >= ring.wanted) {
      ring.wanted = 0;
      pthread_cond_signal(&ring.more);
    }
  }
  pthread_mutex_unlock(&ring.lock);
  return result;
}

int tlog_ring_take(struct tlog_write *to, int max) {
  int n = 0;
  pthread_mutex_lock(&ring.lock);
  while (n < max && ring.taken < ring.put)
    to[n++] = ring.writes[ring.taken++ % WRITES];
  if (ring.taken == ring.put)
    ring.seen = ring.head;
  pthread_mutex_unlock(&ring.lock);
  return n;
}

int tlog_ring_wait(void) {
  struct timespec by;
  int result, err = 0;
  pthread_mutex_lock(&ring.lock);
  while (ring.taken == ring.put && !ring.shut) {
    ring.wanted = ring.head + 1;
    pthread_cond_wait(&ring.more, &ring.lock);
  }
  by = after(MOMENT);
  while (ring.head - ring.seen < ENOUGH && !ring.shut && ring.queued == 0 && err != ETIMEDOUT) {
    ring.wanted = ring.seen + ENOUGH;
    err = pthread_cond_timedwait(&ring.more, &ring.lock, &by);
  }
  ring.wanted = 0;
  result = ring.shut ? -1 : 0;
  pthread_mutex_unlock(&ring.lock);
  return result;
}

void tlog_ring_done(int n) {
  pthread_mutex_lock(&ring.lock);
  ring.done += n;
  ring.tail = ring.writes[(ring.done - 1) % WRITES].end;
  if (ring.queued > 0)
    pthread_cond_broadcast(&ring.room);
  pthread_mutex_unlock(&ring.lock);
}

void tlog_ring_shut(void) {
  pthread_mutex_lock(&ring.lock);
  ring.shut = true;
  pthread_cond_broadcast(&ring.more);
  pthread_cond_broadcast(&ring.room);
  pthread_mutex_unlock(&ring.lock);
}
