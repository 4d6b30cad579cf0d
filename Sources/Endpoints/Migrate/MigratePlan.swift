// How a machine will be moved: what was asked for, held against what both ends are and can do.

import JSON
import QMP
import Transport

/// The steps of a move, decided before anything is touched.
struct MigratePlan: Sendable, Equatable {
  /// Whether the machine is stopped before its memory is copied.
  var pausesFirst: Bool
  /// When it goes over to postcopy; nil for never.
  var postcopy: PostcopyStart?
  /// Whether the machine is to run at the destination: it ran at the source.
  var runsOnArrival: Bool
  /// Where the two ends connect to each other; nil where a pair of sockets does.
  var meetingPlace: MigrationURI?
  /// What the source must have on and off.
  var sourceCapabilities: [CapabilityRequirement]
  /// What the destination must have on and off.
  var destinationCapabilities: [CapabilityRequirement]
  /// What the source is set to.
  var sourceParameters: [ParameterRequirement]
  /// What the destination is set to.
  var destinationParameters: [ParameterRequirement]
  /// Sentences for the person: what was chosen, and what to beware of.
  var notes: [String]

  /// Decides, or refuses with what to change.
  init(
    for request: MigrateRequest, from source: MigrateFacts, to destination: MigrateFacts
  ) throws(MoveError) {
    try Self.checkDistinct(source, destination)
    try Self.checkStates(source, destination)
    if request.excludedPages != nil {
      try MoveSettings.checkExclusion(source.parameters, of: source.name, at: source.address)
    }
    try Self.checkMachines(request, source, destination)
    let soundness = try Self.soundness(request, source)
    pausesFirst = source.runState.isRunning && (request.isPaused || soundness.mustPause)
    // What stands still cannot be gained by a first pass: only the last one would count.
    let standsStill = pausesFirst || !source.runState.isRunning
    postcopy = request.postcopy.map { standsStill ? .now : $0 }
    runsOnArrival = source.runState.isRunning
    let usesPostcopy = postcopy != nil
    let place = MigrateSettings.meetingPlace(
      of: source, and: destination, usesPostcopy: usesPostcopy)
    meetingPlace = place
    sourceCapabilities = MigrateSettings.capabilities(
      of: source, with: destination, isSource: true, usesPostcopy: usesPostcopy,
      usesPreempt: place != nil)
    destinationCapabilities = MigrateSettings.capabilities(
      of: destination, with: source, isSource: false, usesPostcopy: usesPostcopy,
      usesPreempt: place != nil)
    sourceParameters = MigrateSettings.sourceParameters(request, known: source.parameters)
    destinationParameters = MoveSettings.incomingParameters
    notes = [soundness.note].compactMap(\.self)
    if destination.isLeftBehind {
      notes.append(
        "The endpoint at \(destination.address) is what a machine left behind that went from "
          + "there: what it still has of this one need not travel, the rest is written over.")
    }
    notes += Self.warnings(request, source, destination, standsStill: standsStill)
    notes += MigrateSettings.unusedNote(source, sourceCapabilities)
  }

  // MARK: - Refusals

  private static func checkDistinct(
    _ source: MigrateFacts, _ destination: MigrateFacts
  ) throws(MoveError) {
    let isSame = source.process != nil && source.process == destination.process
    guard isSame || source.address == destination.address else { return }
    throw MoveError(
      .refused,
      "\(source.address) and \(destination.address) lead to the same machine"
        + (source.process.map { " (process \($0))" } ?? "")
        + ": a machine cannot be moved into itself. Start a second one with -incoming defer.")
  }

  private static func checkStates(
    _ source: MigrateFacts, _ destination: MigrateFacts
  ) throws(MoveError) {
    try checkSource(source)
    let state = destination.runState
    if destination.isLeftBehind { return }
    guard state.status == "inmigrate" else {
      throw MoveError(
        .wrongState,
        "The \(destination.name) at \(destination.address) has a machine of its own (it is "
          + "'\(state.status)'): a destination is one that was started with -incoming defer and "
          + "waits.")
    }
    switch destination.migration {
    case .none: return
    case .setup, .active:
      throw MoveError(
        .wrongState,
        "The \(destination.name) at \(destination.address) waits at an address of its own or is "
          + "taking a machine already: start it with -incoming defer, so that Godwit can tell it "
          + "where the machine comes from.")
    default:
      throw MoveError(
        .wrongState,
        "The \(destination.name) at \(destination.address) has an earlier move behind it (it is "
          + "'\(destination.migration.word)'), and takes no second machine: end it and start it "
          + "anew.")
    }
  }

  private static func checkSource(_ source: MigrateFacts) throws(MoveError) {
    guard source.migration.isTerminal else {
      let isBroken = source.migration == .postcopyPaused
      throw MoveError(
        .wrongState,
        "A migration of the machine at \(source.address) is under way "
          + "('\(source.migration.word)'): "
          + (isBroken ? "carry it on with --recover." : "wait for its end, or cancel it."))
    }
    switch source.runState.status {
    case "inmigrate":
      throw MoveError(
        .wrongState,
        "The \(source.name) at \(source.address) waits for a machine itself: there is nothing to "
          + "move.")
    case "postmigrate":
      throw MoveError(
        .wrongState,
        "The machine at \(source.address) has been moved or saved before, and stands still since; "
          + "it is sent no second time. If it does not run elsewhere, resume it (QMP command "
          + "'cont') and move it then.")
    default: break
    }
    guard source.blockedReasons.isEmpty else {
      throw MoveError(
        .refused,
        "The machine at \(source.address) cannot be moved as it is: "
          + source.blockedReasons.joined(separator: "; "))
    }
  }

  private static func checkMachines(
    _ request: MigrateRequest, _ source: MigrateFacts, _ destination: MigrateFacts
  ) throws(MoveError) {
    var sentences = Compatibility.mismatches(
      of: CheckpointFacts(source), in: destination.machine)
    if source.processorCount != destination.processorCount {
      sentences.append(
        "The source has \(source.processorCount) vCPUs and the destination "
          + "\(destination.processorCount): start it with -smp \(source.processorCount).")
    }
    if source.isKVM != destination.isKVM, !request.isForced {
      let (here, there) = source.isKVM ? ("with", "without") : ("without", "with")
      sentences.append(
        "The source runs \(here) KVM and the destination \(there): processors differ between the "
          + "two in more than their speed. Start it \(here) KVM, or say --force.")
    }
    guard sentences.isEmpty else {
      throw MoveError(
        .mismatch,
        "The machine at \(source.address) does not fit the \(destination.name) at "
          + "\(destination.address). " + sentences.joined(separator: " "))
    }
  }

  /// Whether the machine must be stopped for its memory to arrive whole, and the sentence for it.
  private static func soundness(
    _ request: MigrateRequest, _ source: MigrateFacts
  ) throws(MoveError) -> (mustPause: Bool, note: String?) {
    guard source.runState.isRunning, !request.isPaused, !source.precopyIsSound else {
      return (false, nil)
    }
    let why = "\(source.name) without KVM loses what the guest writes while its memory is copied"
    if request.isForced {
      return (false, "\(why): the guest may find its memory broken, as --force allows.")
    }
    if request.postcopy == .now {
      return (true, "\(why); it is stopped before the switch, for some milliseconds more.")
    }
    throw MoveError(
      .refused,
      "\(why), so the machine would arrive broken. Use --postcopy=now (it stands still for some "
        + "milliseconds and runs at the destination from then on), --paused (it stands still for "
        + "the whole copy), or --force if a broken guest does not matter.")
  }

  // MARK: - Warnings

  private static func warnings(
    _ request: MigrateRequest, _ source: MigrateFacts, _ destination: MigrateFacts,
    standsStill: Bool
  ) -> [String] {
    var notes: [String] = []
    if destination.version < source.version {
      notes.append(
        "The destination (\(destination.name)) is older than the source (\(source.name)): it takes "
          + "the machine if it knows all that the machine's devices say; otherwise the machine "
          + "stays at the source.")
    }
    for (name, file) in source.disks.sorted(by: { $0.key < $1.key }) {
      let other = destination.disks[name]
      if let other, other == file {
        guard destination.isRemote else { continue }
        notes.append(
          "Disks are not moved: \(name) is \(file.isEmpty ? "an image" : file) at both ends, which "
            + "must be the same one on both hosts (on storage that they share).")
        continue
      }
      notes.append(
        "Disks are not moved: \(name) is \(file.isEmpty ? "an image" : file) at the source and "
          + "\(other.map { $0.isEmpty ? "another image" : $0 } ?? "not there") at the destination, "
          + "which must lead to the same image.")
    }
    notes += slowness(request, source)
    guard !standsStill, request.postcopy == nil else { return notes }
    if request.downtimeLimitMilliseconds == 0 {
      notes.append(
        "With a downtime of 0 the machine is switched over only when nothing at all is left to "
          + "send: one that goes on writing stays at the source until you cancel.")
    }
    return notes
  }

  /// A rate at which a person would not live to see the end.
  private static func slowness(_ request: MigrateRequest, _ source: MigrateFacts) -> [String] {
    guard let asked = request.bytesPerSecond, asked > 0 else { return [] }
    let rate = max(asked, MigrateSettings.lowestRate)
    let bytes = source.machine.blocks.reduce(0) { $0 + $1.usedLength }
    let hours = Double(bytes) / Double(rate) / 3600
    guard hours > 1 else { return [] }
    let time = hours < 48 ? "\(Int(hours)) hours" : "\(Int(min(hours / 24, 1e15))) days"
    return [
      "At \(ByteCount.text(rate)) a second, sending memory of \(ByteCount.text(bytes)) once would "
        + "take \(time); Ctrl-C cancels."
    ]
  }
}
