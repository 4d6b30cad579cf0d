// How a save copies memory: what was asked for, held against what is sound for this machine.

/// What must be known of a running QEMU to choose how to save it.
struct SourceFacts: Sendable, Equatable {
  /// The QEMU's version as major and minor number.
  var version: (major: Int, minor: Int)
  /// Whether KVM runs the guest; otherwise QEMU's own translator (TCG) does.
  var isKVM: Bool
  /// Whether the guest is running now.
  var isRunning: Bool
  /// The names of the block devices that the guest can write to.
  var writableDisks: [String]
  /// Whether this QEMU, on this host, can take a background snapshot.
  var canSnapshotInBackground: Bool
  /// Whether it is a machine of Godwit's own.
  var isGodwit = false

  static func == (left: SourceFacts, right: SourceFacts) -> Bool {
    left.version == right.version && left.isKVM == right.isKVM
      && left.isRunning == right.isRunning && left.writableDisks == right.writableDisks
      && left.canSnapshotInBackground == right.canSnapshotInBackground
      && left.isGodwit == right.isGodwit
  }

  /// Whether a live precopy of this QEMU carries every write of its guest.
  ///
  /// QEMU 7.2 under TCG clears a page's dirty bit without resetting the translator's TLB, so that
  /// later writes to it go unseen; 10.0 is sound. Versions between are not known to be and are
  /// taken for unsound. KVM logs dirty pages itself and is sound with all of them, and so is a
  /// machine of Godwit's own, whatever runs it.
  var precopyIsSound: Bool { isGodwit || isKVM || version.major >= 10 }
}

/// How a save will copy memory, and why, where that is not what a person would expect.
struct SavePlan: Sendable, Equatable {
  /// The way the memory is copied.
  var mode: SaveMode
  /// A sentence to print when Godwit chose something other than the default.
  var note: String?

  /// Chooses a sound way to save, or refuses with the choices that remain.
  init(for request: SaveRequest, of facts: SourceFacts) throws(MoveError) {
    self = try Self.choose(request, facts)
    try Self.checkDisks(request, facts, mode: mode)
  }

  private init(mode: SaveMode, note: String? = nil) {
    self.mode = mode
    self.note = note
  }

  private static func choose(
    _ request: SaveRequest, _ facts: SourceFacts
  ) throws(MoveError) -> SavePlan {
    guard facts.isRunning else { return SavePlan(mode: .paused) }
    let name = "QEMU \(facts.version.major).\(facts.version.minor)"
    switch request.mode {
    case .paused:
      return SavePlan(mode: .paused)
    case .live where facts.canSnapshotInBackground:
      return SavePlan(mode: .live)
    case .live:
      throw MoveError(.refused, withoutSnapshot(facts, name))
    case .precopy where facts.precopyIsSound:
      return SavePlan(mode: .precopy)
    case .precopy:
      throw MoveError(
        .refused,
        "\(name) without KVM loses the guest's writes during a live precopy, so the checkpoint "
          + "would be broken. Use --live (background snapshot) or --paused.")
    case nil where facts.precopyIsSound:
      return SavePlan(mode: .precopy)
    case nil:
      return fallback(request, facts, name)
    }
  }

  /// Why there is no background snapshot, and what there is.
  private static func withoutSnapshot(_ facts: SourceFacts, _ name: String) -> String {
    facts.isGodwit
      ? "A machine of Godwit's own takes no background snapshot: it is saved as it is at the end "
        + "of the copy, and runs meanwhile. Leave out --live, or use --paused to have it as it is "
        + "now."
      : "\(name) on this host cannot take a background snapshot (it needs userfaultfd "
        + "write-protection and memory that supports it). Leave out --live, or use --paused."
  }

  /// The sound way where precopy is not: the background snapshot where memory and disks cannot
  /// part ways by it, a stopped guest otherwise.
  private static func fallback(
    _ request: SaveRequest, _ facts: SourceFacts, _ name: String
  ) -> SavePlan {
    let disksMatter = !facts.writableDisks.isEmpty && !request.ignoresDisks
    let why = "\(name) without KVM loses writes during a live precopy"
    guard facts.canSnapshotInBackground, !disksMatter else {
      return SavePlan(mode: .paused, note: "\(why); the guest is paused while it is copied.")
    }
    return SavePlan(mode: .live, note: "\(why); a background snapshot is taken instead.")
  }

  private static func checkDisks(
    _ request: SaveRequest, _ facts: SourceFacts, mode: SaveMode
  ) throws(MoveError) {
    guard facts.isRunning, !facts.writableDisks.isEmpty, !request.ignoresDisks else { return }
    let disks = facts.writableDisks.joined(separator: ", ")
    if mode == .live {
      throw MoveError(
        .refused,
        "The guest writes to \(disks), and a background snapshot lets it go on writing: memory "
          + "would be of the beginning of the save and the disk of later. Leave out --live and "
          + "use --then pause or --then quit, or say --disks ignore if the disk does not matter.")
    }
    if request.then == .resume {
      throw MoveError(
        .refused,
        "The guest writes to \(disks): once it goes on, memory in the checkpoint and the disk "
          + "part ways. Use --then pause (and copy the disk before resuming), --then quit, or "
          + "--disks ignore if the disk does not matter.")
    }
  }
}
