// One page that shows how a move went: figures, pictures and what happened when.

import Endpoints

/// The report of a move as HTML that needs nothing else: no script, no font, no network.
struct MigrationPage {
  /// Both ends' QMP addresses.
  let from: String
  let to: String
  /// What was seen of the move.
  let course: MigrationCourse
  /// What it did; nil where it failed.
  var result: MigrateResult?
  /// Why it failed, as a sentence.
  var failure: String?
  /// How the move was asked for, as it is typed.
  var options: [String] = []
  /// When it began, in seconds since 1970; nil where that is not told.
  var begin: Double?

  /// The whole document.
  var html: String {
    """
    <!DOCTYPE html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>\(escaped(title))</title>
    <style>
    \(Self.style)
    </style>
    </head>
    <body>
    <main>
    \(header)
    \(tiles)
    \(strip)
    \(charts.map(\.figure).joined(separator: "\n"))
    \(roundTable)
    \(eventTable)
    <footer>Written by godwit migrate. Figures are the endpoints' own, sampled while the machine \
    moved.</footer>
    </main>
    </body>
    </html>

    """
  }

  private var title: String {
    guard result == nil else { return "A machine moved" }
    return failure == nil ? "A move" : "A move that did not succeed"
  }

  private var header: String {
    let verdict =
      failure.map { "<p class=\"bad\">\(escaped($0))</p>" }
      ?? result.map { "<p class=\"good\">\(escaped($0.lines.joined(separator: " ")))</p>" } ?? ""
    return """
      <header><h1>\(escaped(title))</h1>
      <p class="route"><code>\(escaped(from))</code> <span>to</span> <code>\(escaped(to))</code></p>
      \(circumstances)
      \(verdict)</header>
      """
  }

  /// When it was, how it was asked for, and what both ends are.
  private var circumstances: String {
    var parts = begin.map { [Units.date($0)] } ?? []
    if !options.isEmpty { parts.append(options.joined(separator: " ")) }
    for (end, version) in [("source", course.source), ("destination", course.destination)] {
      if let version { parts.append("\(end): \(version)") }
    }
    guard !parts.isEmpty else { return "" }
    return "<p>\(escaped(parts.joined(separator: " · ")))</p>"
  }

  private var tiles: String {
    guard let result else { return "" }
    var tiles: [(String, String)] = [
      ("stood still", result.downtimeMilliseconds.map(Units.milliseconds) ?? "as before"),
      ("in all", Units.seconds(result.seconds)), ("rounds", Units.count(result.rounds)),
      ("sent", Units.size(result.wireBytes)), ("memory", Units.size(result.ramBytes)),
      ("by way of", result.mode.rawValue),
    ]
    if let known = result.pagesKnown, known > 0 {
      tiles.append(("known there", Units.count(known, "page")))
    }
    if let excluded = result.pagesExcluded, excluded > 0 {
      tiles.append(("left out", Units.count(excluded, "page")))
    }
    if result.mode == .postcopy {
      tiles.append(("asked for", Units.count(result.pageRequests)))
    }
    let cells = tiles.map { "<div><b>\(escaped($0.1))</b><span>\($0.0)</span></div>" }
    return "<section class=\"tiles\">\(cells.joined())</section>"
  }

  /// How long the course lasted, in seconds.
  var duration: Double {
    max(course.samples.last?.seconds ?? 0, course.events.last?.seconds ?? 0, 0.001)
  }

  /// When the machine stood still, as far as it was heard.
  var standstill: ClosedRange<Double>? {
    guard let stop = course.events.last(where: { $0.end == .source && $0.name == "STOP" }),
      let start = course.events.first(where: {
        $0.end == .destination && $0.name == "RESUME" && $0.seconds >= stop.seconds
      })
    else { return nil }
    return stop.seconds...start.seconds
  }

  /// Where the machine ran, as one bar.
  private var strip: String {
    guard let standstill else { return "" }
    let parts = [
      ("at the source", "ran", standstill.lowerBound),
      ("standing still", "stood", standstill.upperBound - standstill.lowerBound),
      ("at the destination", "runs", duration - standstill.upperBound),
    ]
    let bars = parts.map { part in
      let width = Units.decimal(max(part.2, 0) / duration * 100, places: 2)
      return "<i class=\"\(part.1)\" style=\"width:\(width)%\"></i>"
    }
    let keys = parts.map { part in
      "<span class=\"key\"><i class=\"\(part.1)\"></i>\(part.0): "
        + "\(Units.milliseconds(max(part.2, 0) * 1000))</span>"
    }
    return """
      <figure><figcaption><h2>Where the machine ran</h2>\
      <p>While it was watched, as events came in here.</p>\
      <div class="legend">\(keys.joined())</div></figcaption>
      <div class="strip">\(bars.joined())</div></figure>
      """
  }
}
