// Sockets, descriptors that travel, wake-ups, thread names. In a file of its own because the
// system headers look different with _GNU_SOURCE, which Swift's Glibc module is built without.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "CLinux.h"

// The environment that a started command inherits; Swift refuses the global as shared state.
char **godwit_environment(void) { return environ; }

// A counter that poll(2) waits for; close-on-exec.
int godwit_eventfd(void) {
  int descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return descriptor < 0 ? -errno : descriptor;
}

// Bytes that the kernel still holds for the peer of a TCP or Unix socket.
int godwit_unsent_bytes(int descriptor) {
  int count = 0;
  return ioctl(descriptor, SIOCOUTQ, &count) < 0 ? -errno : count;
}

int godwit_peer_process(int descriptor) {
  struct ucred credentials;
  socklen_t size = sizeof credentials;
  if (getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0) return -errno;
  return credentials.pid;
}

int godwit_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC) < 0 ? -errno : 0; }

int godwit_replace_descriptor(int from, int to) {
  int result = dup3(from, to, O_CLOEXEC);
  return result < 0 ? -errno : result;
}

int godwit_accept(int descriptor) {
  int accepted = accept4(descriptor, NULL, NULL, SOCK_CLOEXEC);
  return accepted < 0 ? -errno : accepted;
}

int godwit_set_thread_name(const char *name) {
  return -pthread_setname_np(pthread_self(), name);
}

// Sends the pieces without ever raising SIGPIPE; the result is sendmsg's.
long godwit_send_pieces(int descriptor, const void *pieces, size_t count, bool may_wait) {
  struct msghdr message;
  memset(&message, 0, sizeof message);
  message.msg_iov = (struct iovec *)pieces;
  message.msg_iovlen = count;
  ssize_t sent = sendmsg(descriptor, &message, MSG_NOSIGNAL | (may_wait ? 0 : MSG_DONTWAIT));
  return sent < 0 ? -errno : sent;
}

// Sends bytes and, riding on the first of them, one descriptor.
long godwit_send_descriptor(int descriptor, const void *bytes, size_t count,
                                          int passed) {
  union {
    struct cmsghdr header;
    char room[CMSG_SPACE(sizeof(int))];
  } control;
  struct iovec piece = {(void *)bytes, count};
  struct msghdr message;
  memset(&message, 0, sizeof message);
  memset(&control, 0, sizeof control);
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = &control;
  message.msg_controllen = sizeof control.room;
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(header), &passed, sizeof passed);
  ssize_t sent = sendmsg(descriptor, &message, MSG_NOSIGNAL);
  return sent < 0 ? -errno : sent;
}

// Receives bytes and at most one descriptor (*passed is -1 where none came). The kernel closes
// what finds no room.
long godwit_receive_descriptor(int descriptor, void *bytes, size_t count,
                                             int *passed) {
  union {
    struct cmsghdr header;
    char room[CMSG_SPACE(sizeof(int))];
  } control;
  struct iovec piece = {bytes, count};
  struct msghdr message;
  *passed = -1;
  memset(&message, 0, sizeof message);
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = &control;
  message.msg_controllen = sizeof control.room;
  ssize_t received = recvmsg(descriptor, &message, MSG_CMSG_CLOEXEC);
  if (received < 0) return -errno;
  for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header != NULL;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
        header->cmsg_len >= CMSG_LEN(sizeof(int)))
      memcpy(passed, CMSG_DATA(header), sizeof *passed);
  }
  return received;
}
