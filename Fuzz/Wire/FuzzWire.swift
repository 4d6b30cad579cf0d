// FuzzWire.swift: the fuzz target of Wire: what it is told, what it runs, what it says.

import Foundation
import WireLab

/// Feeds damaged streams to the decoders, again and again.
///
///     fuzz-wire [--runs N] [--seed S] [--first N] [--corpus DIR]   so many damaged inputs
///     fuzz-wire FILE…                                             these inputs as they are
///     fuzz-wire --write-seeds DIR                                 the synthetic part of the corpus
///     fuzz-wire --canary                                          a fault of its own; has to fail
///
/// The inputs follow from the seed and the number of the run alone: a finding is repeated by
/// `--seed S --first N --runs 1`. The decoders must not trap, must take no longer than a second
/// for any input, must stay within the memory bound, and must say the same of an input however
/// it is split.
@main
enum FuzzWire {
  /// The longest that one input may take.
  static let timeLimit = Duration.seconds(1)
  /// The most memory that the process may ever have held, in MiB.
  static let memoryLimit = 512

  static func main() throws {
    let options: Options
    do {
      options = try Options(Array(CommandLine.arguments.dropFirst()))
    } catch {
      print("fuzz-wire: \(error)")
      exit(2)
    }
    if let folder = options.seedFolder {
      try Seeds.write(to: folder)
      return
    }
    guard options.files.isEmpty else {
      for path in options.files {
        let entry = try Corpus.Entry(path: path)
        var random = options.random(run: 0)
        try check(entry.kind, entry.bytes, &random, options.isCanary)
        let outcome = outcome(entry)
        print("\(path): \(entry.bytes.count) bytes, no finding; \(outcome)")
      }
      return
    }
    try run(options, Corpus(folder: options.corpus))
  }

  /// What decoding a kept input comes to, in words.
  private static func outcome(_ entry: Corpus.Entry) -> String {
    guard [.stream, .undescribed, .recovery].contains(entry.kind) else { return "" }
    let outcome = Outcome(entry.bytes, options: decoderOptions(entry.kind)) { .max }
    return "\(outcome.calls.count) calls, \(outcome.error.map { "\($0)" } ?? "whole")"
  }

  private static func run(_ options: Options, _ corpus: Corpus) throws {
    let start = ContinuousClock.now
    var longest = Duration.zero
    for run in options.first..<options.first + options.runs {
      var random = options.random(run: run)
      let (kind, input) = corpus.damagedInput(&random)
      let began = ContinuousClock.now
      do {
        try check(kind, input, &random, options.isCanary)
      } catch {
        let path = "fuzz-wire-\(options.seed)-\(run).\(kind.rawValue)"
        try Data(input).write(to: URL(fileURLWithPath: path))
        print("run \(run) of seed \(options.seed): \(error)\nkept in \(path)")
        exit(1)
      }
      let took = ContinuousClock.now - began
      if took > longest { longest = took }
      guard took <= timeLimit else {
        print("run \(run) of seed \(options.seed) took \(took), more than \(timeLimit)")
        exit(1)
      }
      if (run + 1) % 100_000 == 0 { print("\(run + 1) runs, longest \(longest)") }
    }
    let memory = peakMemory()
    guard memory <= memoryLimit else {
      print("held \(memory) MiB, more than \(memoryLimit)")
      exit(1)
    }
    print(
      "fuzz-wire: \(options.runs) runs from seed \(options.seed), no finding; "
        + "\(ContinuousClock.now - start), longest \(longest), peak \(memory) MiB")
  }

  /// The most memory that the process has held, in MiB.
  private static func peakMemory() -> Int {
    var usage = rusage()
    // SAFETY: the structure is the kernel's own and is filled during the call.
    guard unsafe getrusage(RUSAGE_SELF.rawValue, &usage) == 0 else { return 0 }
    return usage.ru_maxrss / 1024
  }
}

/// What the command line says.
struct Options {
  var runs = 100_000
  var seed: UInt64 = 1
  var first = 0
  var isCanary = false
  var seedFolder: String?
  var files: [String] = []
  var corpus = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("Corpus").path

  /// A command line that cannot be understood.
  struct UsageError: Error, CustomStringConvertible {
    var description: String
  }

  init(_ arguments: [String]) throws {
    var rest = arguments[...]
    func value(_ name: String) throws -> String {
      guard let text = rest.popFirst() else {
        throw UsageError(description: "\(name) needs a value")
      }
      return text
    }
    func number(_ name: String) throws -> Int {
      let text = try value(name)
      guard let number = Int(text), number >= 0 else {
        throw UsageError(description: "\(name) needs a number, not \(text)")
      }
      return number
    }
    while let argument = rest.popFirst() {
      switch argument {
      case "--runs": runs = try number(argument)
      case "--seed": seed = UInt64(try number(argument))
      case "--first": first = try number(argument)
      case "--corpus": corpus = try value(argument)
      case "--write-seeds": seedFolder = try value(argument)
      case "--canary": isCanary = true
      default:
        guard !argument.hasPrefix("-") else {
          throw UsageError(description: "there is no option \(argument)")
        }
        files.append(argument)
      }
    }
  }

  /// The randomness of one run.
  func random(run: Int) -> SplitMix {
    SplitMix(state: seed &* 0x2545_f491_4f6c_dd1d ^ UInt64(run) &* 0x9e37_79b9_7f4a_7c15)
  }
}
