// The runs: saves of unique, known, zero and compressible memory; reads; overhead.

import CheckpointStore
import Foundation

/// Saves of one memory into one store.
struct IngestRun {
  let store: Store
  let memory: Memory
  let threads: Int

  /// Puts all of the memory, 256 KiB a call as an engine does, and seals.
  private func save(
    _ name: String, _ compression: WriterOptions.Compression
  ) throws -> (put: Double, seal: Double, summary: CheckpointSummary) {
    let writer = try store.beginCheckpoint(
      named: name, options: WriterOptions(compression: compression, threads: threads))
    try writer.prepare(blocks: [
      CheckpointBlock(name: "pc.ram", byteCount: UInt64(memory.byteCount))
    ])
    let step = 256 << 10
    let (put, _) = try seconds {
      for offset in stride(from: 0, to: memory.byteCount, by: step) {
        try memory.withBytes(offset..<min(offset + step, memory.byteCount)) { bytes in
          try writer.put(block: 0, offset: UInt64(offset), content: bytes)
        }
      }
      // Reading the last page back waits for nothing: what is still under way is a few batches.
    }
    let (seal, summary) = try seconds { try writer.seal(CheckpointState(machine: "bench")) }
    return (put, seal, summary)
  }

  private func rate(_ seconds: Double) -> Double { Double(memory.byteCount) / seconds }

  func unique(_ results: inout Results) throws {
    forgetPeakMemory()
    let before = residentByteCount("VmRSS")
    let start = processorSeconds()
    let run = try save("unique", .none)
    let end = processorSeconds()
    results.addBest(
      "unique_processor_seconds", end.user + end.system - start.user - start.system,
      "processor time of the save, the kernel's part included", isBetter: <)
    results.addBest(
      "ingest_unique_bytes_per_second", rate(run.put), "unique pages, no compression")
    results.addBest("seal_seconds", run.seal, "what remains to write, sync and list", isBetter: <)
    results.addBest(
      "ingest_unique_durable_bytes_per_second", rate(run.put + run.seal),
      "the same with the disk's part")
    results.add("pages_new", Double(run.summary.pagesNew), "of \(memory.pageCount)")
    results.addFirst(
      "save_memory_bytes", residentByteCount("VmHWM") - before, "the process's growth at its peak")
  }

  func known(_ results: inout Results) throws {
    let run = try save("known", .none)
    results.addBest("ingest_known_bytes_per_second", rate(run.put), "pages the store has already")
    results.add("known_stored_bytes", Double(run.summary.storedBytes), "should be 0")
  }

  func zero(_ results: inout Results) throws {
    let zeros = Memory(mebibytes: memory.byteCount >> 20)
    zeros.fillWithZeros()
    let run = try IngestRun(store: store, memory: zeros, threads: threads).save("zero", .none)
    results.addBest(
      "ingest_zero_bytes_per_second", rate(run.put), "zero pages, handed over as pages")
  }

  func overhead(_ results: inout Results) throws {
    let usage = try store.usage()
    let manifests = Double(usage.manifests) / Double(try store.checkpoints().count)
    let ram = Double(memory.byteCount)
    results.add("index_percent", Double(usage.index) / ram * 100, "of unique RAM; bar 1.5")
    results.add("manifest_percent", manifests / ram * 100, "of RAM; bar 0.3")
    results.add(
      "pack_percent", Double(usage.packs) / ram * 100, "100 is every page exactly once")
  }

  func compressed(_ results: inout Results) throws {
    memory.fillWithNoise(seed: 77)
    let noise = try save("noise", .automatic)
    results.add(
      "ingest_noise_automatic_bytes_per_second", rate(noise.put), "incompressible, automatic")
    memory.fillHalfCompressible(seed: 99)
    let half = try save("half", .automatic)
    results.add("ingest_half_automatic_bytes_per_second", rate(half.put), "compressible, automatic")
    results.add(
      "half_stored_percent", Double(half.summary.storedBytes) / Double(memory.byteCount) * 100,
      "of RAM stored after compression")
  }
}

/// Reading a checkpoint as a restore does.
struct ReadRun {
  let store: Store
  let memory: Memory

  func measure(_ results: inout Results) throws {
    let (open, checkpoint) = try seconds { try store.checkpoint(named: "unique") }
    results.add("open_seconds", open, "opening a checkpoint")
    var page = [UInt8](repeating: 0, count: 4096)
    var generator = SystemRandomNumberGenerator()
    var times: [Double] = []
    for _ in 0..<50_000 {
      let number = Int.random(in: 0..<memory.pageCount, using: &generator)
      let (taken, _) = try seconds {
        try checkpoint.read(block: 0, offset: UInt64(number * 4096), into: &page)
      }
      times.append(taken)
    }
    times.sort()
    results.add("read_p50_microseconds", times[times.count / 2] * 1e6, "one page, verified")
    results.add("read_p99_microseconds", times[times.count * 99 / 100] * 1e6, "one page, verified")
    var buffer = [UInt8](repeating: 0, count: 1 << 20)
    let (taken, _) = try seconds {
      for offset in stride(from: 0, to: memory.byteCount, by: buffer.count) {
        try checkpoint.read(block: 0, offset: UInt64(offset), into: &buffer)
      }
    }
    results.add(
      "read_bytes_per_second", Double(memory.byteCount) / taken, "in order, one thread, verified")
  }
}
