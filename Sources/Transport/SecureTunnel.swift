// An ssh at work: sockets in a folder of its own that lead to sockets of another host.

import Glibc
import Synchronization

/// A running ssh that forwards sockets.
///
/// It lives as long as this object holds its input open, and longer as long as somebody uses a
/// connection that it forwards: so what two endpoints have begun over it outlives this process. The
/// sockets are in a folder that only this user can enter.
public final class SecureTunnel: Sendable {
  /// How far it is.
  public enum Stage: Sendable, Equatable {
    /// It has not reached the other host yet.
    case connecting
    /// Its sockets lead to the other host.
    case ready
    /// It leads nowhere any more; nil where it has not quite ended, or nobody knows how.
    case ended(CommandExit?)
  }

  /// A line that ssh said, and when.
  public struct Line: Sendable, Equatable {
    /// When it came.
    public var instant: ContinuousClock.Instant
    /// The line.
    public var text: String
  }

  private struct Folder {
    let path: String
    let sockets: [String]
  }

  private let command: ChildCommand
  private let conversation: ByteChannel
  private let account: TunnelAccount
  private let folder: Mutex<Folder?>

  /// Starts it; returns before it has reached the other host.
  /// - Parameters:
  ///   - shell: which ssh, and where to.
  ///   - paths: sockets of the other host, absolute.
  ///   - parent: a folder for its own one.
  public init(
    _ shell: SecureShell, to paths: [String], in parent: String
  ) throws(TransportError) {
    let path = try Self.makeFolder(in: parent)
    let sockets = paths.indices.map { "\(path)/\($0)" }
    let account = TunnelAccount()
    do throws(TransportError) {
      let toCommand = try Pipe(), fromCommand = try Pipe(), errors = try Pipe()
      command = try ChildCommand.start(
        shell.script(forwarding: Array(zip(sockets, paths))),
        input: toCommand.readEnd.raw, output: fromCommand.writeEnd.raw,
        errors: errors.writeEnd.raw)
      conversation = try ByteChannel(
        adoptingInput: fromCommand.readEnd.duplicate(), output: toCommand.writeEnd.duplicate(),
        peer: "ssh")
      let complaints = try ByteChannel(adopting: errors.readEnd.duplicate(), peer: "ssh")
      _ = try NamedThread(name: "ssh errors") { account.hear(complaints) }
    } catch {
      Self.remove(Folder(path: path, sockets: sockets))
      throw error
    }
    self.account = account
    folder = Mutex(Folder(path: path, sockets: sockets))
    let (command, conversation) = (command, conversation)
    _ = try NamedThread(name: "ssh output") { account.listen(to: conversation, of: command) }
  }

  deinit { close() }

  /// How far it is.
  public var stage: Stage { account.stage }

  /// What it has said on its standard error, the last lines of it.
  public var lines: [Line] { account.lines }

  /// Whether the other host answers through it within some time.
  public func answers(within patience: Duration) async -> Bool {
    let before = account.echoCount
    guard stage == .ready, (try? conversation.write(Array("\n".utf8))) != nil else { return false }
    let limit = ContinuousClock.now + patience
    while stage == .ready, ContinuousClock.now < limit {
      if account.echoCount > before { return true }
      try? await Task.sleep(for: .milliseconds(5))
    }
    return false
  }

  /// The socket here that leads to one of the paths given; nil where there is none (any more).
  public func socket(_ index: Int) -> String? {
    guard let path = folder.withLock({ $0?.sockets[index] }) else { return nil }
    return unsafe access(path, F_OK) == 0 ? path : nil
  }

  /// Lets nobody connect any more; connections that were made go on.
  public func seal() {
    if let folder = folder.withLock({ $0.take() }) { Self.remove(folder) }
  }

  /// Lets it end as soon as the connections that it forwards have ended.
  public func close() {
    seal()
    try? conversation.shutdownWrite()
  }

  /// Ends it at once, whatever it is doing.
  public func terminate() {
    close()
    command.terminate()
  }

  // MARK: - The folder

  private static func makeFolder(in parent: String) throws(TransportError) -> String {
    // The sockets in it have names of one digit.
    let room = MigrationURI.unixPathByteLimit - "/godwit-XXXXXX/0".utf8.count
    let place = parent.utf8.count <= room ? parent : "/tmp"
    var template = Array("\(place)/godwit-XXXXXX".utf8CString)
    // SAFETY: the array ends with the template's terminator, and is written within its bounds.
    let made = unsafe template.withUnsafeMutableBufferPointer { memory -> String? in
      guard let base = memory.baseAddress, let name = unsafe mkdtemp(base) else { return nil }
      return unsafe String(cString: name)
    }
    guard let made else { throw .failed(action: "Making a folder in \(place)", code: errno) }
    return made
  }

  private static func remove(_ folder: Folder) {
    for path in folder.sockets { _ = unsafe unlink(path) }
    _ = unsafe rmdir(folder.path)
  }
}

/// What is known of a running ssh; outlives the tunnel while its threads still read.
private final class TunnelAccount: Sendable {
  private struct State {
    var stage = SecureTunnel.Stage.connecting
    var lines: [SecureTunnel.Line] = []
    var echoCount = 0
  }

  /// The most lines that are kept, and the most bytes of one.
  private static let lineLimit = 20
  private static let lineByteLimit = 500

  private let state = Mutex(State())

  var stage: SecureTunnel.Stage { state.withLock { $0.stage } }
  var lines: [SecureTunnel.Line] { state.withLock { $0.lines } }
  /// How often the far end has repeated what it was sent.
  var echoCount: Int { state.withLock { $0.echoCount } }

  /// Reads its standard output to the end: something of a login shell's, the word that it is ready,
  /// and what it repeats.
  func listen(to channel: ByteChannel, of command: ChildCommand) {
    Self.readLines(of: channel) { line in
      state.withLock { state in
        if state.stage == .ready { state.echoCount += 1 }
        if line == SecureShell.readiness, state.stage == .connecting { state.stage = .ready }
      }
    }
    state.withLock { $0.stage = .ended(nil) }
    let exit = try? command.exit()
    state.withLock { $0.stage = .ended(exit) }
  }

  /// Reads its standard error to the end.
  func hear(_ channel: ByteChannel) {
    Self.readLines(of: channel) { line in
      guard !line.isEmpty else { return }
      state.withLock { state in
        state.lines.append(SecureTunnel.Line(instant: .now, text: line))
        if state.lines.count > Self.lineLimit { state.lines.removeFirst() }
      }
    }
  }

  private static func readLines(of channel: ByteChannel, _ take: (String) -> Void) {
    var rest: [UInt8] = []
    func finish() {
      take(String(decoding: rest.filter { $0 >= 0x20 }, as: UTF8.self))
      rest.removeAll()
    }
    while let bytes = try? channel.read(atMost: 4096), !bytes.isEmpty {
      for byte in bytes {
        if byte == 0x0a {
          finish()
        } else if rest.count < lineByteLimit {
          rest.append(byte)
        }
      }
    }
    if !rest.isEmpty { finish() }
  }
}
