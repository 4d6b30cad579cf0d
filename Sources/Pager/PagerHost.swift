// What only the machine can do while a pager receives it.

public import Userfault
public import Wire

/// A machine, as its pager needs it.
///
/// Called by a session's threads; ``load(_:)`` and ``run()`` by one of their own, since they may
/// wait for pages.
public protocol PagerHost: AnyObject, Sendable {
  /// Checks the machine that comes, and empties memory.
  ///
  /// - Returns: for each announced block, which of the blocks that were handed over it is.
  func prepare(
    configuration: StreamConfiguration, blocks: [RAMBlockDescription]
  ) throws -> [Int]

  /// Reads the devices' state, to be taken over by ``complete()``.
  func takeDeviceState(_ state: DeviceState) throws

  /// Gives the devices their state; memory is whole.
  func complete() throws

  /// Registers memory with the userfaultfd, for pages that do not exist and for those that nobody
  /// was let in to yet; nothing is mapped in this process after that.
  func beginServing(_ userfault: Userfault) throws

  /// Gives the devices their state; they may wait for pages meanwhile.
  func load(_ state: DeviceState) throws

  /// Lets the machine run, unless it is to stay paused.
  func run() throws

  /// Memory is ordinary again.
  func endServing(_ userfault: Userfault)
}
