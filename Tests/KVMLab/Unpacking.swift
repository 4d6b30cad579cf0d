// Decompression by the system's programs, whichever the distribution chose.

import Foundation
import QEMULab

/// Unpacks kernels and modules.
enum Unpacking {
  /// The first bytes of each format, and the program that reads it from its standard input.
  private static let programs: [(magic: [UInt8], command: [String])] = [
    ([0xFD, 0x37, 0x7A, 0x58, 0x5A, 0x00], ["xz", "-dc", "--single-stream"]),
    ([0x1F, 0x8B], ["gzip", "-dc"]),
    ([0x28, 0xB5, 0x2F, 0xFD], ["zstd", "-dc"]),
    ([0x02, 0x21, 0x4C, 0x18], ["lz4", "-dc"]),
  ]

  /// The content of bytes that may be compressed; what is not comes back as it is.
  static func unpack(_ bytes: Data) throws -> Data {
    guard let command = programs.first(where: { bytes.starts(with: $0.magic) })?.command else {
      return bytes
    }
    let input = FileManager.default.temporaryDirectory
      .appendingPathComponent("kvm-lab-\(UUID().uuidString)")
    try bytes.write(to: input)
    defer { try? FileManager.default.removeItem(at: input) }
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = command
    process.standardInput = try FileHandle(forReadingFrom: input)
    // A kernel's payload has its size behind the compressed bytes, of which some programs
    // complain at their end, having unpacked everything.
    process.standardError = FileHandle.nullDevice
    let output = Pipe()
    process.standardOutput = output
    try process.run()
    let content = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    guard !content.isEmpty else {
      throw LabError("'\(command.joined(separator: " "))' unpacked nothing: is it installed?")
    }
    return content
  }
}
