// What takes a machine: a checkpoint being recorded, a file, a machine. The destination engine
// calls it and knows nothing else of it.

public import Wire

/// Something that a machine can be moved into.
///
/// One thread calls all of it, the one that runs `DestinationEngine.run()`. An error thrown here
/// ends the migration; with a return path the source is told, and its machine stays runnable.
public protocol DestinationEndpoint: AnyObject {
  /// The machine that will come: its configuration and its RAM blocks in the source's order.
  ///
  /// Called once, before any page. A page that is never placed is all zero. Throw to refuse.
  func prepare(configuration: StreamConfiguration, blocks: [RAMBlockDescription]) throws

  /// The content of one target page; it replaces what was placed there before.
  ///
  /// `content` is valid during the call only.
  func place(_ page: RAMPageAddress, content: RawSpan) throws

  /// One target page is all zero now.
  func placeZero(_ page: RAMPageAddress) throws

  /// Fills `buffer`, one target page long, with the page's present content: the base of a delta.
  func read(_ page: RAMPageAddress, into buffer: inout [UInt8]) throws

  /// The state of the devices, which comes after all pages.
  func takeDeviceState(_ state: DeviceState) throws

  /// Everything came. When this returns, the machine is kept durably.
  ///
  /// Only then does a source with a return path hear that its machine has moved.
  func complete() throws
}
