//go:build nbdkit

// The table of callbacks that nbdkit asks for, what cgo cannot call: C
// functions with a variable number of arguments, and the way of a write, which
// takes none into Go. Everything else is in Go.

#define NBDKIT_API_VERSION 2
#include <errno.h>
#include <nbdkit-plugin.h>
#include <stdbool.h>

#include "_cgo_export.h"
#include "ring.h"

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

void tlog_error(const char *msg) { nbdkit_error("%s", msg); }

static int config(const char *key, const char *value) { return tlogConfig((char *)key, (char *)value); }

// A process serves a live disk or one of the past, which has callbacks of its own.
static bool past, writable = true;

static int config_complete(void) {
  past = tlogShowsPast();
  writable = !past || tlogPastWritable();
  return tlogConfigComplete();
}

static int after_fork(void) { return tlogAfterFork(); }
static void unload(void) { tlogUnload(); }

// One disk for all connections: a handle only has to be something.
static void *open_connection(int readonly) {
  (void)readonly;
  return NBDKIT_HANDLE_NOT_NEEDED;
}

static int64_t get_size(void *h) {
  (void)h;
  return past ? tlogPastSize() : tlogSize();
}

static int block_size(void *h, uint32_t *minimum, uint32_t *preferred, uint32_t *maximum) {
  (void)h;
  *minimum = 1;
  *preferred = 4096;
  *maximum = 32 << 20;
  return 0;
}

static const char *export_description(void *h) {
  (void)h;
  return tlogDescription();
}

static int yes(void *h) {
  (void)h;
  return 1;
}

static int can_write(void *h) {
  (void)h;
  return writable;
}

static int no(void *h) {
  (void)h;
  return 0;
}

static int can_fua(void *h) {
  (void)h;
  return NBDKIT_FUA_NATIVE;
}

static int can_cache(void *h) {
  (void)h;
  return NBDKIT_CACHE_NONE;
}

static int do_pread(void *h, void *buf, uint32_t count, uint64_t offset, uint32_t flags) {
  (void)h;
  (void)flags;
  return past ? tlogPastRead(buf, count, offset) : tlogRead(buf, count, offset);
}

static int do_pwrite(void *h, const void *buf, uint32_t count, uint64_t offset, uint32_t flags) {
  (void)h;
  if (past)
    return tlogPastWrite((void *)buf, count, offset, flags);
  switch (tlog_ring_put(buf, count, offset)) {
  case TLOG_PUT:
    return flags & NBDKIT_FLAG_FUA ? tlogFlush() : 0;
  case TLOG_TIMEOUT:
    nbdkit_error("the log did not make room for a write in time");
    nbdkit_set_error(EIO);
    return -1;
  }
  return tlogWrite((void *)buf, count, offset, flags);
}

static int do_flush(void *h, uint32_t flags) {
  (void)h;
  (void)flags;
  return past ? tlogPastFlush() : tlogFlush();
}

static int do_trim(void *h, uint32_t count, uint64_t offset, uint32_t flags) {
  (void)h;
  return past ? tlogPastZero(count, offset, flags) : tlogTrim(count, offset, flags);
}

static int do_zero(void *h, uint32_t count, uint64_t offset, uint32_t flags) {
  (void)h;
  return past ? tlogPastZero(count, offset, flags) : tlogZero(count, offset, flags);
}

static int do_extents(void *h, uint32_t count, uint64_t offset, uint32_t flags, struct nbdkit_extents *extents) {
  (void)h;
  return past ? tlogPastExtents(count, offset, flags, extents) : tlogExtents(count, offset, flags, extents);
}

static struct nbdkit_plugin plugin = {
    .name = "tlog",
    .longname = "tlog: continuous data protection for virtual disks",
    .description = "a disk whose every write is logged by a tlogserver, or a moment of its past",
    .config_help = "use tlognbd serve and tlognbd mount; see tlognbd --help",
    .errno_is_preserved = 0,

    .unload = unload,
    .config = config,
    .config_complete = config_complete,
    .after_fork = after_fork,

    .open = open_connection,
    .get_size = get_size,
    .export_description = export_description,
    .block_size = block_size,
    .can_write = can_write,
    .can_flush = yes,
    .is_rotational = no,
    .can_trim = yes,
    .can_zero = yes,
    .can_fast_zero = yes,
    .can_fua = can_fua,
    .can_multi_conn = yes,
    .can_extents = yes,
    .can_cache = can_cache,

    .pread = do_pread,
    .pwrite = do_pwrite,
    .flush = do_flush,
    .trim = do_trim,
    .zero = do_zero,
    .extents = do_extents,
};

NBDKIT_REGISTER_PLUGIN(plugin)
