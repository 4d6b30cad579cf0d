// The pictures of a move: what was left, how fast it went, of which kind, and the downtime ahead.

import Endpoints

extension MigrationPage {
  /// Those for which there are figures.
  var charts: [Chart] {
    guard course.samples.count > 1 else { return [] }
    return [remaining, rates, kinds, requests, downtime, throttle].compactMap(\.self)
  }

  /// The samples from the first that has an account of memory.
  private var samples: [MigrationCourse.Sample] {
    course.samples.filter { $0.round > 0 || $0.wireBytes > 0 }
  }

  private func chart(
    _ title: String, _ subtitle: String, _ series: [Chart.Series],
    isBinary: Bool = true, text: @escaping (Double) -> String
  ) -> Chart {
    Chart(
      title: title, subtitle: subtitle, series: series, text: text, isBinary: isBinary,
      duration: duration,
      rounds: MigrationRound.all(of: course).map { ($0.begin, $0.number) },
      standstill: standstill)
  }

  private static func size(_ bytes: Double) -> String {
    bytes > 0 ? Units.size(UInt64(min(bytes, 1e18))) : "0"
  }

  private func points(
    _ value: (MigrationCourse.Sample) -> Double?
  ) -> [(seconds: Double, value: Double)] {
    samples.compactMap { sample in value(sample).map { (sample.seconds, $0) } }
  }

  private var remaining: Chart {
    chart(
      "Memory still to send", "Numbered lines are rounds: what became dirty was gathered.",
      [
        .init(
          name: "to send", colour: 1, form: .area, points: points { Double($0.remainingBytes) })
      ], text: Self.size)
  }

  private var rates: Chart {
    chart(
      "Sending against writing",
      "Where the guest writes faster than is sent, a precopy has no end.",
      [
        .init(name: "sent in a second", colour: 1, form: .area, points: points(\.bytesPerSecond)),
        .init(
          name: "made dirty in a second", colour: 2, form: .line,
          points: points(\.dirtyBytesPerSecond)),
      ], text: { $0 > 0 ? Self.size($0) + "/s" : "0" })
  }

  private var kinds: Chart {
    let series: [Chart.Series] = [
      .init(
        name: "zero and whole", colour: 3, form: .area,
        points: points { Double($0.zeroPages + $0.normalPages) }),
      .init(
        name: "whole", colour: 1, form: .area, points: points { Double($0.normalPages) }),
    ]
    return chart(
      "Pages sent, by kind", "Added up; a page that was sent twice counts twice.", series,
      isBinary: false, text: Self.count)
  }

  private var requests: Chart? {
    guard samples.last?.pageRequests ?? 0 > 0 else { return nil }
    return chart(
      "Pages asked for by the destination", "Added up; for each, the machine waited there.",
      [
        .init(
          name: "asked for", colour: 2, form: .area, points: points { Double($0.pageRequests) })
      ], isBinary: false, text: Self.count)
  }

  private static func count(_ value: Double) -> String {
    switch value {
    case ..<10_000: Units.count(UInt64(max(value, 0)))
    case ..<10_000_000: "\(Units.decimal(value / 1000, places: 0)) k"
    default: "\(Units.decimal(value / 1_000_000, places: 0)) M"
    }
  }

  private var downtime: Chart? {
    let expected = points(\.expectedDowntimeMilliseconds)
    guard expected.count > 1 else { return nil }
    var series: [Chart.Series] = [
      .init(name: "expected by the source", colour: 2, form: .line, points: expected)
    ]
    if let actual = result?.downtimeMilliseconds {
      series.append(
        .init(
          name: "what it was: \(Units.milliseconds(actual))", colour: 4, form: .dashed,
          points: [(0, actual), (duration, actual)]))
    }
    return chart(
      "Downtime, if it were switched over now",
      "What is left to send, at the rate of sending.", series, isBinary: false,
      text: { $0 > 0 ? Units.milliseconds($0) : "0" })
  }

  private var throttle: Chart? {
    guard samples.contains(where: { $0.throttlePercentage > 0 }) else { return nil }
    return chart(
      "How far the processors were slowed down", "So that less becomes dirty (auto-converge).",
      [
        .init(
          name: "slowed down by", colour: 2, form: .area,
          points: points { Double($0.throttlePercentage) })
      ], isBinary: false, text: { "\(Units.decimal($0, places: 0)) %" })
  }
}
