// Starting processes and looking at file systems, with _GNU_SOURCE, which Swift's Glibc module is
// built without.
#define _GNU_SOURCE
#include <errno.h>
#include <spawn.h>
#include <sys/vfs.h>

#include "CLinux.h"

int godwit_close_from(void *actions, int first) {
  return posix_spawn_file_actions_addclosefrom_np(actions, first);
}

long long godwit_file_system_type(const char *path) {
  struct statfs information;
  if (statfs(path, &information) < 0) return -errno;
  return (long long)(information.f_type & 0xffffffff);
}
