// How this module talks to the kernel: requests on descriptors, each with one kind of argument.

import CLinux
import Glibc

/// Requests to KVM's descriptors; every result is the kernel's, or its error number negated.
enum KernelCall {
  /// A request whose argument is a number.
  static func plain(_ descriptor: Int32, _ request: UInt, _ argument: UInt = 0) -> Int {
    godwit_ioctl(descriptor, request, argument)
  }

  /// A request whose argument is one structure, read and written by the kernel.
  static func exchange<Structure: BitwiseCopyable>(
    _ descriptor: Int32, _ request: UInt, _ value: inout Structure
  ) -> Int {
    // SAFETY: the request's own number carries the structure's size, which callers pair with the
    // matching type; the kernel does not keep the address.
    unsafe withUnsafeMutablePointer(to: &value) { pointer in
      godwit_ioctl(descriptor, request, UInt(bitPattern: pointer))
    }
  }

  /// A request whose argument is a structure that ends in a list; `words` holds all of it.
  static func exchange(_ descriptor: Int32, _ request: UInt, words: inout [UInt64]) -> Int {
    // SAFETY: the count field at the list's head, which callers fill, bounds what the kernel
    // writes; callers size the buffer from the same count.
    unsafe words.withUnsafeMutableBytes { buffer in
      godwit_ioctl(descriptor, request, UInt(bitPattern: buffer.baseAddress))
    }
  }

  /// Opens a device for reading and writing; its descriptor or the error number negated.
  static func open(_ path: String) -> Int32 {
    while true {
      // SAFETY: the path's bytes live for the call.
      let descriptor = unsafe Glibc.open(path, O_RDWR | O_CLOEXEC)
      if descriptor >= 0 { return descriptor }
      if errno != EINTR { return -errno }
    }
  }

  /// Runs a vCPU until it exits; an interruption is -EINTR.
  static func run(_ descriptor: Int32) -> Int {
    godwit_ioctl_once(descriptor, GODWIT_KVM_RUN, 0)
  }

  /// Maps a part of a descriptor; its address, or the error number negated.
  static func map(_ descriptor: Int32, byteCount: Int, offset: Int) -> Result<UInt, MapFailure> {
    // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
    let address = unsafe mmap(
      nil, byteCount, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, offset)
    let number = UInt(bitPattern: address)
    return number == UInt.max ? .failure(MapFailure(code: errno)) : .success(number)
  }

  /// Why a mapping failed.
  struct MapFailure: Error {
    let code: Int32
  }

  /// Takes back what `map` made.
  static func unmap(_ address: UInt, byteCount: Int) {
    // SAFETY: the caller owns the mapping and no longer uses it.
    _ = unsafe munmap(UnsafeMutableRawPointer(bitPattern: address), byteCount)
  }

  /// The kernel's words for an error number.
  static func text(of code: Int32) -> String {
    // SAFETY: strerror answers a terminated string, which is copied at once.
    guard let text = unsafe strerror(code) else { return "error \(code)" }
    return unsafe String(cString: text)
  }
}
