// What all commands have in common: their options, how they fail, and how they are interrupted.

import ArgumentParser

/// One command of Godwit: parse, call, render.
protocol GodwitCommand: AsyncParsableCommand, Sendable {
  /// The options that every command has.
  var general: GeneralOptions { get }

  /// Whether a signal cancels the command's work in order, as a move must be; otherwise it ends
  /// the process, which the store's promises allow at any instant.
  static var cancelsInOrder: Bool { get }

  /// Does the command's work and reports its result; throws what the person should read.
  func perform(_ console: Console) async throws
}

extension GodwitCommand {
  static var cancelsInOrder: Bool { false }

  func run() async throws {
    let console = Console(json: general.json)
    let work = Task { try await perform(console) }
    if Self.cancelsInOrder { Interruption.onRequest { work.cancel() } }
    let outcome = await work.result
    console.finish()
    guard case .failure(let error) = outcome else { return }
    // A parser's error or an exit code keeps its meaning: wrong usage is not failed work.
    if error is ValidationError || error is ExitCode { throw error }
    console.fail(Sentence.about(error))
    throw ExitCode(1)
  }
}
