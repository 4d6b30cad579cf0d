// Dirty bitmaps and memory, measured against this machine's own memcpy in the same run.
//
//   swift run -c release memory-bench
//
// Exits 1 if a bar is missed.

import Foundation
import GuestMemory

@main
enum MemoryBench {
  static func main() {
    do {
      var table = BenchTable()
      try MergeRun().measure(&table)
      try SyncRun.measure(&table)
      try AccessRun.measure(&table)
      if table.missCount > 0 { exit(1) }
    } catch {
      print("memory-bench: \(error)")
      exit(1)
    }
  }
}
