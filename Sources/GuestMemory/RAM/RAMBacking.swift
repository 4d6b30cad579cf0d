// What a RAM block's memory is made of.

/// Where the memory of a RAM block comes from.
public enum RAMBacking: Equatable, Sendable {
  /// Memory of this process alone.
  case anonymous
  /// A memfd, mapped shared: others can map the same memory from its descriptor.
  case sharedMemory
  /// A file, mapped privately from its beginning: reads come from it, writes stay with the block.
  ///
  /// The file must not be made shorter while the block lives: the kernel would end the process.
  case privateFile(path: String)
}
