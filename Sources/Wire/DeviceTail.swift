// DeviceTail.swift: where FULL sections end, which no length tells and only their content shows.

/// Collects FULL sections until something shows that they are over.
///
/// Three things do, each behind the footer of a section:
/// - `00 06 length {`: the end of the stream and its description. What looks like that is a
///   candidate until `length` bytes have arrived and describe the sections before them.
/// - a START, if the RAM has not ended: the sections were early ones.
/// - a further part of a section that has not ended: likewise.
///
/// What is over first, by the last byte that is needed to know it, wins; so the result does not
/// depend on how the bytes were split.
struct DeviceTail: Sendable {
  /// A place that looks like the end of the sections.
  struct Candidate: Equatable, Sendable {
    /// Where the sections would end.
    var sectionsEnd: Int
    /// Where the description would end.
    var end: Int
  }

  /// What the search depends on.
  struct Rules: Sendable {
    /// Whether sections may still begin: the RAM has not ended.
    var sectionsMayStart: Bool
    /// The RAM section, if it has begun and not ended.
    var openRAM: UInt32?
    /// Other sections that have begun and not ended.
    var openOthers: Set<UInt32>
    /// Bits of a RAM record's first word that hold flags.
    var flagMask: UInt64
    /// Whether sections end in footers.
    var usesFooters: Bool
    /// The largest description.
    var descriptionSize: Int
  }

  /// What stands at one place.
  private enum Finding {
    case nothing
    case undecided
    case candidate(Candidate)
    case continuation(Candidate)
  }

  /// What the search has come to.
  enum Result: Equatable {
    /// More bytes are needed.
    case open
    /// This looks like the end, and comes next to be judged.
    case candidate(Candidate)
    /// Other elements continue here.
    case continuation(Candidate)
    /// More places look like the end than are believed.
    case tooManyCandidates
  }

  /// Where in the stream the first byte was.
  let start: UInt64
  private(set) var bytes: [UInt8] = []
  /// Candidates that have not been judged, in the order of their ends.
  private var candidates: [Candidate] = []
  /// Where other elements continue after the sections.
  private var continuation: Candidate?
  /// For each candidate that was seen, the byte at which it could be known as one.
  private var knownEnds: [Int] = []
  /// Everything before this was searched and is decided.
  private var scanned = 0
  /// The candidates that lie in what is searched again.
  private var recentStarts: [Int] = []
  /// The numbers of the sections that may have begun.
  private var fullIDs: Set<UInt32> = []

  /// An empty tail that begins at `start` in the stream.
  init(start: UInt64 = 0) { self.start = start }

  /// Appends bytes and searches them.
  mutating func append(_ span: RawSpan, _ rules: Rules) {
    bytes.append(span: span)
    let start = scanned
    var findings: [Finding] = []
    scanned = bytes.withSpan { all in
      var undecided: Int?
      var position = start
      let anchor: UInt8 = rules.usesFooters ? ElementType.footer.rawValue : 0
      if position == 0 {
        openFirst(all, rules, &findings, &undecided)
        position = rules.usesFooters ? 0 : 1
      }
      while let place = all.firstOffset(of: anchor, from: position) {
        let finding = classify(all, place, rules)
        switch finding {
        case .nothing: break
        case .undecided: undecided = undecided ?? place
        case .candidate, .continuation: findings.append(finding)
        }
        position = place + 1
      }
      return undecided ?? max(all.byteCount, start)
    }
    recentStarts.removeAll { $0 < start }
    for finding in findings { record(finding) }
  }

  /// What the bytes so far come to; a candidate is given once.
  ///
  /// `limit` is how many candidates are believed. Everything is weighed at the byte at which the
  /// first thing to happen happens, whether or not more bytes are here already.
  mutating func next(limit: Int) -> Result {
    let first = candidates.first
    let horizon = min(bytes.count, first?.end ?? .max, continuation?.end ?? .max)
    if knownEnds.lazy.filter({ $0 <= horizon }).count > limit { return .tooManyCandidates }
    if let first, first.end == horizon { return .candidate(candidates.removeFirst()) }
    if let continuation, continuation.end == horizon { return .continuation(continuation) }
    return .open
  }

  private mutating func record(_ finding: Finding) {
    switch finding {
    case .nothing, .undecided: return
    case .candidate(let candidate):
      guard !recentStarts.contains(candidate.sectionsEnd) else { return }
      recentStarts.append(candidate.sectionsEnd)
      knownEnds.append(candidate.sectionsEnd + 7)
      let place = candidates.firstIndex { $0.end > candidate.end } ?? candidates.endIndex
      candidates.insert(candidate, at: place)
    case .continuation(let found):
      if found.end < continuation?.end ?? .max { continuation = found }
    }
  }

  /// Looks at the very beginning: the first section's number, or no section at all.
  private mutating func openFirst(
    _ all: RawSpan, _ rules: Rules, _ findings: inout [Finding], _ undecided: inout Int?
  ) {
    guard all.byteCount >= 5 else {
      undecided = 0
      return
    }
    if all.byte(at: 0) == ElementType.sectionFull.rawValue {
      fullIDs.insert(all.bigEndian(at: 1, as: UInt32.self))
      return
    }
    let finding = classifyEnd(all, 0, rules)
    if case .undecided = finding { undecided = 0 }
    findings.append(finding)
  }

  /// What the bytes at `place`, a footer's first byte, are.
  private mutating func classify(_ all: RawSpan, _ place: Int, _ rules: Rules) -> Finding {
    guard rules.usesFooters else { return classifyEnd(all, place, rules) }
    let next = place + 5
    guard next < all.byteCount else { return .undecided }
    switch ElementType(rawValue: all.byte(at: next)) {
    case .endOfStream: return classifyEnd(all, next, rules)
    case .sectionFull:
      guard next + 5 <= all.byteCount else { return .undecided }
      fullIDs.insert(all.bigEndian(at: next + 1, as: UInt32.self))
      return .nothing
    case .sectionStart where rules.sectionsMayStart, .sectionPart, .sectionEnd:
      let id = all.bigEndian(at: place + 1, as: UInt32.self)
      return fullIDs.contains(id) ? classifyContinuation(all, next, rules) : .nothing
    case .sectionStart, .subsection, .description, .configuration, .command, .footer, nil:
      return .nothing
    }
  }

  /// Whether the bytes at `place` are `00 06 length {`, as far as they go.
  private func classifyEnd(_ all: RawSpan, _ place: Int, _ rules: Rules) -> Finding {
    let available = all.byteCount - place
    guard all.byte(at: place) == ElementType.endOfStream.rawValue else { return .nothing }
    guard available >= 2 else { return .undecided }
    guard all.byte(at: place + 1) == ElementType.description.rawValue else { return .nothing }
    guard available >= 7 else { return .undecided }
    let size = all.bigEndian(at: place + 2, as: UInt32.self)
    guard all.byte(at: place + 6) == UInt8(ascii: "{"), size >= 2, size <= rules.descriptionSize
    else { return .nothing }
    return .candidate(Candidate(sectionsEnd: place, end: place + 6 + Int(size)))
  }

  /// Whether the bytes at `place` begin or continue a section of another kind.
  private func classifyContinuation(
    _ all: RawSpan, _ place: Int, _ rules: Rules
  ) -> Finding {
    if all.byte(at: place) == ElementType.sectionStart.rawValue {
      guard let isHeader = SectionHeader.isPlausible(all, place) else { return .undecided }
      guard isHeader else { return .nothing }
      let end = place + 14 + Int(all.byte(at: place + 5))
      return .continuation(Candidate(sectionsEnd: place, end: end))
    }
    let available = all.byteCount - place
    guard available >= 5 else { return .undecided }
    let id = all.bigEndian(at: place + 1, as: UInt32.self)
    if rules.openOthers.contains(id) {
      return .continuation(Candidate(sectionsEnd: place, end: place + 5))
    }
    guard id == rules.openRAM else { return .nothing }
    guard available >= 13 else { return .undecided }
    let flags = all.bigEndian(at: place + 5, as: UInt64.self) & rules.flagMask
    let item = flags & ~RAMFlag.continue
    guard item.nonzeroBitCount == 1, item != RAMFlag.memorySize, item >= 2 else { return .nothing }
    return .continuation(Candidate(sectionsEnd: place, end: place + 13))
  }
}
