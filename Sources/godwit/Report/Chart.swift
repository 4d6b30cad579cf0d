// A picture of figures over time, as SVG without anything outside it.

/// A chart of one or more series over the same time axis.
struct Chart {
  /// How a series is drawn.
  enum Form {
    /// A line.
    case line
    /// A line with its area down to zero, or to the series below where they are stacked.
    case area
    /// A thin dashed line, as for a limit.
    case dashed
  }

  /// Figures over time.
  struct Series {
    /// What they are, for the legend.
    var name: String
    /// The colour's number, from 1.
    var colour: Int
    var form: Form
    /// Seconds and values, by rising seconds.
    var points: [(seconds: Double, value: Double)]
  }

  var title: String
  var subtitle: String
  var series: [Series]
  /// How a value is written on the axis.
  var text: (Double) -> String
  var isBinary = true
  /// Where the time axis ends, in seconds.
  var duration: Double
  /// When each round began, in seconds.
  var rounds: [(seconds: Double, number: UInt64)] = []
  /// When the machine stood still, in seconds.
  var standstill: ClosedRange<Double>?

  private static let width = 760.0
  private static let height = 230.0
  private static let plot = (left: 72.0, right: 744.0, top: 18.0, bottom: 200.0)

  /// The chart as an HTML figure.
  var figure: String {
    let legend = series.filter { !$0.points.isEmpty }.map {
      "<span class=\"key\"><i class=\"c\($0.colour)\"></i>\(escaped($0.name))</span>"
    }.joined()
    return """
      <figure>
      <figcaption><h2>\(escaped(title))</h2><p>\(escaped(subtitle))</p>\
      <div class="legend">\(legend)</div></figcaption>
      \(svg)
      </figure>
      """
  }

  private var scale: ChartScale {
    let values = series.flatMap { $0.points.map(\.value) }
    return ChartScale(upTo: values.max() ?? 0, isBinary: isBinary)
  }

  private func x(_ seconds: Double) -> Double {
    let share = duration > 0 ? min(max(seconds / duration, 0), 1) : 0
    return Self.plot.left + share * (Self.plot.right - Self.plot.left)
  }

  private func y(_ value: Double, _ scale: ChartScale) -> Double {
    let share = min(max(value / scale.top, 0), 1)
    return Self.plot.bottom - share * (Self.plot.bottom - Self.plot.top)
  }

  private var svg: String {
    let scale = scale
    var parts = [
      "<svg viewBox=\"0 0 \(Int(Self.width)) \(Int(Self.height))\" role=\"img\" "
        + "aria-label=\"\(escaped("\(title). \(subtitle)"))\">"
    ]
    parts.append(standstillBand)
    parts += grid(scale) + roundMarks
    // Areas first: a line must not vanish behind one.
    for one in series where one.form == .area { parts.append(path(one, scale)) }
    for one in series where one.form != .area { parts.append(path(one, scale)) }
    parts.append("</svg>")
    return parts.joined(separator: "\n")
  }

  private var standstillBand: String {
    guard let standstill else { return "" }
    let from = x(standstill.lowerBound)
    // A moment too short for a pixel is still to be seen.
    let width = max(x(standstill.upperBound) - from, 2)
    // Beside the plot's edges it would run into the axis or out of the picture.
    let isLeft = from < Self.plot.left + 40
    let anchor = isLeft ? "start" : from > Self.plot.right - 40 ? "end" : "middle"
    return rectangle(from, Self.plot.top, width, Self.plot.bottom - Self.plot.top, "still")
      + label("switchover", from, Self.plot.top - 6, anchor: anchor)
  }

  private func grid(_ scale: ChartScale) -> [String] {
    var parts: [String] = []
    for tick in scale.ticks {
      let height = y(tick, scale)
      let name = tick == 0 ? "axis" : "grid"
      parts.append(line(Self.plot.left, height, Self.plot.right, height, name))
      parts.append(label(text(tick), Self.plot.left - 8, height + 4, anchor: "end"))
    }
    for tick in ChartScale(exactly: duration).ticks {
      parts.append(
        label(Self.time(tick, of: duration), x(tick), Self.plot.bottom + 18, anchor: "middle"))
    }
    return parts
  }

  private var roundMarks: [String] {
    // More than a dozen numbers would overlap.
    let step = UInt64(max((rounds.count + 11) / 12, 1))
    return rounds.flatMap { round in
      let place = x(round.seconds)
      let mark = line(place, Self.plot.top, place, Self.plot.bottom, "round")
      guard round.number % step == 0 || round.number == 1 else { return [mark] }
      return [
        mark, label("\(round.number)", place + 3, Self.plot.top + 10, anchor: "start", "roundtext"),
      ]
    }
  }

  private func path(_ series: Series, _ scale: ChartScale) -> String {
    let places = series.points.map { (x($0.seconds), y($0.value, scale)) }
    guard let first = places.first, let last = places.last else { return "" }
    let body = places.map { "\(number($0.0)) \(number($0.1))" }.joined(separator: "L")
    let end = series.points.last.map { text($0.value) } ?? ""
    let title = "<title>\(escaped("\(series.name): \(end) at the end"))</title>"
    let stroke =
      "<path class=\"stroke c\(series.colour)\(series.form == .dashed ? " dashed" : "")\" "
      + "d=\"M\(body)\">\(title)</path>"
    guard series.form == .area else { return stroke }
    let floor = number(Self.plot.bottom)
    return "<path class=\"fill c\(series.colour)\" "
      + "d=\"M\(number(first.0)) \(floor)L\(body)L\(number(last.0)) \(floor)Z\"/>" + stroke
  }

  // MARK: - Elements

  private func line(
    _ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, _ name: String
  ) -> String {
    "<line class=\"\(name)\" x1=\"\(number(x1))\" y1=\"\(number(y1))\" x2=\"\(number(x2))\" "
      + "y2=\"\(number(y2))\"/>"
  }

  private func rectangle(
    _ x: Double, _ y: Double, _ width: Double, _ height: Double, _ name: String
  ) -> String {
    "<rect class=\"\(name)\" x=\"\(number(x))\" y=\"\(number(y))\" width=\"\(number(width))\" "
      + "height=\"\(number(height))\"/>"
  }

  private func label(
    _ text: String, _ x: Double, _ y: Double, anchor: String, _ name: String = "tick"
  ) -> String {
    "<text class=\"\(name)\" x=\"\(number(x))\" y=\"\(number(y))\" text-anchor=\"\(anchor)\">"
      + "\(escaped(text))</text>"
  }

  private func number(_ value: Double) -> String { Units.decimal(value, places: 1) }

  /// A moment on a time axis of this length.
  static func time(_ seconds: Double, of duration: Double) -> String {
    if duration < 0.8 { return "\(Units.decimal(seconds * 1000, places: 0)) ms" }
    if duration < 8 { return "\(Units.decimal(seconds, places: 1)) s" }
    return duration < 100 ? "\(Units.decimal(seconds, places: 0)) s" : Units.seconds(seconds)
  }
}
