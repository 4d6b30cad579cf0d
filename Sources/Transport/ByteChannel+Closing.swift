// Ending a channel, and what the kernel knows of it.

import CLinux
import Glibc
import Synchronization

extension ByteChannel {
  /// Ends the stream to the peer, who reads an end; reading goes on.
  ///
  /// To be called by the thread that writes. A second call does nothing.
  public func shutdownWrite() throws(TransportError) {
    guard !isWritingEnded.exchange(true, ordering: .acquiringAndReleasing) else { return }
    switch kind {
    case .socket:
      guard shutdown(descriptors.output, Int32(SHUT_WR)) == 0 || errno == ENOTCONN else {
        throw failure("Ending the stream", "to", code: errno)
      }
    case .pipe: release(descriptors.output)
    case .file: break
    }
  }

  /// Ends the channel in both directions, from any thread: blocked and future reads and writes
  /// throw ``TransportError/cancelled(action:)``, the peer finds the connection closed, and a
  /// command gets a SIGTERM.
  public func shutdownBoth() {
    isWritingEnded.store(true, ordering: .releasing)
    wake.raise()
    switch kind {
    case .socket: _ = shutdown(descriptors.input, Int32(SHUT_RDWR))
    case .pipe:
      release(descriptors.output)
      if descriptors.input != descriptors.output { release(descriptors.input) }
      command?.terminate()
    case .file: break
    }
  }

  /// Whether ``shutdownBoth()`` was called.
  public var isCancelled: Bool { wake.isRaised }

  /// Bytes that were written and that the peer's side has not taken yet: unacknowledged ones of a
  /// TCP connection, unread ones of a Unix socket.
  ///
  /// Nil for pipes and files, which do not tell.
  public func unsentByteCount() -> Int? {
    guard kind == .socket else { return nil }
    let count = godwit_unsent_bytes(descriptors.output)
    return count < 0 ? nil : Int(count)
  }

  /// Room for unsent bytes in the kernel, in bytes, as it accounts for it: twice what was asked
  /// for.
  ///
  /// Nil for pipes and files.
  public func sendBufferByteCount() -> Int? {
    var count: Int32 = 0
    var length = socklen_t(MemoryLayout<Int32>.size)
    // SAFETY: the kernel writes at most `length` bytes to the local.
    guard kind == .socket,
      unsafe getsockopt(descriptors.output, SOL_SOCKET, SO_SNDBUF, &count, &length) == 0
    else { return nil }
    return Int(count)
  }

  /// Asks for room for this many unsent bytes; the kernel has a limit (net.core.wmem_max) and
  /// rounds.
  ///
  /// Does nothing to pipes and files.
  public func setSendBuffer(byteCount: Int) throws(TransportError) {
    guard kind == .socket else { return }
    var count = Int32(clamping: byteCount)
    // SAFETY: the kernel reads the local.
    guard
      unsafe setsockopt(
        descriptors.output, SOL_SOCKET, SO_SNDBUF, &count, socklen_t(MemoryLayout<Int32>.size)) == 0
    else { throw failure("Setting the send buffer", "of", code: errno) }
  }

  /// Waits until the command behind an `exec:` channel has ended; nil for other channels.
  ///
  /// End the stream first, and have read what the command writes, or it may never end.
  public func commandExit() throws(TransportError) -> CommandExit? {
    try command?.exit()
  }

  /// Waits until the command behind an `exec:` channel has ended, and throws unless it ended with
  /// status 0.
  ///
  /// Does nothing for other channels. See ``commandExit()``.
  public func requireCommandSuccess() throws(TransportError) {
    guard let command else { return }
    let exit = try command.exit()
    guard exit == .status(0) else { throw .commandFailed(command: command.text, exit: exit) }
  }

  /// Lets go of a pipe's end while its number stays taken, so that a thread which is about to use
  /// the number meets no stranger's file.
  private func release(_ descriptor: Int32) {
    let nowhere = unsafe open("/dev/null", O_RDWR | O_CLOEXEC)
    guard nowhere >= 0 else { return }
    _ = godwit_replace_descriptor(nowhere, descriptor)
    _ = Glibc.close(nowhere)
  }
}
