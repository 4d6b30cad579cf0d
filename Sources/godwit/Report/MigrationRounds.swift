// The rounds of a move, added up from its samples.

import Endpoints

/// One pass over what was dirty.
struct MigrationRound: Equatable {
  /// Its number, from 1.
  var number: UInt64
  /// When it began and ended, in seconds since the move began.
  var begin: Double
  var end: Double
  /// Bytes of guest memory to send when it began, as far as a sample saw.
  var dirtyBytes: UInt64
  /// Bytes that were sent in it.
  var wireBytes: UInt64
  /// Pages that were sent in it, by kind.
  var normalPages: UInt64
  var zeroPages: UInt64
  /// Bytes of guest memory that became dirty in a second; nil where the source did not know.
  var dirtyBytesPerSecond: Double?

  /// The rounds that samples were taken in; one that passed between two samples is not seen.
  static func all(of course: MigrationCourse) -> [MigrationRound] {
    var rounds: [MigrationRound] = []
    var before: MigrationCourse.Sample?
    for sample in course.samples where sample.round > 0 {
      let earlier = before
      before = sample
      let sent = sample.wireBytes - min(sample.wireBytes, earlier?.wireBytes ?? 0)
      let normal = sample.normalPages - min(sample.normalPages, earlier?.normalPages ?? 0)
      let zero = sample.zeroPages - min(sample.zeroPages, earlier?.zeroPages ?? 0)
      if let last = rounds.indices.last, rounds[last].number == sample.round {
        rounds[last].end = sample.seconds
        rounds[last].wireBytes += sent
        rounds[last].normalPages += normal
        rounds[last].zeroPages += zero
        rounds[last].dirtyBytesPerSecond =
          sample.dirtyBytesPerSecond ?? rounds[last].dirtyBytesPerSecond
      } else {
        if let last = rounds.indices.last { rounds[last].end = sample.seconds }
        rounds.append(
          MigrationRound(
            number: sample.round, begin: earlier?.seconds ?? sample.seconds, end: sample.seconds,
            dirtyBytes: sample.remainingBytes, wireBytes: sent, normalPages: normal,
            zeroPages: zero, dirtyBytesPerSecond: sample.dirtyBytesPerSecond))
      }
    }
    return rounds
  }
}
