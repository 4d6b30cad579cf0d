// Until the wire's own decoder of the return path is here.

internal import Wire

struct ReturnPathDecoder {
  init(blocks: [RAMBlockDescription], targetPageSize: Int) {}
  mutating func feed(_ bytes: RawSpan) throws(WireError) -> [ReturnPathMessage] { [] }
}
