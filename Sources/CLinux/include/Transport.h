// What channels need beyond Swift's Glibc module; written out in Transport.c.
// Every function returns its result or -errno, so that one value carries both.
#ifndef GODWIT_TRANSPORT_H
#define GODWIT_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>

// The environment that a started command inherits; Swift refuses the global as shared state.
char **godwit_environment(void);
// A counter that poll(2) waits for; close-on-exec, non-blocking.
int godwit_eventfd(void);
// A pipe, close-on-exec; 0 or -errno.
int godwit_pipe(int ends[2]);
// Makes the number `to` stand for what `from` is, in one step, close-on-exec.
int godwit_replace_descriptor(int from, int to);
// Accepts a connection, close-on-exec.
int godwit_accept(int descriptor);
// Bytes that the kernel still holds for the peer of a TCP or Unix socket.
int godwit_unsent_bytes(int descriptor);
// Names the calling thread; at most 15 bytes.
int godwit_set_thread_name(const char *name);
// Sends `count` struct iovec without ever raising SIGPIPE, or as much of them as there is room for;
// the result is sendmsg's.
long godwit_send_pieces(int descriptor, const void *pieces, size_t count, bool may_wait);
// Sends bytes and, riding on the first of them, one descriptor.
long godwit_send_descriptor(int descriptor, const void *bytes, size_t count, int passed);
// Receives bytes and at most one descriptor (*passed is -1 where none came).
long godwit_receive_descriptor(int descriptor, void *bytes, size_t count, int *passed);

// The process at the other end of a Unix socket as the kernel recorded it when the two were
// connected; 0 for a TCP socket.
int godwit_peer_process(int descriptor);

#endif
