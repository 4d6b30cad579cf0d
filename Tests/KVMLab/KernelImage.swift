// A distribution's kernel: which one, its version, and the ELF file inside it.

import Foundation
import QEMULab

/// Where the files that a guest boots are.
struct GuestFiles {
  /// The folder that holds them all.
  let directory: String
  /// The kernel as its distribution packs it.
  var bzImage: String { directory + "/vmlinuz" }
  /// The kernel inside it, with its PVH entry; missing where it could not be unpacked.
  var kernel: String { directory + "/vmlinux" }
  /// The initial RAM disk.
  var ramDisk: String { directory + "/initrd" }
}

/// A kernel with its modules.
struct KernelImage {
  /// Its version, as the folder of its modules is called.
  let version: String
  private let bytes: Data

  /// The newest kernel below a root folder that has its modules there.
  static func newest(below root: String) throws -> KernelImage? {
    let boot = root + "/boot"
    let prefix = "vmlinuz-"
    let versions = (try? FileManager.default.contentsOfDirectory(atPath: boot)) ?? []
    let sorted = versions.filter { $0.hasPrefix(prefix) }.map { $0.dropFirst(prefix.count) }
      .sorted { $0.compare($1, options: .numeric) == .orderedDescending }
    for version in sorted {
      let image = "\(boot)/\(prefix)\(version)"
      guard FileManager.default.isReadableFile(atPath: image),
        FileManager.default.fileExists(atPath: "\(root)/lib/modules/\(version)/modules.dep")
      else { continue }
      return KernelImage(
        version: String(version), bytes: try Data(contentsOf: URL(fileURLWithPath: image)))
    }
    return nil
  }

  /// Writes the image, and the ELF file inside it where that can be unpacked here.
  func write(to files: GuestFiles) throws {
    try bytes.write(to: URL(fileURLWithPath: files.bzImage), options: .atomic)
    try? FileManager.default.removeItem(atPath: files.kernel)
    guard let kernel = try unpacked() else { return }
    try kernel.write(to: URL(fileURLWithPath: files.kernel), options: .atomic)
  }

  /// What the image's own code would unpack.
  ///
  /// By the boot protocol, the header has the number of setup sectors at 0x1F1, and the payload's
  /// place behind them and its size at 0x248 and 0x24C.
  private func unpacked() throws -> Data? {
    func number(at offset: Int) -> Int {
      bytes[offset..<offset + 4].reversed().reduce(0) { $0 << 8 | Int($1) }
    }
    guard bytes.count > 0x250 else { return nil }
    let setup = bytes[0x1F1] == 0 ? 4 : Int(bytes[0x1F1])
    let start = (setup + 1) * 512 + number(at: 0x248)
    let end = start + number(at: 0x24C)
    guard start < end, end <= bytes.count else { return nil }
    let payload = bytes[start..<end]
    let elf = try Unpacking.unpack(Data(payload))
    return elf.starts(with: [0x7F] + Array("ELF".utf8)) ? elf : nil
  }
}
