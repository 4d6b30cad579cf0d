// What guest memory needs beyond Swift's Glibc module; written out in Memory.c.
#ifndef GODWIT_MEMORY_H
#define GODWIT_MEMORY_H

// Memory that is a file without a name, close-on-exec; a descriptor or -errno.
int godwit_memfd(const char *name);

// The same, of huge pages of 2 MiB.
int godwit_memfd_huge(const char *name);

#endif
