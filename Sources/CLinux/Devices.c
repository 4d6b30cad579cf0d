// Random numbers, zeroed file ranges, tap interfaces: calls and requests that Glibc's module does
// not show to Swift.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "Devices.h"

long godwit_random(void *bytes, size_t count) {
  ssize_t result = getrandom(bytes, count, 0);
  return result < 0 ? -errno : result;
}

int godwit_file_zero_range(int fd, int64_t offset, int64_t length) {
  int mode = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
  return fallocate(fd, mode, offset, length) == 0 ? 0 : -errno;
}

static int godwit_tap_configure(int fd, const char *name) {
  struct ifreq request;
  memset(&request, 0, sizeof request);
  if (strlen(name) >= sizeof request.ifr_name) return -ENAMETOOLONG;
  strcpy(request.ifr_name, name);
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (ioctl(fd, TUNSETIFF, &request) < 0) return -errno;
  int header_size = 12;
  if (ioctl(fd, TUNSETVNETHDRSZ, &header_size) < 0) return -errno;
  int little_endian = 1;
  if (ioctl(fd, TUNSETVNETLE, &little_endian) < 0) return -errno;
  return 0;
}

int godwit_tap_open(const char *name) {
  int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return -errno;
  int result = godwit_tap_configure(fd, name);
  if (result < 0) {
    close(fd);
    return result;
  }
  return fd;
}

int godwit_tap_offloads(int fd, unsigned features) {
  return ioctl(fd, TUNSETOFFLOAD, (unsigned long)features) < 0 ? -errno : 0;
}

int godwit_message_sockets(int ends[2]) {
  int type = SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK;
  return socketpair(AF_UNIX, type, 0, ends) < 0 ? -errno : 0;
}
