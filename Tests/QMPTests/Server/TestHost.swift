// A host for tests, with a few commands of every kind, and a session that works for it at once.

import Dispatch
import JSON
import Synchronization

@testable import QMP

/// A host that does nothing but what tests tell it.
final class TestHost: QMPHost {
  let state = Mutex(QMPRunState.running)
  var runState: QMPRunState { state.withLock { $0 } }

  /// Signalled once `hang` has begun, and what it waits for.
  let hangs = DispatchSemaphore(value: 0)
  let mayGoOn = DispatchSemaphore(value: 0)

  /// Holds the run state until it may go on, as a machine does that waits for its vCPUs.
  private func hang() {
    state.withLock { _ in
      hangs.signal()
      mayGoOn.wait()
    }
  }

  static let limits = {
    var limits = QMPServerLimits()
    limits.messageByteCount = 4096
    limits.depth = 16
    limits.valueCount = 256
    return limits
  }()

  static let table = QMPCommandTable<TestHost>(
    version: QEMUVersion(major: 10, minor: 0, package: "test"),
    commands: [
      QMPServedCommand("query-name", "Nothing.") { _, _ in [:] },
      QMPServedCommand("stop", "Nothing.") { _, _ in [:] },
      QMPServedCommand(
        "echo", "The value.",
        arguments: [
          .required("value", .any), .optional("count", .integer(.uint8)),
          .optional("kind", .enumeration(QMPEnumeration("Kind", ["a", "b"]))),
          .optional(
            "pairs",
            .list(
              .object(
                QMPObject("Pair", [.required("name", .string), .required("state", .boolean)])))),
          .optional("text", .alternate(name: "StrOrNull", [.string, .null])),
        ], returns: .any
      ) { _, call in call["value"] ?? .null },
      QMPServedCommand(
        "when-running", "Nothing.",
        allowed: .except([(.paused, "It stands still"), (.inmigrate, "It is not here yet")])
      ) { _, _ in [:] },
      QMPServedCommand(
        "when-waiting", "Nothing.", allowed: .only([.inmigrate], refusal: "It does not wait")
      ) { _, _ in [:] },
      QMPServedCommand("hang", "It waits.") { host, _ in
        host.hang()
        return [:]
      },
      QMPServedCommand("look", "Nothing.", onlyLooks: true) { _, _ in [:] },
      QMPServedCommand("at-once", "Nothing.", isOutOfBandAllowed: true) { _, _ in [:] },
      QMPServedCommand(
        "getfd", "A name.", arguments: [.required("fdname", .string)], takesDescriptor: true,
        handler: name),
    ],
    events: [
      QMPServedEvent("STOP", "It stopped."),
      QMPServedEvent("OFTEN", "It did.", data: [.required("n", .int)], interval: .milliseconds(80)),
    ])

  private static func name(_ host: TestHost, _ call: QMPCall) throws(QMPRefusal) -> JSONValue {
    guard let descriptor = call.descriptor else {
      throw QMPRefusal("No file descriptor supplied via SCM_RIGHTS")
    }
    try call.descriptors.add(descriptor, as: try call.string("fdname"))
    return [:]
  }
}

/// A session whose commands are carried out as soon as they come.
final class ServedConversation {
  private(set) var session: QMPServerSession
  let host = TestHost()
  private let descriptors = QMPDescriptorNames()

  init(isReady: Bool = true, enablesOutOfBand: Bool = false) throws {
    session = QMPServerSession(version: TestHost.table.version, limits: TestHost.limits)
    guard isReady else { return }
    let arguments = enablesOutOfBand ? #","arguments":{"enable":["oob"]}"# : ""
    _ = try say("{\"execute\":\"qmp_capabilities\"\(arguments)}")
  }

  /// Sends bytes and returns the answers to them.
  func say(_ bytes: [UInt8]) throws -> [JSONValue] {
    session.receive(bytes)
    var answers: [JSONValue] = []
    while let action = session.nextAction() {
      switch action {
      case .send(let bytes): answers.append(try JSONValue(parsing: bytes))
      case .execute(let request):
        answers.append(try JSONValue(parsing: session.finish(request, carryOut(request))))
      }
    }
    return answers
  }

  func say(_ text: String) throws -> [JSONValue] { try say(Array(text.utf8)) }

  private func carryOut(
    _ request: QMPServerSession.Request
  ) -> Result<JSONValue, QMPRefusal> {
    let call = QMPCall(
      command: request.name, arguments: request.arguments, descriptors: descriptors,
      descriptor: request.descriptor)
    do throws(QMPRefusal) {
      return .success(
        try TestHost.table.answer(call, for: host, isOutOfBand: request.isOutOfBand))
    } catch {
      return .failure(error)
    }
  }
}
