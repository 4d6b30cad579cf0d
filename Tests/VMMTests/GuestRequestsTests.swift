// What guests ask for reaches the machine's own thread, whenever it comes.

import Foundation
import Synchronization
import Testing

@testable import VMM

@Suite(.timeLimit(.minutes(1))) struct GuestRequestsTests {
  @Test func `of sizes of the balloon in a row the last one is kept`() {
    let requests = GuestRequests()
    for byteCount: UInt64 in 1...1000 {
      requests.post(.balloonChanged(actualByteCount: byteCount))
    }
    requests.post(.shutdown)
    requests.post(.balloonChanged(actualByteCount: 5))
    #expect(requests.next() == .balloonChanged(actualByteCount: 1000))
    #expect(requests.next() == .shutdown)
    #expect(requests.next() == .balloonChanged(actualByteCount: 5))
    #expect(requests.close())
    #expect(requests.next() == nil)
  }
}
