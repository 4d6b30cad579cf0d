// Completion of checkpoint names in a shell.

import ArgumentParser
import CheckpointStore

extension CompletionKind {
  /// The names of the checkpoints in the store that the command line so far would use.
  static var checkpointName: CompletionKind {
    .custom { words, _, _ in
      // Completion has nobody to complain to: without a store there is nothing to offer.
      guard let store = try? Store.open(at: storePath(in: words), create: false),
        let checkpoints = try? store.checkpoints()
      else { return [] }
      return checkpoints.map(\.name)
    }
  }

  private static func storePath(in words: [String]) -> String {
    for (index, word) in words.enumerated() {
      if word == "--store", index + 1 < words.count { return words[index + 1] }
      if word.hasPrefix("--store=") { return String(word.dropFirst("--store=".count)) }
    }
    return StoreOptions.defaultPath
  }
}
