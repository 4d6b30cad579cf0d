// How long processors stood still for pages.

import MigrationCore
import Testing

@Suite struct `The time that processors wait for pages` {
  private func page(_ number: Int) -> Blocktime.Page {
    Blocktime.Page(block: 0, offset: number * 4096)
  }

  @Test func `each processor's waits add up, and those of all at once`() {
    var time = Blocktime(threads: [70, 71])
    time.wait(thread: 70, for: page(1), at: 100)
    time.wait(thread: 71, for: page(2), at: 130)
    time.arrive(page(1), at: 150)
    time.arrive(page(2), at: 190)
    #expect(time.byProcessor == [50, 60])
    #expect(time.ofAll == 20)
    time.wait(thread: 71, for: page(3), at: 200)
    time.arrive(page(3), at: 201)
    #expect(time.byProcessor == [50, 61])
    #expect(time.ofAll == 20)
  }

  @Test func `two that wait for one page go on together`() {
    var time = Blocktime(threads: [70, 71])
    time.wait(thread: 70, for: page(1), at: 10)
    time.wait(thread: 71, for: page(1), at: 20)
    time.arrive(page(1), at: 50)
    #expect(time.byProcessor == [40, 30])
    #expect(time.ofAll == 30)
  }

  @Test func `threads of devices do not count, nor do pages that nobody waits for`() {
    var time = Blocktime(threads: [70])
    time.wait(thread: 99, for: page(1), at: 10)
    time.arrive(page(1), at: 50)
    time.arrive(page(7), at: 60)
    #expect(time.byProcessor == [0])
    #expect(time.ofAll == 0)
  }

  @Test func `a processor that is seen at another page has left the first`() {
    var time = Blocktime(threads: [70])
    time.wait(thread: 70, for: page(1), at: 10)
    time.wait(thread: 70, for: page(2), at: 30)
    time.arrive(page(1), at: 40)
    time.arrive(page(2), at: 60)
    #expect(time.byProcessor == [50])
    #expect(time.ofAll == 50)
  }
}
