// The modules that the guest needs of its kernel, with what those need, in loading order.

import Foundation

/// A kernel's modules.
struct KernelModules {
  private let base: String
  /// For each file, the files that must be loaded before it, farthest first.
  private var needs: [String: [String]] = [:]
  /// Files by module name.
  private var files: [String: String] = [:]

  /// Reads a kernel's list of modules.
  init(root: String, version: String) throws {
    base = "\(root)/lib/modules/\(version)"
    let list = try String(contentsOfFile: base + "/modules.dep", encoding: .utf8)
    for line in list.split(separator: "\n") {
      let parts = line.split(separator: ":", maxSplits: 1)
      guard let file = parts.first.map(String.init) else { continue }
      needs[file] = parts.dropFirst().first?.split(separator: " ").map(String.init).reversed() ?? []
      files[Self.name(of: file)] = file
    }
  }

  /// The content of the modules wanted and of those they need, in loading order.
  ///
  /// What is not in the list is built into the kernel.
  func load(_ names: [String]) throws -> [(name: String, bytes: Data)] {
    var order: [String] = []
    for name in names {
      guard let file = files[name] else { continue }
      for file in (needs[file] ?? []) + [file] where !order.contains(file) { order.append(file) }
    }
    return try order.map { file in
      let bytes = try Data(contentsOf: URL(fileURLWithPath: "\(base)/\(file)"))
      return (Self.name(of: file), try Unpacking.unpack(bytes))
    }
  }

  /// `virtio_mmio` of `kernel/drivers/virtio/virtio-mmio.ko.xz`.
  private static func name(of file: String) -> String {
    let last = file.split(separator: "/").last ?? ""
    return String(last.prefix { $0 != "." }.map { $0 == "-" ? "_" : $0 })
  }
}
