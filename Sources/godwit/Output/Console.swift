// Where a command's results, progress, notes and errors go, as text or as lines of JSON.

import CheckpointStore
import Endpoints
import JSON
import Synchronization

/// The command's voice.
///
/// Results go to standard output, everything else to standard error; with `--json` all of it goes
/// to standard output, one object a line. Usable from any thread.
final class Console: Sendable {
  private enum Style {
    /// A bar that is drawn over and over on its line.
    case bar
    /// A line now and then.
    case lines
    /// Objects.
    case json
  }

  private struct State {
    var pacing: ProgressPacing
    var isBarDrawn = false
    var isOutputClosed = false
  }

  private let style: Style
  private let start = ContinuousClock.now
  private let state: Mutex<State>

  /// A console that speaks JSON or text; a bar is drawn only where standard error is a terminal.
  init(json: Bool) {
    style = json ? .json : StandardStream.error.isTerminal ? .bar : .lines
    let pacing =
      switch style {
      case .bar: ProgressPacing(interval: .milliseconds(100), delay: .milliseconds(300))
      case .lines: ProgressPacing(interval: .seconds(2), delay: .seconds(2))
      case .json: ProgressPacing(interval: .milliseconds(200))
      }
    state = Mutex(State(pacing: pacing))
  }

  /// Whether results are to be objects rather than text.
  var isJSON: Bool { style == .json }

  /// Whether standard output has been closed by its reader, so that no more need be computed.
  var isOutputClosed: Bool { state.withLock { $0.isOutputClosed } }

  /// Shows a sample of progress, if it is time for one.
  func show(_ progress: Progress) {
    let elapsed = ContinuousClock.now - start
    state.withLock { state in
      guard state.pacing.admits(progress.phase, at: elapsed) else { return }
      switch style {
      case .bar:
        let width = StandardStream.error.columnCount
        _ = StandardStream.error.write(Array("\r\(progress.bar(width: width))\u{1B}[K".utf8))
        state.isBarDrawn = true
      case .lines: _ = StandardStream.error.write(Array((progress.line + "\n").utf8))
      case .json: Self.output(event: "progress", progress.members, &state)
      }
    }
  }

  /// Says a sentence that a person should read.
  func note(_ sentence: String) {
    state.withLock { state in
      guard style == .json else { return Self.remark("godwit: \(sentence)", &state) }
      Self.output(event: "note", [JSONMember("message", .string(sentence))], &state)
    }
  }

  /// Says what went wrong.
  func fail(_ sentence: String) {
    state.withLock { state in
      guard style == .json else { return Self.remark("godwit: \(sentence)", &state) }
      Self.output(event: "error", [JSONMember("message", .string(sentence))], &state)
    }
  }

  /// Prints a line of a text result; nothing with `--json`.
  func print(_ line: String) {
    guard !isJSON else { return }
    state.withLock { state in
      Self.clearBar(&state)
      Self.output(line, &state)
    }
  }

  /// Prints an object of this event with `--json`; without it, nothing.
  func emit(_ event: String, _ members: [JSONMember]) {
    guard isJSON else { return }
    state.withLock { Self.output(event: event, members, &$0) }
  }

  /// Reports the command's result: these lines, or with `--json` this object.
  func result(_ lines: [String], _ members: [JSONMember]) {
    for line in lines { print(line) }
    emit("result", members)
  }

  /// Takes a bar off the terminal, so that what follows begins on a clean line.
  func finish() {
    state.withLock { Self.clearBar(&$0) }
  }

  /// Shows how far an operation on the store, or on a file, has come.
  func show(_ word: String, _ progress: StoreProgress, countsBytes: Bool = false) {
    let elapsed = (ContinuousClock.now - start) / .seconds(1)
    show(Progress(word, progress, countsBytes: countsBytes, after: elapsed))
  }

  /// An observer that reports here.
  var observer: MoveObserver {
    MoveObserver(progress: { self.show(Progress($0)) }, note: { self.note($0) })
  }

  private static func remark(_ line: String, _ state: inout State) {
    clearBar(&state)
    _ = StandardStream.error.write(Array((line + "\n").utf8))
  }

  private static func output(event: String, _ members: [JSONMember], _ state: inout State) {
    output(JSONValue.object([JSONMember("event", .string(event))] + members).description, &state)
  }

  private static func output(_ line: String, _ state: inout State) {
    guard !state.isOutputClosed else { return }
    state.isOutputClosed = !StandardStream.output.write(Array((line + "\n").utf8))
  }

  private static func clearBar(_ state: inout State) {
    guard state.isBarDrawn else { return }
    state.isBarDrawn = false
    _ = StandardStream.error.write(Array("\r\u{1B}[K".utf8))
  }
}
