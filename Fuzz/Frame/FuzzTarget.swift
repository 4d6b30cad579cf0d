// FuzzTarget.swift: what a fuzz target says of itself; all else is common to all of them.

import Foundation

/// Code under damaged input: what reads it, and what has to hold.
///
/// A target is an `@main` type that gives the parts below; the command line, the corpus, the
/// progress and the bounds come from here:
///
///     fuzz-… [--runs N] [--seed S] [--first N] [--corpus DIR]   so many damaged inputs
///     fuzz-… FILE…                                             these inputs as they are
///     fuzz-… --write-seeds DIR                                 what of the corpus is made
///     fuzz-… --canary                                          a fault of its own; has to fail
///
/// The inputs follow from the seed and the number of the run alone: a finding is repeated by
/// `--seed S --first N --runs 1`. Nothing may trap, take longer than a second for any input, or
/// hold more memory than the target's bound.
package protocol FuzzTarget {
  /// What reads an input; the extension of its file says so.
  associatedtype Kind: RawRepresentable, CaseIterable where Kind.RawValue == String

  /// The target's name, `fuzz-` included.
  static var name: String { get }
  /// A file beside the folder `Corpus`: the one that has this, so `#filePath`.
  static var file: String { get }
  /// The most memory that the process may ever have held, in MiB.
  static var memoryLimit: Int { get }
  /// What begins, ends or bends something in an input.
  static var tokens: [[UInt8]] { get }

  /// Reads an input in every way that it is meant for, and throws if something must not be.
  ///
  /// - Parameter isCanary: whether to make a fault, to see that it is found.
  static func check(
    _ kind: Kind, _ input: [UInt8], _ random: inout SplitMix, isCanary: Bool) throws
  /// What reading a kept input comes to, in words; may be empty.
  static func outcome(_ kind: Kind, _ input: [UInt8]) -> String
  /// The part of the corpus that is made, by file names.
  static func seeds() throws -> [(name: String, bytes: [UInt8])]
}

extension FuzzTarget {
  package static func outcome(_ kind: Kind, _ input: [UInt8]) -> String { "" }
  package static func seeds() throws -> [(name: String, bytes: [UInt8])] { [] }

  /// Does what the command line says.
  package static func main() {
    do {
      let options = try FuzzOptions(Array(CommandLine.arguments.dropFirst()))
      try FuzzRun<Self>(options: options).start()
    } catch {
      print("\(name): \(error)")
      exit(error is FuzzUsageError ? 2 : 1)
    }
  }
}

/// Something that must not be.
package struct Finding: Error, CustomStringConvertible {
  package var description: String

  package init(description: String) { self.description = description }
}
