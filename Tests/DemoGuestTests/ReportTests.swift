// Report lines are read as they are written, and nothing else is taken for one.

import DemoGuest
import Testing

struct ReportTests {
  @Test func `a report line is read whole`() {
    let line = "mem t=12.5 written=61440 checked=24580 bad=3 gap=1.3\r"
    #expect(
      DemoGuestReport(line: line)
        == DemoGuestReport(t: 12.5, written: 61440, checked: 24580, bad: 3, gapMilliseconds: 1.3))
  }

  @Test(arguments: [
    "", "mem", DemoGuestReport.readyLine, "guest pages=16366", "mem t=1.0 written=5 checked=2",
    "mem t=1.0 written=5 checked=2 bad=0 ga", "mem t=1.0 written=-5 checked=2 bad=0 gap=1.0",
    "em t=1.0 written=5 checked=2 bad=0 gap=1.0", "mem t=1.0 written=5 checked=2 bad=0 gap=",
  ])
  func `anything else is no report`(line: String) {
    #expect(DemoGuestReport(line: line) == nil)
  }

  @Test func `the command line names every parameter`() {
    #expect(
      DemoGuest.commandLine(memoryMegabytes: 64, rate: 20, pattern: .sequential, fill: false)
        == "memory=64 rate=20 pattern=seq fill=0")
    #expect(DemoGuest.commandLine(check: 1) == "memory=0 rate=0 pattern=random fill=1 check=1")
  }
}
