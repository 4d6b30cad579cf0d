// Threads of their own: a pool as wide as the cores would not run all of them at once.

import Foundation

/// Runs `body` on `count` threads at the same time and waits for all of them.
func onThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
  let group = DispatchGroup()
  for index in 0..<count {
    group.enter()
    Thread {
      body(index)
      group.leave()
    }.start()
  }
  group.wait()
}
