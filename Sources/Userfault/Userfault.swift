// A userfaultfd: page faults of registered memory, answered by this process.

import CLinux
import Glibc
public import Transport

/// A userfaultfd of this process, or one that another handed over.
///
/// Requests may come from any thread. Ranges are addresses of the process that opened it, whole
/// pages; a range
/// that is not registered is refused by the kernel.
public final class Userfault: Sendable {
  private let descriptor: OwnedDescriptor
  /// What was asked for when it was opened.
  public let features: UserfaultFeatures

  /// What the kernel offers to this process; throws where it offers nothing.
  public static func offeredFeatures() throws(UserfaultError) -> UserfaultFeatures {
    let number = Self.openDescriptor()
    guard number >= 0 else { throw .notAllowed(code: -number) }
    let descriptor = OwnedDescriptor(adopting: number)
    return try handshake(descriptor, features: [])
  }

  /// Opens a userfaultfd.
  /// - Parameter features: all of them are needed; what is missing is named in the error.
  public init(features: UserfaultFeatures) throws(UserfaultError) {
    // The kernel refuses a handshake with an unknown feature without saying which, and takes only
    // one handshake for each descriptor: what it offers is asked first.
    let missing = features.subtracting(try Self.offeredFeatures())
    guard missing.isEmpty else {
      let names = missing.names.map { "UFFD_FEATURE_\($0)" }
      throw .unsupported(feature: names.joined(separator: ", "))
    }
    let number = Self.openDescriptor()
    guard number >= 0 else { throw .notAllowed(code: -number) }
    descriptor = OwnedDescriptor(adopting: number)
    self.features = features
    _ = try Self.handshake(descriptor, features: features)
  }

  /// Takes over a userfaultfd that another process has opened, on its own memory: addresses are
  /// that process's.
  /// - Parameter features: what it was opened with.
  public init(adopting descriptor: consuming OwnedDescriptor, features: UserfaultFeatures = []) {
    self.descriptor = descriptor
    self.features = features
  }

  /// The number of its descriptor, valid while this object lives: for handing it to another
  /// process.
  public var rawDescriptor: Int32 { descriptor.raw }

  private static func openDescriptor() -> Int32 {
    let number = godwit_userfaultfd_open(0)
    return number >= 0 ? number : godwit_userfaultfd_open(1)
  }

  private static func handshake(
    _ descriptor: borrowing OwnedDescriptor, features: UserfaultFeatures
  ) throws(UserfaultError) -> UserfaultFeatures {
    var request = uffdio_api()
    request.api = 0xaa
    request.features = features.rawValue
    let result = UserfaultCall.exchange(descriptor.raw, GODWIT_UFFDIO_API, &request)
    guard result >= 0 else {
      throw .failed(action: "Agreeing with the kernel on userfaultfd", code: Int32(-result))
    }
    return UserfaultFeatures(rawValue: request.features)
  }

  /// Begins to report faults in a range.
  public func register(
    _ range: Range<UInt>, modes: UserfaultModes
  ) throws(UserfaultError) {
    var request = uffdio_register()
    request.range = uffdio_range(start: UInt64(range.lowerBound), len: UInt64(range.count))
    request.mode = modes.rawValue
    try exchange(GODWIT_UFFDIO_REGISTER, &request, "Registering", range)
  }

  /// Ends reporting; who waits is woken, and pages are no longer protected.
  public func unregister(_ range: Range<UInt>) throws(UserfaultError) {
    var request = uffdio_range(start: UInt64(range.lowerBound), len: UInt64(range.count))
    try exchange(GODWIT_UFFDIO_UNREGISTER, &request, "Unregistering", range)
    // The kernel wakes who waits and ends reporting then: whoever touches a page in between is
    // still made to wait, for ever (Linux 6.18 does so once in some thousands).
    try wake(range)
  }

  /// Wakes who waits for pages of a range.
  public func wake(_ range: Range<UInt>) throws(UserfaultError) {
    var request = uffdio_range(start: UInt64(range.lowerBound), len: UInt64(range.count))
    try exchange(GODWIT_UFFDIO_WAKE, &request, "Waking who waits for", range)
  }

  /// Places pages that are missing, in one step each, and wakes who waits for them.
  /// - Parameters:
  ///   - target: where, a multiple of the page size.
  ///   - bytes: their content, whole pages.
  ///   - isProtected: whether they are protected from writes at once.
  ///   - wakes: false leaves who waits waiting.
  /// - Returns: bytes placed; less than all where a page is there already.
  @discardableResult
  public func copy(
    to target: UInt, from bytes: RawSpan, isProtected: Bool = false, wakes: Bool = true
  ) throws(UserfaultError) -> Int {
    let mode: UInt64 = (wakes ? 0 : 1) | (isProtected ? 2 : 0)
    return try place(target..<target + UInt(bytes.byteCount), "Placing") { done in
      UserfaultCall.copy(descriptor.raw, target + UInt(done), from: bytes, at: done, mode: mode)
    }
  }

  /// Places pages of zeros that are missing, and wakes who waits for them.
  /// - Returns: bytes placed; less than all where a page is there already.
  @discardableResult
  public func zero(_ range: Range<UInt>, wakes: Bool = true) throws(UserfaultError) -> Int {
    try place(range, "Zeroing") { done in
      ranged(GODWIT_UFFDIO_ZEROPAGE, range.dropFirst(done), mode: wakes ? 0 : 1)
    }
  }

  /// Maps pages that are there (of shared memory) but not mapped, and wakes who waits for them.
  /// - Returns: bytes mapped; less than all where a page is mapped already.
  @discardableResult
  public func mapExisting(_ range: Range<UInt>, wakes: Bool = true) throws(UserfaultError) -> Int {
    try place(range, "Mapping") { done in
      ranged(GODWIT_UFFDIO_CONTINUE, range.dropFirst(done), mode: wakes ? 0 : 1)
    }
  }

  /// Reads the events that are there, without waiting.
  /// - Parameter limit: at most that many.
  public func readEvents(limit: Int = 64) throws(UserfaultError) -> [UserfaultEvent] {
    let result = UserfaultCall.readMessages(descriptor.raw, limit: limit)
    switch result {
    case .success(let messages): return messages.map(UserfaultEvent.init)
    case .failure(let failure):
      if failure.code == EAGAIN { return [] }
      throw .failed(action: "Reading page faults", code: failure.code)
    }
  }

  /// Waits until an event can be read.
  /// - Parameter milliseconds: at most that long; -1 waits for ever.
  /// - Returns: whether there is one.
  public func wait(milliseconds: Int32) throws(UserfaultError) -> Bool {
    let result = UserfaultCall.wait(descriptor.raw, milliseconds: milliseconds)
    guard result >= 0 else {
      throw .failed(action: "Waiting for page faults", code: Int32(-result))
    }
    return result > 0
  }

  /// Repeats a request that the kernel may end early, until all is done or a page was in the way.
  private func place(
    _ range: Range<UInt>, _ verb: String, _ step: (Int) -> (result: Int, done: Int64)
  ) throws(UserfaultError) -> Int {
    var done = 0
    while done < range.count {
      let (result, count) = step(done)
      if count > 0 { done += Int(count) }
      if result >= 0 { continue }
      // Memory layout is changing just now (EAGAIN): what is left is tried again.
      if -result == Int(EAGAIN) { continue }
      if -result == Int(EEXIST) { return done }
      throw .failed(action: Self.sentence(verb, range), code: Int32(-result))
    }
    return done
  }

  private func ranged(
    _ request: UInt, _ range: Range<UInt>, mode: UInt64
  ) -> (result: Int, done: Int64) {
    var argument = godwit_uffdio_range_mode(
      start: UInt64(range.lowerBound), length: UInt64(range.count), mode: mode, done: 0)
    let result = UserfaultCall.exchange(descriptor.raw, request, &argument)
    return (result, argument.done)
  }

  private func exchange<Structure: BitwiseCopyable>(
    _ request: UInt, _ value: inout Structure, _ verb: String, _ range: Range<UInt>
  ) throws(UserfaultError) {
    let result = UserfaultCall.exchange(descriptor.raw, request, &value)
    guard result >= 0 else {
      throw .failed(action: Self.sentence(verb, range), code: Int32(-result))
    }
  }

  private static func sentence(_ verb: String, _ range: Range<UInt>) -> String {
    "\(verb) \(range.count) bytes at 0x\(String(range.lowerBound, radix: 16)) (userfaultfd)"
  }
}

extension Range<UInt> {
  /// What is left behind so many bytes.
  fileprivate func dropFirst(_ byteCount: Int) -> Range<UInt> {
    lowerBound + UInt(byteCount)..<upperBound
  }
}

extension UserfaultEvent {
  init(_ message: godwit_uffd_message) {
    let (first, second, third) = message.words
    switch message.event {
    case 0x12:
      let kind: FaultKind = first & 4 != 0 ? .minor : first & 2 != 0 ? .writeProtect : .missing
      self = .pageFault(
        address: UInt(second), kind: kind, isWrite: first & 1 != 0,
        thread: UInt32(truncatingIfNeeded: third))
    case 0x13:
      // The message's first word holds the child's descriptor.
      _ = OwnedDescriptor(adopting: Int32(truncatingIfNeeded: first))
      self = .fork
    case 0x14: self = .remap(from: UInt(first), to: UInt(second), byteCount: UInt(third))
    case 0x15: self = .remove(UInt(first)..<max(UInt(first), UInt(second)))
    case 0x16: self = .unmap(UInt(first)..<max(UInt(first), UInt(second)))
    default: self = .other(message.event)
    }
  }
}
