// A guest's way out of one QEMU, into the store, and into another QEMU, judged at every step.

import DemoGuest
import Foundation
import JSON
import QEMULab

/// How a checkpoint was taken.
enum Taking: String, CaseIterable, CustomStringConvertible {
  /// The guest was stopped before the save.
  case stopped
  /// `--paused`: the guest ran and was stopped for the copy.
  case paused
  /// `--precopy`: the guest ran on, then stopped.
  case precopy
  /// `--live`: the background snapshot.
  case live

  var description: String { rawValue }
}

/// One guest and the store it travels through.
final class Journey {
  let godwit: Godwit
  let configuration: LabConfiguration
  let source: LabGuest
  /// The guest's last report before each checkpoint.
  private var lastReports: [String: DemoGuestReport] = [:]
  /// The source's memory at the checkpoint's instant, where it stood still then.
  private(set) var memory: MemoryDump?

  /// Boots a guest and sees it at work.
  init(_ configuration: LabConfiguration, readySeconds: Double = 60) throws {
    godwit = try Godwit()
    self.configuration = configuration
    source = try LabGuest(configuration)
    try source.waitUntilReady(seconds: readySeconds)
    try source.requireHealth()
  }

  /// Saves the guest and keeps its memory for comparison where the source stands still.
  @discardableResult
  func save(_ taking: Taking, as name: String = "one") throws -> JSONValue {
    lastReports[name] = source.reports.last
    if taking == .stopped { try source.stop() }
    var words = ["save", "--qmp", source.qmpPath, "--name", name, "--disks", "ignore"]
    switch taking {
    case .stopped: break
    case .paused: words += ["--paused", "--then", "pause"]
    case .precopy: words += ["--precopy", "--then", "pause"]
    case .live: words += ["--live"]
    }
    let result = try godwit.run(words)
    if taking == .live {
      memory = nil
      try source.requireHealth()
    } else {
      guard try source.status == "paused" || source.status == "postmigrate" else {
        throw LabError("the source is \(try source.status), and was to be paused")
      }
      memory = try source.dumpMemory()
    }
    return result
  }

  /// A QEMU that waits for the guest.
  func destination(_ qemu: QEMU? = nil) throws -> LabGuest {
    try LabGuest(configuration.inside(qemu ?? configuration.qemu), isIncoming: true)
  }

  /// Restores into a guest that stands still afterwards, and compares all memory with the
  /// source's.
  func requireEqualMemory(_ name: String = "one", in qemu: QEMU? = nil) throws {
    let copy = try destination(qemu)
    try godwit.run(["restore", name, "--qmp", copy.qmpPath, "--paused"])
    try requireEqual(copy)
  }

  /// Compares all memory of a guest that stands still with the source's at the checkpoint.
  func requireEqual(_ copy: LabGuest) throws {
    guard let memory else { throw LabError("the source ran on: there is nothing to compare") }
    if let difference = memory.firstDifference(from: try copy.dumpMemory()) {
      throw LabError("source and copy: \(difference)")
    }
  }

  /// Restores into a guest that runs, and sees it carry on with every page whole.
  @discardableResult
  func requireLife(
    _ name: String = "one", in qemu: QEMU? = nil, options: [String] = []
  ) throws -> JSONValue {
    let copy = try destination(qemu)
    let result = try godwit.run(["restore", name, "--qmp", copy.qmpPath] + options)
    // Saved while it stood still, it comes back so.
    if try copy.status == "paused" { try copy.resume() }
    try requireCarryingOn(copy, from: name)
    return result
  }

  /// Sees a restored guest carry on where the checkpoint was taken, every page checked once.
  func requireCarryingOn(_ copy: LabGuest, from name: String = "one") throws {
    let megabytes = DemoGuest.commandLineNumber("memory", in: configuration.workload)
    try copy.requireHealth(continuing: lastReports[name], checkedPages: UInt64(megabytes) * 256)
  }
}

extension DemoGuest {
  /// A number on a guest's command line.
  static func commandLineNumber(_ name: String, in line: String) -> Int {
    let words = line.split(separator: " ")
    let value = words.first { $0.hasPrefix("\(name)=") }?.dropFirst(name.count + 1)
    return value.flatMap { Int($0) } ?? 0
  }
}
