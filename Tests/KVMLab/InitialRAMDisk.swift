// The guest's whole user space: one busybox, some modules, a shell on the serial console.

import Foundation
import QEMULab

/// Makes the initial RAM disk.
enum InitialRAMDisk {
  /// What the first process says when the shell is about to start.
  static let readyLine = "GODWIT-LAB ready"

  /// The modules for the machine's devices and for what is done with them.
  private static let modules = [
    "virtio_mmio", "virtio_blk", "virtio_net", "virtio_balloon", "virtio_rng", "virtio_console",
    "crc32c_generic", "ext4", "af_packet", "button", "evdev",
  ]

  /// The archive that a kernel unpacks, uncompressed: to unpack costs a slow host seconds.
  static func make(busybox: String, modules all: KernelModules) throws -> [UInt8] {
    let shell = try Data(contentsOf: URL(fileURLWithPath: busybox))
    guard shell.range(of: Data("/lib64/ld-linux".utf8)) == nil else {
      throw LabError("\(busybox) is not statically linked: install busybox-static")
    }
    var archive = CPIOArchive()
    for folder in ["bin", "dev", "proc", "sys", "tmp", "mnt", "modules"] {
      archive.addFolder(folder)
    }
    archive.addFile("bin/busybox", shell, isProgram: true)
    archive.addFile("init", Data(start.utf8), isProgram: true)
    archive.addFile("bin/lease", Data(lease.utf8), isProgram: true)
    archive.addFile("bin/work", Data(work.utf8), isProgram: true)
    let loaded = try all.load(modules)
    for module in loaded { archive.addFile("modules/\(module.name).ko", module.bytes) }
    archive.addFile(
      "modules/order", Data(loaded.map { "/modules/\($0.name).ko\n" }.joined().utf8))
    return archive.finished()
  }

  /// The first process.
  ///
  /// The power button's first event ends the machine.
  private static let start = """
    #!/bin/busybox sh
    /bin/busybox mount -t proc proc /proc
    /bin/busybox mount -t sysfs sys /sys
    /bin/busybox mount -t devtmpfs dev /dev
    /bin/busybox mount -t tmpfs tmp /tmp
    /bin/busybox --install -s /bin
    while read -r module; do
      insmod "$module" || echo "insmod $module failed"
    done </modules/order
    for event in /sys/class/input/event*; do
      [ "$(cat "$event/device/name")" = "Power Button" ] || continue
      { dd if="/dev/input/${event##*/}" of=/dev/null bs=24 count=1 2>/dev/null && poweroff -f; } &
    done
    echo "\(readyLine)"
    grep -q godwit-lab=probe /proc/cmdline && reboot -f
    while true; do setsid cttyhack sh; done

    """

  /// Copies a MiB in memory, and to a disk and back, over and over, until it is told to end.
  ///
  /// It counts its rounds in /tmp/round; what is not as it was written goes to /tmp/bad.
  private static let work = """
    #!/bin/sh
    dd if=/dev/urandom of=/tmp/base bs=64k count=16
    sum=$(sha256sum </tmp/base)
    round=0
    while [ ! -e /tmp/end ]; do
      round=$((round + 1))
      cp /tmp/base /tmp/copy-$((round % 4))
      cmp /tmp/base /tmp/copy-$((round % 4)) || echo "round $round: a copy" >>/tmp/bad
      [ "$(sha256sum </tmp/base)" = "$sum" ] || echo "round $round: the original" >>/tmp/bad
      if [ -n "$1" ]; then
        dd if=/tmp/copy-$((round % 4)) of="$1" bs=64k seek=640 conv=fsync
        dd if="$1" of=/tmp/back bs=64k skip=640 count=16 iflag=direct
        cmp /tmp/base /tmp/back || echo "round $round: the disk" >>/tmp/bad
      fi
      echo $round >/tmp/round.new && mv /tmp/round.new /tmp/round
    done
    touch /tmp/done

    """

  /// What udhcpc does with the address that it got.
  private static let lease = """
    #!/bin/sh
    [ "$1" = bound ] || exit 0
    ip addr add "$ip/$mask" dev "$interface"

    """
}

/// An archive in the "newc" format of cpio, which kernels take as an initial RAM disk.
struct CPIOArchive {
  private var bytes: [UInt8] = []
  private var lastNumber = 0

  /// Adds a folder.
  mutating func addFolder(_ name: String) { add(name, mode: 0o040755, Data()) }

  /// Adds a file.
  mutating func addFile(_ name: String, _ content: Data, isProgram: Bool = false) {
    add(name, mode: isProgram ? 0o100755 : 0o100644, content)
  }

  /// The whole archive.
  func finished() -> [UInt8] {
    var copy = self
    copy.add("TRAILER!!!", mode: 0, Data())
    return copy.bytes
  }

  /// A header of thirteen numbers of eight hexadecimal digits, the name, the content; name and
  /// content are padded to four bytes.
  private mutating func add(_ name: String, mode: Int, _ content: Data) {
    lastNumber += 1
    let numbers = [
      lastNumber, mode, 0, 0, 1, 0, content.count, 0, 0, 0, 0, name.utf8.count + 1, 0,
    ]
    bytes += "070701".utf8
    for number in numbers { bytes += String(format: "%08x", number).utf8 }
    bytes += Array(name.utf8) + [0]
    pad()
    bytes += content
    pad()
  }

  private mutating func pad() {
    while !bytes.count.isMultiple(of: 4) { bytes.append(0) }
  }
}
