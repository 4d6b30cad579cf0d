// What starting and judging a QEMU needs beyond Swift's Glibc module; written out in Process.c.
#ifndef GODWIT_PROCESS_H
#define GODWIT_PROCESS_H

// Has the started process close every descriptor from `first` on; 0 or an error number. `actions`
// is a posix_spawn_file_actions_t: <spawn.h> here would clash with Glibc's module.
int godwit_close_from(void *actions, int first);
// The kernel's magic number of the file system that holds a path, or -errno.
long long godwit_file_system_type(const char *path);

#endif
