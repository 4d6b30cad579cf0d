// What this kernel's userfaultfd offers to this process.
#ifndef GODWIT_USERFAULTFD_H
#define GODWIT_USERFAULTFD_H

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif

/// Opens a userfaultfd the way QEMU does (the system call), or, where `through_device` is set,
/// by /dev/userfaultfd. Returns a descriptor or -errno.
static inline int godwit_userfaultfd_open(int through_device) {
  if (!through_device) {
    int descriptor = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    return descriptor < 0 ? -errno : descriptor;
  }
  int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
  if (device < 0) return -errno;
  int descriptor = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
  int result = descriptor < 0 ? -errno : descriptor;
  close(device);
  return result;
}

/// Stores the features that the kernel offers (UFFD_FEATURE_*) at `features`. Returns 0 or -errno.
static inline int godwit_userfaultfd_features(int through_device, uint64_t *features) {
  int descriptor = godwit_userfaultfd_open(through_device);
  if (descriptor < 0) return descriptor;
  struct uffdio_api request = {.api = UFFD_API, .features = 0};
  int result = ioctl(descriptor, UFFDIO_API, &request) < 0 ? -errno : 0;
  close(descriptor);
  *features = request.features;
  return result;
}

#endif
