// What a checkpoint's restores teach, as the store keeps it.

/// A page of a checkpoint's memory.
public struct PageName: Hashable, Sendable {
  /// Index into the checkpoint's blocks.
  public var block: Int
  /// Byte offset in the block.
  public var offset: UInt64

  /// Names a page.
  public init(block: Int, offset: UInt64) {
    self.block = block
    self.offset = offset
  }
}

/// A page that a guest asked for.
public struct RequestedPage: Hashable, Sendable {
  /// Which one.
  public var page: PageName
  /// How many pages the guest had got unasked by then.
  public var broughtBefore: UInt64

  /// A page asked for when `broughtBefore` pages had come unasked.
  public init(page: PageName, broughtBefore: UInt64) {
    self.page = page
    self.broughtBefore = broughtBefore
  }
}

/// Pages side by side that a guest got before it asked for them.
public struct BroughtPages: Hashable, Sendable {
  /// The first of them.
  public var first: PageName
  /// How many there are.
  public var pageCount: UInt64

  /// Names `pageCount` pages from `first` on.
  public init(first: PageName, pageCount: UInt64) {
    self.first = first
    self.pageCount = pageCount
  }
}

/// The order in which the guests of a checkpoint needed its pages.
public struct DemandRecord: Equatable, Sendable {
  /// The pages that guests asked for, first request first.
  public var requested: [RequestedPage]
  /// What else the last guest got, in the order of its coming.
  public var brought: [BroughtPages]

  /// A record; without arguments, nothing is known.
  public init(requested: [RequestedPage] = [], brought: [BroughtPages] = []) {
    self.requested = requested
    self.brought = brought
  }

  /// Whether nothing is known.
  public var isEmpty: Bool { requested.isEmpty && brought.isEmpty }
}
