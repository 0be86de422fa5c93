/*
 * Preloaded into a program, this notes what of each regular file is durable: a
 * line "INODE SIZE" in the file that TLOG_SYNC_LOG names for each fsync or
 * fdatasync that succeeded. SIZE is the file's when the sync began: all that was
 * written until then is on the disk afterwards, of what came later nobody knows.
 * When the program was killed, a file may so be cut back to what a power loss
 * would have left of it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void note(const struct stat *st)
{
	static int log = -1; /* two threads may both open it: one is lost, no harm */
	char line[64];
	const char *path;
	int n;

	if (log < 0) {
		path = getenv("TLOG_SYNC_LOG");
		if (!path || (log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) < 0)
			abort();
	}
	n = snprintf(line, sizeof line, "%llu %lld\n", (unsigned long long)st->st_ino, (long long)st->st_size);
	if (write(log, line, n) != n)
		abort();
}

static int synced(long call, int fd)
{
	struct stat st;
	int known = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
	int saved;

	if (syscall(call, fd) < 0)
		return -1;
	saved = errno;
	if (known)
		note(&st);
	errno = saved;
	return 0;
}

int fsync(int fd) { return synced(SYS_fsync, fd); }

int fdatasync(int fd) { return synced(SYS_fdatasync, fd); }
