// The small guests that the demonstration and the tests run: their images and parameters.

import Foundation

/// A guest of our own whose workload checks its own memory, small enough to live in a literal.
///
/// It boots as a kernel (`-kernel`), stamps the memory it finds, rewrites it at the asked rate,
/// re-reads it, and says once a second on its serial port whether it is still whole: see
/// ``DemoGuestReport``. Its sources are in `Guest/`.
public enum DemoGuest {
  /// An architecture there is a guest for, with the machine it expects.
  public enum Architecture: String, Sendable, CaseIterable {
    /// Any PC with a PVH entry: QEMU's `pc`, `q35` and `microvm`. Memory up to 64 GiB.
    case x86_64
    /// QEMU's `virt` with an interrupt controller of version 2 and a 64-bit processor.
    case aarch64
    /// QEMU's big-endian `malta`, 32 bits. Memory up to 256 MiB.
    case mips
  }

  /// The ELF file of the x86 guest.
  public static var image: [UInt8] { Architecture.x86_64.image }

  /// Writes the x86 guest's ELF file.
  ///
  /// - Parameter path: where; a file that is there is replaced.
  /// - Throws: ``DemoGuestError`` naming the path and what the system said.
  public static func write(to path: String) throws(DemoGuestError) {
    try Architecture.x86_64.write(to: path)
  }

  /// The order in which the guest's writer goes over its pages.
  public enum Pattern: String, Sendable, CaseIterable {
    /// One after the other, from the first to the last and again.
    case sequential = "seq"
    /// Any page, all equally likely.
    case random
  }

  /// The kernel command line (`-append`) that asks for a workload.
  ///
  /// - Parameters:
  ///   - memoryMegabytes: how much memory it stamps and checks, in MiB; 0 for all there is.
  ///     What it leaves alone stays zero.
  ///   - rate: how much of it is rewritten, in MiB a second.
  ///   - pattern: the order in which it is.
  ///   - fill: whether pages are full of incompressible data; otherwise they hold their stamps
  ///     and zeroes.
  ///   - check: how much of it is checked, in MiB a second; nil for an eighth of the memory.
  ///   - reportMilliseconds: how much time lies between two report lines; nil for a second.
  ///   - page: the guest-physical address, below 4 GiB, of a page that the machine serves for the
  ///     x86 guest: a 16550's registers from 0 on, and at 16 a 32-bit word that takes microseconds
  ///     to rest. With it the guest works in user mode where the machine emulates a kernel's
  ///     instructions, which is some thousand times faster.
  ///   - freePercent: how much of its pages, in percent from 0 to 100, it declares free to the
  ///     machine once they are filled, and then leaves alone.
  ///   - reuse: how much of that it fills and uses again, in MiB a second; once all of it is in use
  ///     it is declared free anew.
  ///   - exclusion: the guest-physical address, below 4 GiB, of the machine's registers for pages
  ///     that nobody needs (x86 only); without them nobody is told which pages are free.
  /// - Returns: the parameters, separated by spaces.
  public static func commandLine(
    memoryMegabytes: Int = 0, rate: Int = 0, pattern: Pattern = .random, fill: Bool = true,
    check: Int? = nil, reportMilliseconds: Int? = nil, page: UInt32? = nil,
    freePercent: Int = 0, reuse: Int = 0, exclusion: UInt32? = nil
  ) -> String {
    var words = [
      "memory=\(memoryMegabytes)", "rate=\(rate)", "pattern=\(pattern.rawValue)",
      "fill=\(fill ? 1 : 0)",
    ]
    if let check { words.append("check=\(check)") }
    if let reportMilliseconds { words.append("report=\(reportMilliseconds)") }
    if let page { words.append("page=\(page)") }
    if freePercent > 0 {
      words += ["free=\(freePercent)", "reuse=\(reuse)"]
      if let exclusion { words.append("exclude=\(exclusion)") }
    }
    return words.joined(separator: " ")
  }
}

extension DemoGuest.Architecture {
  /// The guest's ELF file.
  public var image: [UInt8] {
    // The literals are ours and a test decodes each, so an empty image cannot reach anyone.
    Data(base64Encoded: encoded, options: .ignoreUnknownCharacters).map([UInt8].init) ?? []
  }

  /// The ELF file in base64, with line breaks.
  private var encoded: String {
    switch self {
    case .x86_64: Self.encoded_x86_64
    case .aarch64: Self.encoded_aarch64
    case .mips: Self.encoded_mips
    }
  }

  /// Writes the guest's ELF file.
  ///
  /// - Parameter path: where; a file that is there is replaced.
  /// - Throws: ``DemoGuestError`` naming the path and what the system said.
  public func write(to path: String) throws(DemoGuestError) {
    do {
      try Data(image).write(to: URL(fileURLWithPath: path), options: .atomic)
    } catch {
      throw .unwritable(path: path, reason: "\(error.localizedDescription)")
    }
  }
}

/// Why a guest's image could not be had.
public enum DemoGuestError: Error, Equatable, CustomStringConvertible {
  /// The file could not be written.
  case unwritable(path: String, reason: String)

  /// What was being done, to what, what went wrong and what to do.
  public var description: String {
    switch self {
    case .unwritable(let path, let reason):
      "cannot write the demo guest's image to \(path): \(reason); "
        + "check that the directory exists and has room"
    }
  }
}
