// File ranges, through the calls that Glibc's module does not show to Swift.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <sys/vfs.h>

#include "Files.h"

int godwit_file_allocate(int fd, int64_t offset, int64_t length) {
  return fallocate(fd, 0, offset, length) == 0 ? 0 : -errno;
}

int godwit_file_punch_hole(int fd, int64_t offset, int64_t length) {
  int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  return fallocate(fd, mode, offset, length) == 0 ? 0 : -errno;
}

int godwit_file_start_writeback(int fd, int64_t offset, int64_t length) {
  return sync_file_range(fd, offset, length, SYNC_FILE_RANGE_WRITE) == 0 ? 0 : -errno;
}

int godwit_file_direct(void) { return O_DIRECT; }

int godwit_file_is_in_memory(int fd) {
  struct statfs status;
  if (fstatfs(fd, &status) != 0) return -errno;
  return status.f_type == TMPFS_MAGIC || status.f_type == RAMFS_MAGIC;
}
