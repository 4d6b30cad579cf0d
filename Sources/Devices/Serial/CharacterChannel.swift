// The host's end of a character device: bytes out without ever waiting, bytes in when there is
// room.

import Synchronization
import Transport

/// The device at the guest's end of a channel; the channel calls it on the channel's thread.
protocol CharacterReceiver: AnyObject, Sendable {
  /// How many bytes of input it can take now.
  var inputRoom: Int { get }
  /// Takes input, at most `inputRoom` bytes of it.
  func receive(_ bytes: [UInt8])
  /// Output that was held up flows again, or is given up.
  func outputResumed()
}

/// Limits of a channel.
enum CharacterLimits {
  /// Output kept for a peer that does not read, in bytes; more is dropped.
  static let backlogByteCount = 64 << 10
  /// From so many bytes on, the guest is asked to wait.
  static let congestionByteCount = 4 << 10
  /// A peer that takes nothing for so long no longer holds the guest up; its output is dropped.
  static let patience: Duration = .seconds(1)
  /// How long a machine that stops waits for its last output.
  static let farewell: Duration = .milliseconds(200)
  /// Most bytes read at once.
  static let inputByteCount = 4 << 10
}

/// A character backend that was opened.
///
/// A vCPU's output is written at once where the other end takes it, and kept otherwise; a thread of
/// the channel's own sends what was kept and reads input.
final class CharacterChannel: Sendable {
  struct State: Sendable {
    var backlog: [UInt8] = []
    /// Set while the other end has taken nothing for longer than the patience.
    var isStalled = false
    var lastProgress = ContinuousClock.now
    /// Told once output flows again.
    var hasWaiter = false
  }

  private let state = Mutex(State())
  private let port: CharacterPort
  private let thread: DeviceThread?

  /// Opens what was chosen.
  convenience init(_ backend: CharacterBackend) throws(DeviceError) {
    try self.init(port: CharacterPort(backend))
  }

  /// Uses a port that is open.
  init(port: CharacterPort) throws(DeviceError) {
    self.port = port
    thread = port.isNull ? nil : try DeviceThread()
  }

  deinit { thread?.end() }

  /// Starts the channel's thread, parked, on behalf of the device at the guest's end.
  func attach(_ receiver: some CharacterReceiver, name: String) throws(DeviceError) {
    try thread?.start(name: name) { [weak self, weak receiver] in
      guard let self, let receiver else { return nil }
      return self.step(receiver)
    }
  }

  /// Lets the channel's thread work.
  func resume() { thread?.release() }

  /// Has the thread stand still for a moment, while the guest resets its device.
  func pause() { thread?.pause() }

  /// Takes `pause()` back.
  func unpause() { thread?.unpause() }

  /// Stops the thread; what output is left is given a short while to leave.
  func quiesce() {
    thread?.hold()
    let deadline = ContinuousClock.now + CharacterLimits.farewell
    while state.withLock({ !$0.backlog.isEmpty }), ContinuousClock.now < deadline {
      _ = flush()
      port.waitForOutput(milliseconds: 10)
    }
  }

  /// Has the thread look again whether there is room for input.
  func inputRoomGrew() { thread?.kick() }

  /// Whether the guest had better wait before it sends more.
  var isCongested: Bool {
    state.withLock { $0.backlog.count >= CharacterLimits.congestionByteCount && !$0.isStalled }
  }

  /// Takes output: sends it, or keeps it, or drops it where too much is kept already.
  ///
  /// Never waits. When it leaves the channel congested, `outputResumed` follows.
  func send(_ bytes: [UInt8]) {
    if port.isNull { return }
    let mustKick = state.withLock { state -> Bool in
      var rest = bytes[...]
      if state.backlog.isEmpty {
        rest = rest.dropFirst(port.write(rest))
        state.lastProgress = .now
      }
      let room = CharacterLimits.backlogByteCount - state.backlog.count
      state.backlog += rest.prefix(max(0, room))
      if state.backlog.count >= CharacterLimits.congestionByteCount && !state.isStalled {
        state.hasWaiter = true
      }
      return !state.backlog.isEmpty
    }
    if mustKick { thread?.kick() }
  }

  /// Sends what was kept, as far as it goes; whether somebody waits to hear of it.
  private func flush() -> Bool {
    state.withLock { state in
      let written = port.write(state.backlog[...])
      if written > 0 {
        state.backlog.removeFirst(written)
        state.lastProgress = .now
        state.isStalled = false
      } else if !state.backlog.isEmpty,
        ContinuousClock.now - state.lastProgress > CharacterLimits.patience
      {
        state.isStalled = true
      }
      let flows =
        state.backlog.count < CharacterLimits.congestionByteCount || state.isStalled
      defer { if flows { state.hasWaiter = false } }
      return flows && state.hasWaiter
    }
  }

  private func step(_ receiver: some CharacterReceiver) -> ThreadWait? {
    if flush() { receiver.outputResumed() }
    let room = min(receiver.inputRoom, CharacterLimits.inputByteCount)
    if room > 0 {
      let bytes = port.read(atMost: room)
      if !bytes.isEmpty { receiver.receive(bytes) }
    }
    let (hasBacklog, hasWaiter) = state.withLock { (!$0.backlog.isEmpty, $0.hasWaiter) }
    return ThreadWait(
      descriptors: port.watched(input: receiver.inputRoom > 0, output: hasBacklog),
      timeout: hasWaiter ? CharacterLimits.patience : nil)
  }
}
