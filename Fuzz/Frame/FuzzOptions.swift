// FuzzOptions.swift: the command line of every fuzz target.

/// A command line that cannot be understood, or a corpus that is none.
struct FuzzUsageError: Error, CustomStringConvertible {
  var description: String
}

/// What the command line says.
struct FuzzOptions {
  var runs = 100_000
  var seed: UInt64 = 1
  var first = 0
  var isCanary = false
  var seedFolder: String?
  var corpus: String?
  var files: [String] = []

  init(_ arguments: [String]) throws {
    var rest = arguments[...]
    func value(_ name: String) throws -> String {
      guard let text = rest.popFirst() else {
        throw FuzzUsageError(description: "\(name) needs a value")
      }
      return text
    }
    func number(_ name: String) throws -> Int {
      let text = try value(name)
      guard let number = Int(text), number >= 0 else {
        throw FuzzUsageError(description: "\(name) needs a number, not \(text)")
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
          throw FuzzUsageError(description: "there is no option \(argument)")
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
