// How this module talks to the kernel.

import CLinux
import Glibc

/// Requests to userfaultfd and pagemap; results are the kernel's, or its error number negated.
enum UserfaultCall {
  struct Failure: Error {
    let code: Int32
  }

  /// A request whose argument is one structure.
  static func exchange<Structure: BitwiseCopyable>(
    _ descriptor: Int32, _ request: UInt, _ value: inout Structure
  ) -> Int {
    // SAFETY: the request's own number carries the structure's size; the kernel does not keep the
    // address.
    unsafe withUnsafeMutablePointer(to: &value) { pointer in
      godwit_ioctl(descriptor, request, UInt(bitPattern: pointer))
    }
  }

  /// UFFDIO_COPY of the bytes from `offset` on.
  static func copy(
    _ descriptor: Int32, _ target: UInt, from bytes: RawSpan, at offset: Int, mode: UInt64
  ) -> (result: Int, done: Int64) {
    // SAFETY: the kernel reads the span's bytes while the span lives.
    unsafe bytes.withUnsafeBytes { buffer in
      let source = UInt(bitPattern: buffer.baseAddress) + UInt(offset)
      var argument = godwit_uffdio_copy(
        target: UInt64(target), source: UInt64(source), length: UInt64(buffer.count - offset),
        mode: mode, copied: 0)
      let result = exchange(descriptor, GODWIT_UFFDIO_COPY, &argument)
      return (result, argument.copied)
    }
  }

  /// Reads whole messages.
  static func readMessages(
    _ descriptor: Int32, limit: Int
  ) -> Result<[godwit_uffd_message], Failure> {
    var messages = [godwit_uffd_message](repeating: godwit_uffd_message(), count: max(1, limit))
    // SAFETY: the kernel writes whole messages into the buffer.
    let count = unsafe messages.withUnsafeMutableBytes { buffer in
      unsafe Glibc.read(descriptor, buffer.baseAddress, buffer.count)
    }
    if count < 0 { return .failure(Failure(code: errno)) }
    return .success(Array(messages.prefix(count / MemoryLayout<godwit_uffd_message>.stride)))
  }

  /// Waits until a descriptor can be read; 0 where the time is over.
  static func wait(_ descriptor: Int32, milliseconds: Int32) -> Int {
    var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    // SAFETY: one entry is passed.
    let result = unsafe poll(&entry, 1, milliseconds)
    if result < 0 { return errno == EINTR ? 0 : -Int(errno) }
    return Int(result)
  }

  /// PAGEMAP_SCAN into a buffer of regions; the count is the kernel's result.
  static func scan(
    _ descriptor: Int32, _ argument: inout godwit_pm_scan, into regions: inout [godwit_page_region]
  ) -> Int {
    // SAFETY: the kernel writes at most the given number of regions into the buffer.
    unsafe regions.withUnsafeMutableBytes { buffer in
      argument.regions = UInt64(UInt(bitPattern: buffer.baseAddress))
      argument.region_count = UInt64(buffer.count / MemoryLayout<godwit_page_region>.stride)
      return exchange(descriptor, GODWIT_PAGEMAP_SCAN, &argument)
    }
  }

  /// Opens this process's page table.
  static func openPagemap() -> Int32 {
    // SAFETY: the path's bytes live for the call.
    let descriptor = unsafe Glibc.open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC)
    return descriptor >= 0 ? descriptor : -errno
  }
}
