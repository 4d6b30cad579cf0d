// What a move of a running machine asks of whatever notices the guest's writes.

/// A source of dirty pages, started and stopped as a whole.
///
/// One at a time is in use. Its methods are called by one thread at a time, but ``willSend(_:)``:
/// any thread calls it at any time, between a `start` and the next.
public protocol DirtyLog: AnyObject, Sendable {
  /// The name it is selected by: `bitmap`, `clear`, `ring`, `write-protect`.
  var name: String { get }

  /// Why this source and no other was chosen: a clause for logs and queries.
  var reason: String { get }

  /// Begins to notice writes; every write after this returns is reported by a later `sync`.
  func start() throws(GuestMemoryError)

  /// Takes what was noticed since the last time into the migration client's bitmap.
  /// - Returns: how many pages the source reported.
  @discardableResult
  func sync() throws(GuestMemoryError) -> Int

  /// Arms tracking again for pages that are about to be read and sent.
  ///
  /// Must return before the first of them is read: a write after the reading is then noticed. Does
  /// nothing where `sync` has armed them already.
  func willSend(_ range: RAMRange) throws(GuestMemoryError)

  /// Pages that held nothing at the moment from which their writes are noticed, as far as `start`
  /// has seen to that: zeros, unless a `sync` has reported them since.
  ///
  /// For logs that leave traces in the page table, where the kernel can no longer be asked.
  var untouchedAtStart: [RAMRange] { get }

  /// Ends tracking; what was noticed and not taken is forgotten.
  func stop() throws(GuestMemoryError)
}

extension DirtyLog {
  /// None: the kernel can be asked at any time.
  public var untouchedAtStart: [RAMRange] { [] }
}
