// A process for the store's tests to kill, run beside others, or starve of disk.
//
//   StoreCrash save STORE NAME SEED PAGES ROUNDS   puts PAGES random pages ROUNDS times, seals
//   StoreCrash hold STORE NAME                     puts a few pages, says so, waits for its end
//   StoreCrash verify STORE                        verifies again and again until its input ends
//   StoreCrash collect STORE                       collects once

import CheckpointStore
import Glibc

@main
enum StoreCrash {
  static func main() {
    let arguments = CommandLine.arguments
    guard arguments.count >= 3 else { exit(2) }
    do {
      let store = try Store.open(at: arguments[2])
      switch arguments[1] {
      case "save": try save(store, arguments)
      case "hold": try hold(store, arguments[3])
      case "verify": try verify(store)
      case "collect": print("freed \(try store.collect(waitSeconds: 20).bytesFreed)")
      default: exit(2)
      }
    } catch {
      print("error: \(error)")
      exit(1)
    }
  }

  /// A page whose content follows from its seed; every eighth one is like others', some are zero.
  static func page(_ seed: UInt64) -> [UInt8] {
    if seed % 11 == 0 { return [UInt8](repeating: 0, count: 4096) }
    var state = seed % 8 == 0 ? seed % 64 : seed
    var page = [UInt8](repeating: 0, count: 4096)
    // Every other page does not compress.
    for index in stride(from: 0, to: 4096, by: seed % 2 == 0 ? 64 : 2) {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      page[index] = UInt8(truncatingIfNeeded: state >> 33)
      page[index + 1] = UInt8(truncatingIfNeeded: state >> 41)
    }
    return page
  }

  static func save(_ store: Store, _ arguments: [String]) throws {
    guard arguments.count >= 7, let seed = UInt64(arguments[4]), let pages = UInt64(arguments[5]),
      let rounds = UInt64(arguments[6])
    else { exit(2) }
    let writer = try store.beginCheckpoint(
      named: arguments[3], options: WriterOptions(threads: 2))
    try writer.prepare(blocks: [CheckpointBlock(name: "ram", byteCount: pages * 4096)])
    print("begun")
    fflush(nil)
    for round in 0..<rounds {
      for number in 0..<pages {
        let content = page(seed &+ number &* 7 &+ round &* 1_000_003)
        // SAFETY: the array outlives the call, and a UInt8 has no padding.
        let span = unsafe content.span.bytes
        try writer.put(block: 0, offset: number * 4096, content: span)
      }
    }
    print("sealing")
    fflush(nil)
    let summary = try writer.seal(CheckpointState(machine: "test", deviceState: [1, 2, 3]))
    print("sealed \(summary.pagesNew) \(summary.pagesKnown) \(summary.pagesZero)")
  }

  static func hold(_ store: Store, _ name: String) throws {
    let writer = try store.beginCheckpoint(named: name)
    try writer.prepare(blocks: [CheckpointBlock(name: "ram", byteCount: 4096 * 64)])
    for number in UInt64(0)..<64 {
      let content = page(number * 13 + 1)
      // SAFETY: the array outlives the call, and a UInt8 has no padding.
      let span = unsafe content.span.bytes
      try writer.put(block: 0, offset: number * 4096, content: span)
    }
    print("holding")
    fflush(nil)
    _ = readLine()
    _ = try writer.seal(CheckpointState())
    print("sealed")
  }

  static func verify(_ store: Store) throws {
    print("verifying")
    fflush(nil)
    var rounds = 0
    var ready = pollfd(fd: 0, events: Int16(POLLIN), revents: 0)
    // SAFETY: `ready` is one struct pollfd.
    while unsafe poll(&ready, 1, 0) == 0 {
      let report = try store.verify()
      rounds += 1
      guard report.isClean else {
        for damage in report.damages { print("damage: \(damage)") }
        exit(1)
      }
    }
    print("clean \(rounds)")
  }
}
