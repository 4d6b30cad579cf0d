// A guest's memory to save, and the machine's raw SHA-256 rate over it.

import COpenSSL
import CheckpointStore
import Foundation

/// Page-aligned memory, filled with pages that are all different.
@safe
final class Memory: @unchecked Sendable {
  let byteCount: Int
  private let base: UnsafeMutableRawPointer

  init(mebibytes: Int) {
    byteCount = mebibytes << 20
    unsafe base = UnsafeMutableRawPointer.allocate(byteCount: byteCount, alignment: 4096)
  }

  deinit { unsafe base.deallocate() }

  var pageCount: Int { byteCount / 4096 }

  /// Noise: no page compresses, none is like another.
  func fillWithNoise(seed: UInt64) {
    // SAFETY: the loop stays inside the allocation.
    let words = unsafe base.bindMemory(to: UInt64.self, capacity: byteCount / 8)
    var state = seed
    for index in 0..<byteCount / 8 {
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
      unsafe words[index] = state
    }
  }

  /// Text: pages that compress to about half, all different.
  func fillHalfCompressible(seed: UInt64) {
    fillWithNoise(seed: seed)
    for page in 0..<pageCount {
      // SAFETY: 2 KiB of a page that is inside the allocation.
      unsafe memset(base + page * 4096 + 1024, 0x41, 2560)
    }
  }

  func fillWithZeros() { unsafe memset(base, 0, byteCount) }

  /// Lends a range.
  func withBytes<R>(_ range: Range<Int>, _ body: (RawSpan) throws -> R) rethrows -> R {
    precondition(range.lowerBound >= 0 && range.upperBound <= byteCount)
    // SAFETY: the range is inside the allocation.
    return try body(unsafe RawSpan(_unsafeStart: base + range.lowerBound, byteCount: range.count))
  }
}

/// SHA-256 of every page of a memory, by as many threads as the store uses, and nothing else.
struct RawHashing {
  let memory: Memory
  let threads: Int

  func measure(_ results: inout Results) {
    let memory = memory
    let pages = memory.pageCount / threads
    let start = processorSeconds()
    let (taken, _) = seconds {
      let group = DispatchGroup()
      for index in 0..<threads {
        let thread = Thread {
          RawHashing.hash(memory, index * pages..<(index + 1) * pages)
          group.leave()
        }
        group.enter()
        thread.start()
      }
      group.wait()
    }
    let end = processorSeconds()
    results.addBest(
      "sha256_bytes_per_second", Double(pages * threads * 4096) / taken,
      "raw SHA-256 of 4 KiB pages, \(threads) threads")
    results.addBest(
      "sha256_processor_seconds", end.user + end.system - start.user - start.system,
      "its processor time", isBetter: <)
  }

  private static func hash(_ memory: Memory, _ pages: Range<Int>) {
    let method = unsafe EVP_MD_fetch(nil, "SHA256", nil)
    let context = unsafe EVP_MD_CTX_new()
    // SAFETY: both are freed once, here.
    defer {
      unsafe EVP_MD_CTX_free(context)
      unsafe EVP_MD_free(method)
    }
    var digest = [UInt8](repeating: 0, count: 32)
    for page in pages {
      memory.withBytes(page * 4096..<(page + 1) * 4096) { bytes in
        unsafe bytes.withUnsafeBytes { buffer in
          // SAFETY: the page is valid here; the digest has the 32 bytes that SHA-256 writes.
          unsafe EVP_DigestInit_ex2(context, method, nil)
          unsafe EVP_DigestUpdate(context, buffer.baseAddress, buffer.count)
          unsafe EVP_DigestFinal_ex(context, &digest, nil)
        }
      }
    }
  }
}

/// What this process takes, in bytes, as the kernel counts it.
func residentByteCount(_ field: String) -> Double {
  let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
  for line in status.split(separator: "\n") where line.hasPrefix(field + ":") {
    return (Double(line.split(separator: " ").dropFirst().first ?? "0") ?? 0) * 1024
  }
  return 0
}

/// Has the kernel count `VmHWM` anew from what is taken now.
func forgetPeakMemory() {
  try? "5".write(toFile: "/proc/self/clear_refs", atomically: false, encoding: .utf8)
}
