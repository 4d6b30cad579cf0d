// Memory that QEMU cannot fill by postcopy, found before its guest depends on it.

import CLinux
import JSON
import QMP

extension QEMUDestination {
  /// Refuses an instant restore into memory that lies in a file of an ordinary file system.
  ///
  /// userfaultfd serves anonymous memory, tmpfs and hugetlbfs. QEMU 10.0 refuses other files when
  /// postcopy is set up; 7.2 goes ahead and dies at the first page.
  func refuseUnservableBackends() async throws {
    guard let (name, path) = try await client.unservableBackend() else { return }
    throw MoveError(
      .refused,
      "The memory backend '\(name)' of the QEMU at \(client.address) lies in \(path), on a file "
        + "system whose pages cannot be served while the guest runs (tmpfs and hugetlbfs can "
        + "be). Use --eager, or put it on tmpfs (memory-backend-memfd, or a file in /dev/shm).")
  }
}

extension QMPClient {
  /// A memory backend that lies in a file of an ordinary file system, and the file; nil for none.
  ///
  /// On another host, one that lies in a file which is not known to be of another kind.
  func unservableBackend() async throws -> (name: String, path: String)? {
    for backend in try await memoryBackends() {
      guard let name = backend.identifier, let path = await path(ofBackend: name),
        !(isForwarded ? Self.isServableAnywhere(path) : Self.isServableHere(path))
      else { continue }
      return (name, path)
    }
    return nil
  }

  /// Whether the pages of a file of this host can be served; one that is not there does not matter.
  private static func isServableHere(_ path: String) -> Bool {
    fileSystemType(of: path).map(servable.contains) ?? true
  }

  /// Whether a path leads to a tmpfs or to huge pages on every host.
  private static func isServableAnywhere(_ path: String) -> Bool {
    ["/dev/shm/", "/dev/hugepages"].contains(where: path.hasPrefix)
  }

  /// The file behind a memory backend; nil for the kinds that have none.
  private func path(ofBackend name: String) async -> String? {
    let property: JSONValue = ["path": .string("/objects/\(name)"), "property": "mem-path"]
    return try? await execute("qom-get", property).string
  }

  /// TMPFS_MAGIC and HUGETLBFS_MAGIC of <linux/magic.h>.
  private static let servable: Set<Int64> = [0x0102_1994, 0x9584_58f6]

  /// The kernel's number for the file system that holds `path`; nil where it is not on this host.
  private static func fileSystemType(of path: String) -> Int64? {
    // SAFETY: the path is a C string for the call.
    let type = unsafe godwit_file_system_type(path)
    return type < 0 ? nil : type
  }
}
