// The same in figures: each round, and each event of both ends.

import Endpoints

extension MigrationPage {
  /// The most rows that a table shows.
  private static let rowLimit = 200

  /// A row a round.
  var roundTable: String {
    let rounds = MigrationRound.all(of: course)
    guard !rounds.isEmpty else { return "" }
    let rows = rounds.suffix(Self.rowLimit).map { round in
      [
        "\(round.number)", Units.seconds(round.begin), Units.seconds(round.end - round.begin),
        Units.size(round.dirtyBytes), Units.size(round.wireBytes),
        Units.count(round.normalPages), Units.count(round.zeroPages),
        round.dirtyBytesPerSecond.map(Units.rate) ?? "–",
      ]
    }
    return Self.table(
      "Rounds",
      ["round", "began at", "took", "to send", "sent", "whole pages", "zero pages", "made dirty"],
      rows, left: [])
  }

  /// A row an event.
  var eventTable: String {
    let rows = shownEvents.map { event in
      // STOP and RESUME lie within milliseconds.
      ["\(Units.decimal(event.seconds, places: 3)) s", event.end.rawValue, event.name]
    }
    guard !rows.isEmpty else { return "" }
    return Self.table("What happened", ["at", "end", "event"], rows, left: [1, 2])
  }

  /// As many events as a table has room for: rounds, which have a table of their own, stand back
  /// for the others, and of those the first and the last remain.
  private var shownEvents: [MigrationCourse.Event] {
    let all = course.events
    guard all.count > Self.rowLimit else { return all }
    let others = all.filter { !$0.isPass }
    guard others.count > Self.rowLimit else { return others }
    return Array(others.prefix(Self.rowLimit / 2) + others.suffix(Self.rowLimit / 2))
  }

  private static func table(
    _ title: String, _ heading: [String], _ rows: [[String]], left: Set<Int>
  ) -> String {
    func row(_ cells: [String], _ name: String) -> String {
      let texts = cells.enumerated().map { index, cell in
        let side = left.contains(index) ? " class=\"left\"" : ""
        return "<\(name)\(side)>\(escaped(cell))</\(name)>"
      }
      return "<tr>\(texts.joined())</tr>"
    }
    return """
      <section class="table"><h2>\(title)</h2>
      <div class="scroll"><table><thead>\(row(heading, "th"))</thead>
      <tbody>\(rows.map { row($0, "td") }.joined(separator: "\n"))</tbody></table></div></section>
      """
  }
}
