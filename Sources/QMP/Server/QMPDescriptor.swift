// Descriptors that clients pass: owned by a box, taken out once, closed if nobody does.

import Synchronization
public import Transport

/// A descriptor on its way from a client to whoever uses it.
public final class QMPDescriptor: Sendable {
  private let owned: Mutex<OwnedDescriptor?>

  /// Takes a descriptor over.
  public init(_ descriptor: consuming OwnedDescriptor) {
    owned = Mutex(consume descriptor)
  }

  /// Takes the descriptor out; nil where that was done before.
  public func take() -> OwnedDescriptor? { owned.withLock { $0.take() } }
}

/// The names that one client has given to descriptors (`getfd`).
///
/// Each client has its own, as each of QEMU's monitors has: two clients may use the same name.
/// What has not been used when the client goes is closed.
public final class QMPDescriptorNames: Sendable {
  /// The most descriptors that a client may leave unused.
  public static let countLimit = 64

  private let named = Mutex<[String: QMPDescriptor]>([:])

  /// No names.
  public init() {}

  /// Gives a descriptor a name; one that had it before is closed.
  /// - Throws: ``QMPRefusal`` in QEMU's words where the name is none, and where the client has too
  ///   many.
  public func add(_ descriptor: QMPDescriptor, as name: String) throws(QMPRefusal) {
    if let first = name.utf8.first, (0x30...0x39).contains(first) {
      throw QMPRefusal("Parameter 'fdname' expects a name not starting with a digit")
    }
    let fits = named.withLock { named in
      guard named[name] != nil || named.count < Self.countLimit else { return false }
      named[name] = descriptor
      return true
    }
    guard fits else {
      throw QMPRefusal(
        "\(Self.countLimit) descriptors wait to be used already: close some with 'closefd'")
    }
  }

  /// Takes the descriptor of this name; the name is free then.
  public func take(_ name: String) -> QMPDescriptor? {
    named.withLock { $0.removeValue(forKey: name) }
  }
}
