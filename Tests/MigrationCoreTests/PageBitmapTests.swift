// Sets of pages, against a plain set of numbers.

import MigrationCore
import Testing

@Suite struct `A set of pages` {
  @Test(arguments: [1, 63, 64, 65, 1000, (1 << 18) - 1, 1 << 18, (1 << 18) + 70])
  func `behaves as a set does`(pageCount: Int) {
    var generator = SystemRandomNumberGenerator()
    var bitmap = PageBitmap(pageCount: pageCount)
    var model: Set<Int> = []
    for _ in 0..<300 {
      let page = Int.random(in: 0..<pageCount, using: &generator)
      if Int.random(in: 0..<60, using: &generator) == 0 {
        let range = page..<Int.random(in: page...pageCount, using: &generator)
        bitmap.insert(range)
        model.formUnion(range)
      } else if Bool.random(using: &generator) {
        #expect(bitmap.insert(page) == model.insert(page).inserted)
      } else {
        #expect(bitmap.remove(page) == (model.remove(page) != nil))
      }
      #expect(bitmap.contains(page) == model.contains(page))
    }
    #expect(bitmap.memberCount == model.count)
    for start in [0, pageCount / 2, pageCount - 1] {
      let range = start..<pageCount
      #expect(bitmap.firstMember(in: range) == model.filter { $0 >= start }.min())
      let gap = bitmap.firstNonMember(in: range)
      #expect(gap == range.first { !model.contains($0) })
    }
  }

  @Test func `what is filled at once is as what is filled page by page`() {
    let chunk = 1 << 18
    var one = PageBitmap(pageCount: 2 * chunk + 70)
    var other = one
    for page in 5..<2 * chunk + 70 { one.insert(page) }
    other.insert(5..<2 * chunk + 70)
    #expect(one == other)
    #expect(other.memberCount == 2 * chunk + 65)
    #expect(other.contains(2 * chunk + 69) && !other.contains(4))
    other.remove(chunk + 3)
    #expect(one != other)
    #expect(other.runs(in: 0..<2 * chunk) == [5..<chunk + 3, chunk + 4..<2 * chunk])
    let gaps = other.runs(in: 0..<other.pageCount, ofMembers: false)
    #expect(gaps == [0..<5, chunk + 3..<chunk + 4])
    #expect(PageBitmap(complementOf: other).memberCount == 6)
    #expect(one.subtracting(other).runs(in: 0..<one.pageCount) == [chunk + 3..<chunk + 4])
    #expect(other.subtracting(one).memberCount == 0)
  }

  @Test func `a full chunk is passed over`() {
    let chunk = 1 << 18
    var bitmap = PageBitmap(pageCount: 2 * chunk)
    for page in 0..<chunk { bitmap.insert(page) }
    #expect(bitmap.firstNonMember(in: 0..<2 * chunk) == chunk)
    #expect(bitmap.firstMember(in: chunk..<2 * chunk) == nil)
    #expect(bitmap.firstNonMember(in: 5..<9) == nil)
  }

  @Test func `a terabyte of pages costs nothing until one is set`() {
    let start = ContinuousClock.now
    var bitmap = PageBitmap(pageCount: 1 << 28)
    bitmap.insert((1 << 28) - 1)
    #expect(bitmap.firstMember(in: 0..<(1 << 28)) == (1 << 28) - 1)
    bitmap.insert(0..<1 << 28)
    #expect(bitmap.firstNonMember(in: 0..<(1 << 28)) == nil)
    #expect(ContinuousClock.now - start < .milliseconds(100))
  }

  @Test func `no pages are no trouble`() {
    let bitmap = PageBitmap(pageCount: 0)
    #expect(bitmap.firstMember(in: 0..<0) == nil)
  }
}
