// What the devices of a machine need of the kernel beyond Swift's Glibc module; written out in
// Devices.c. Every function returns its result or -errno, so that one value carries both.
#ifndef GODWIT_DEVICES_H
#define GODWIT_DEVICES_H

#include <stddef.h>
#include <stdint.h>

/// Fills up to `count` bytes with random numbers; how many.
long godwit_random(void *bytes, size_t count);

/// Makes a range of a file read as zeros, its blocks kept; 0 or -errno.
int godwit_file_zero_range(int fd, int64_t offset, int64_t length);

/// Opens a network interface of kind tap, made if there is none of that name: raw frames, each
/// with a virtio header of 12 bytes in little-endian order; close-on-exec, non-blocking.
int godwit_tap_open(const char *name);

/// Says which offloads the reader of a tap's frames understands: TUN_F_* bits.
int godwit_tap_offloads(int fd, unsigned features);

/// Makes two connected sockets that keep the limits of messages; close-on-exec, non-blocking.
int godwit_message_sockets(int ends[2]);

#endif
