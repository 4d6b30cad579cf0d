// What starting and judging a QEMU needs beyond Swift's Glibc module; written out in Process.c.
#ifndef GODWIT_PROCESS_H
#define GODWIT_PROCESS_H

#include <spawn.h>

// Has the started process close every descriptor from `first` on; 0 or an error number.
int godwit_close_from(posix_spawn_file_actions_t *actions, int first);
// The kernel's magic number of the file system that holds a path, or -errno.
long long godwit_file_system_type(const char *path);

#endif
