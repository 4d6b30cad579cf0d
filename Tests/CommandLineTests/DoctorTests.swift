// What `doctor` reports, on whatever host runs the tests.

import Foundation
import JSON
import Testing

@testable import Endpoints

@Suite struct DoctorTests {
  @Test func `doctor reports on every topic, in words and as JSON`() throws {
    let text = try BuiltCommand.run(["doctor"])
    #expect(text.code == 0)
    let result = try #require(try BuiltCommand.run(["doctor", "--json"]).objects().last)
    #expect(result["event"]?.string == "result")
    let findings = try #require(result["findings"]?.array)
    let topics = findings.compactMap { $0["topic"]?.string }
    for topic in ["QEMU", "instant restore", "save --live", "KVM", "memory", "store"] {
      #expect(topics.contains(topic))
      #expect(text.output.contains(topic))
    }
    for finding in findings where finding["state"]?.string != "ok" {
      #expect(finding["advice"]?.string?.isEmpty == false, "a problem without advice: \(finding)")
    }
  }

  @Test func `doctor names a QEMU that does not answer`() throws {
    let outcome = try BuiltCommand.run(
      ["doctor"], environment: ["GODWIT_QEMU": "/nonexistent/qemu"])
    #expect(outcome.code == 0)
    #expect(outcome.output.contains("/nonexistent/qemu does not answer --version"))
  }

  @Test func `a list of QEMU commands is split at newlines and semicolons`() {
    #expect(
      InstalledQEMU.commands(listedIn: "/a/qemu -L /b ; /c/qemu\n\n/d/qemu")
        == [["/a/qemu", "-L", "/b"], ["/c/qemu"], ["/d/qemu"]])
  }

  @Test(arguments: [("7.2.22", true), ("5.1.0", true), ("9.2.1", true), ("10.0.2", false)])
  func `old versions have a known problem`(version: String, isProblem: Bool) {
    let qemu = InstalledQEMU(command: ["qemu-system-x86_64"], version: version)
    #expect((qemu.knownProblem != nil) == isProblem)
  }

  @Test func `a program that is no QEMU is not taken for one`() throws {
    let outcome = try BuiltCommand.run(["doctor"], environment: ["GODWIT_QEMU": "/bin/cat"])
    #expect(outcome.output.contains("/bin/cat does not answer --version as a QEMU does"))
  }

  @Test func `the holders of a lock are in the kernel's list`() {
    let locks = """
      1: FLOCK  ADVISORY  READ  1234 fe:00:5678 0 EOF
      1: -> FLOCK  ADVISORY  WRITE 99 fe:00:5678 0 EOF
      2: POSIX  ADVISORY  WRITE 77 fe:00:5678 0 EOF
      3: FLOCK  ADVISORY  WRITE 55 fe:00:15678 0 EOF
      """
    #expect(DoctorStore.holders(ofLock: 5678, in: locks) == [1234])
    #expect(DoctorStore.holders(ofLock: nil, in: locks).isEmpty)
  }

  @Test func `memory is read from the kernel's account in KiB`() {
    let text = "MemTotal:       24689012 kB\nMemAvailable:    1048576 kB\n"
    #expect(DoctorKernel.kibibytes(of: "MemAvailable", in: text) == 1_048_576)
    #expect(DoctorKernel.kibibytes(of: "Mem", in: text) == nil)
  }
}
