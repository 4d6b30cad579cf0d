// A disk whose content is known on both sides.

import Foundation
import QEMULab

/// A raw disk image: what the guest reads of it is compared in the guest, what it wrote here.
final class TestDisk {
  /// The image.
  let path: String
  private static let megabytes = 64
  private let pattern: Data

  /// Makes an image with a pattern in its second MiB.
  init() throws {
    path = "/tmp/gwkvm-disk-\(getpid())"
    var state: UInt64 = 0x9E37_79B9_7F4A_7C15
    pattern = Data(
      (0..<1 << 20).map { _ in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return UInt8(truncatingIfNeeded: state >> 56)
      })
    guard FileManager.default.createFile(atPath: path, contents: nil) else {
      throw LabError("cannot make \(path)")
    }
    let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
    try file.truncate(atOffset: UInt64(Self.megabytes << 20))
    try file.seek(toOffset: 1 << 20)
    try file.write(contentsOf: pattern)
    try file.close()
  }

  deinit { unlink(path) }

  /// Reads the pattern, copies it within the disk, flushes, mounts a file system on it.
  func check(in guest: LinuxGuest, mounts: Bool = true) throws -> String {
    let sectors = try guest.number("cat /sys/block/vda/size")
    guard sectors == Self.megabytes << 11 else { throw LabError("it has \(sectors) sectors") }
    let sum = try guest.run("dd if=/dev/vda bs=1M skip=1 count=1 2>/dev/null | sha256sum")
    let expected = try LinuxChecks.output(of: [
      "sh", "-c", "dd if=\(path) bs=1M skip=1 count=1 2>/dev/null | sha256sum",
    ])
    guard sum == expected.trimmingCharacters(in: .whitespacesAndNewlines) else {
      throw LabError("the guest reads \(sum), the image holds \(expected)")
    }
    // Written back in small pieces at odd sectors, and flushed.
    try guest.run(
      "dd if=/dev/vda bs=1M skip=1 count=1 of=/tmp/copy 2>/dev/null; "
        + "dd if=/tmp/copy of=/dev/vda bs=1536 seek=21847 conv=fsync 2>/dev/null")
    guard try bytes(at: 21847 * 1536, count: pattern.count) == pattern else {
      throw LabError("what the guest wrote and flushed is not in the image")
    }
    guard mounts else { return "" }
    try guest.run("mke2fs -q /dev/vda >/dev/null && mount -t ext4 /dev/vda /mnt")
    try guest.run("cp /tmp/copy /mnt/copy && echo godwit-was-here >/mnt/words && umount /mnt")
    guard try LinuxChecks.holds(path, text: "godwit-was-here") else {
      throw LabError("the file that the guest made is not in the image")
    }
    try guest.run("mount -t ext4 /dev/vda /mnt && cmp /tmp/copy /mnt/copy && umount /mnt")
    return "1 MiB there and back, a file on ext4"
  }

  private func bytes(at offset: Int, count: Int) throws -> Data? {
    let file = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
    try file.seek(toOffset: UInt64(offset))
    return try file.read(upToCount: count)
  }
}

extension TestDisk? {
  /// Checks a disk that could be made.
  func check(in guest: LinuxGuest, mounts: Bool = true) throws -> String {
    guard let self else { throw LabError("the disk image could not be made in /tmp") }
    return try self.check(in: guest, mounts: mounts)
  }
}
