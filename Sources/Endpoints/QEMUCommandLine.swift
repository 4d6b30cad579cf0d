// A QEMU's command line, completed with what a restore into it needs.

/// What `start` adds to the command line that a person gave.
///
/// Pure: it looks at nothing but its arguments, and nothing is started.
struct QEMUCommandLine: Sendable, Equatable {
  /// The QEMU binary.
  var executable: String
  /// All of its arguments.
  var arguments: [String]

  /// What the added arguments are made of.
  struct Additions: Sendable {
    /// The path of the QMP socket to create.
    var qmpPath: String
    /// The machine type of the checkpoint (`pc-i440fx-7.2`).
    var machine: String
    /// The name of the RAM block that is the machine's main memory (`pc.ram`).
    var memoryName: String
    /// Bytes of the machine's main memory.
    var memoryBytes: UInt64
    /// The flat image of the main memory, where clones share it.
    var memoryImage: String?
    /// Which of several machines this is, from 0: replaces `{index}` in the person's arguments.
    var index: Int
  }

  /// Completes `command`; refuses arguments that contradict a restore.
  init(_ command: [String], adding additions: Additions) throws(MoveError) {
    guard let executable = command.first else {
      throw MoveError(
        .refused,
        "There is no QEMU to start: put its command after '--', as in "
          + "'godwit start NAME -- qemu-system-x86_64 -nodefaults'.")
    }
    self.executable = executable
    arguments = command.dropFirst().map {
      Self.replacing("{index}", in: $0, with: "\(additions.index)")
    }
    guard !isGodwit else {
      try completeForGodwit(additions)
      return
    }
    try refuseContradictions(memoryIsShared: additions.memoryImage != nil)
    arguments += machineArguments(additions)
    if value(of: ["-m", "--m"]) == nil {
      arguments += ["-m", ByteCount.megabytes(additions.memoryBytes)]
    }
    if let image = additions.memoryImage {
      // The backend's id becomes the RAM block's name, by which the stream finds it.
      arguments += [
        "-object",
        "memory-backend-file,id=\(additions.memoryName),share=off,"
          + "size=\(additions.memoryBytes),mem-path=\(Self.escaped(image))",
        "-machine", "memory-backend=\(additions.memoryName)",
      ]
    }
    arguments += [
      "-incoming", "defer",
      "-chardev",
      "socket,id=godwit-qmp,server=on,wait=off,path=\(Self.escaped(additions.qmpPath))",
      "-mon", "chardev=godwit-qmp,mode=control",
    ]
  }

  /// Whether the person asked for a machine that does not run on its own (`-S`).
  var staysPaused: Bool {
    isGodwit
      ? arguments.contains("--paused") : arguments.contains("-S") || arguments.contains("--S")
  }

  /// Whether it is no QEMU but a machine of Godwit's own: `godwit vm run …`.
  private var isGodwit: Bool { arguments.starts(with: ["vm", "run"]) }

  /// Adds to a `godwit vm run` what a restore into it needs.
  private mutating func completeForGodwit(_ additions: Additions) throws(MoveError) {
    for option in ["--incoming", "--qmp"] where has(option) {
      throw MoveError(
        .refused,
        "Leave \(option) out of the machine's arguments: godwit start adds what the restore needs.")
    }
    guard additions.memoryImage == nil else {
      throw MoveError(
        .refused, "Machines of Godwit's own cannot share a memory image: leave --share out.")
    }
    if !has("--memory") { arguments += ["--memory", "\(additions.memoryBytes >> 20)M"] }
    arguments += ["--incoming", "defer", "--qmp", additions.qmpPath]
  }

  private func has(_ option: String) -> Bool {
    arguments.contains { $0 == option || $0.hasPrefix(option + "=") }
  }

  private func refuseContradictions(memoryIsShared: Bool) throws(MoveError) {
    for option in ["-incoming", "--incoming", "-daemonize", "--daemonize", "-loadvm"]
    where arguments.contains(option) {
      throw MoveError(
        .refused,
        "Leave \(option) out of QEMU's arguments: godwit start adds what the restore needs and "
          + "starts QEMU in the background itself.")
    }
    let hasBackend = arguments.contains {
      $0.contains("memory-backend=") || $0.contains("memdev=")
    }
    if memoryIsShared && hasBackend {
      throw MoveError(
        .refused,
        "--share puts the machine's memory into a backend of its own, and QEMU's arguments name "
          + "one already: leave out either.")
    }
  }

  /// The checkpoint's machine type where the person named none, or only its family (`pc`), which
  /// each QEMU takes for its own newest.
  private func machineArguments(_ additions: Additions) -> [String] {
    guard let given = value(of: ["-machine", "--machine", "-M", "--M"]) else {
      return ["-machine", additions.machine]
    }
    let type = Self.machineType(of: given)
    let family = Self.families[type] ?? "\(type)-"
    guard type != additions.machine, additions.machine.hasPrefix(family) else { return [] }
    return ["-machine", "type=\(additions.machine)"]
  }

  /// Aliases whose machine types are named otherwise.
  private static let families = ["pc": "pc-i440fx-", "q35": "pc-q35-"]

  private static func machineType(of options: String) -> String {
    let first = options.split(separator: ",", omittingEmptySubsequences: false).first ?? ""
    return first.hasPrefix("type=") ? String(first.dropFirst(5)) : String(first)
  }

  private func value(of options: Set<String>) -> String? {
    guard let index = arguments.lastIndex(where: options.contains), index + 1 < arguments.count
    else { return nil }
    return arguments[index + 1]
  }

  /// In QEMU's option lists a comma in a value is written twice.
  private static func escaped(_ value: String) -> String {
    value.split(separator: ",", omittingEmptySubsequences: false).joined(separator: ",,")
  }

  private static func replacing(_ marker: String, in text: String, with new: String) -> String {
    guard let range = text.firstRange(of: marker) else { return text }
    return String(text[..<range.lowerBound]) + new
      + replacing(marker, in: String(text[range.upperBound...]), with: new)
  }
}
