// What a userfaultfd can do, by the kernel's bits.

/// Features of userfaultfd (`UFFD_FEATURE_…`).
public struct UserfaultFeatures: OptionSet, Hashable, Sendable {
  /// The kernel's bits.
  public let rawValue: UInt64

  /// Features by the kernel's bits.
  public init(rawValue: UInt64) {
    self.rawValue = rawValue
  }

  /// Write protection of anonymous memory.
  public static let writeProtect = Self(rawValue: 1 << 0)
  /// An event when memory is given back.
  public static let eventRemove = Self(rawValue: 1 << 3)
  /// Missing pages of huge-page files.
  public static let missingHugetlbfs = Self(rawValue: 1 << 4)
  /// Missing pages of shared memory.
  public static let missingShmem = Self(rawValue: 1 << 5)
  /// An event when memory is unmapped.
  public static let eventUnmap = Self(rawValue: 1 << 6)
  /// Faults name the thread.
  public static let threadID = Self(rawValue: 1 << 8)
  /// Pages of huge-page files that are there but not mapped.
  public static let minorHugetlbfs = Self(rawValue: 1 << 9)
  /// Pages of shared memory that are there but not mapped.
  public static let minorShmem = Self(rawValue: 1 << 10)
  /// Faults name the address to the byte.
  public static let exactAddress = Self(rawValue: 1 << 11)
  /// Write protection of shared memory and huge-page files.
  public static let writeProtectShmem = Self(rawValue: 1 << 12)
  /// Write protection of pages that are not there yet (Linux 6.4).
  public static let writeProtectUnpopulated = Self(rawValue: 1 << 13)
  /// Pages that raise an error when touched (Linux 6.6).
  public static let poison = Self(rawValue: 1 << 14)
  /// Write faults that the kernel resolves itself and remembers (Linux 6.7).
  public static let writeProtectAsync = Self(rawValue: 1 << 15)

  /// What noticing writes by page table needs.
  public static let asynchronousTracking: Self = [
    .writeProtect, .writeProtectShmem, .writeProtectUnpopulated, .writeProtectAsync,
  ]

  /// The kernel's names of the features, without prefix; bits that are not known here as a number.
  public var names: [String] {
    let known: [(Self, String)] = [
      (.writeProtect, "PAGEFAULT_FLAG_WP"), (.eventRemove, "EVENT_REMOVE"),
      (.missingHugetlbfs, "MISSING_HUGETLBFS"), (.missingShmem, "MISSING_SHMEM"),
      (.eventUnmap, "EVENT_UNMAP"), (.threadID, "THREAD_ID"),
      (.minorHugetlbfs, "MINOR_HUGETLBFS"), (.minorShmem, "MINOR_SHMEM"),
      (.exactAddress, "EXACT_ADDRESS"), (.writeProtectShmem, "WP_HUGETLBFS_SHMEM"),
      (.writeProtectUnpopulated, "WP_UNPOPULATED"), (.poison, "POISON"),
      (.writeProtectAsync, "WP_ASYNC"),
    ]
    let unknown = subtracting(known.reduce(into: []) { $0.formUnion($1.0) })
    return known.filter { contains($0.0) }.map(\.1)
      + (unknown.isEmpty ? [] : ["0x" + String(unknown.rawValue, radix: 16)])
  }
}

/// What a registered range reports (`UFFDIO_REGISTER_MODE_…`).
public struct UserfaultModes: OptionSet, Hashable, Sendable {
  /// The kernel's bits.
  public let rawValue: UInt64

  /// Modes by the kernel's bits.
  public init(rawValue: UInt64) {
    self.rawValue = rawValue
  }

  /// Pages that are not there.
  public static let missing = Self(rawValue: 1 << 0)
  /// Writes to protected pages.
  public static let writeProtect = Self(rawValue: 1 << 1)
  /// Pages that are there but not mapped.
  public static let minor = Self(rawValue: 1 << 2)
}
