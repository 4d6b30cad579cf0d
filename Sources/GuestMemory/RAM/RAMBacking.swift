// What a RAM block's memory is made of.

/// Where the memory of a RAM block comes from.
public enum RAMBacking: Equatable, Sendable {
  /// Memory of this process alone.
  case anonymous
  /// A memfd, mapped shared: others can map the same memory from its descriptor.
  case sharedMemory
  /// A memfd of the host's huge pages of 2 MiB, mapped shared: all of them are set aside at once.
  case hugePages
  /// A file, mapped privately from its beginning: reads come from it, writes stay with the block.
  ///
  /// The file must not be made shorter while the block lives: the kernel would end the process.
  case privateFile(path: String)

  /// Whether others can map the same memory from the block's descriptor.
  public var isShared: Bool {
    switch self {
    case .sharedMemory, .hugePages: true
    case .anonymous, .privateFile: false
    }
  }
}
