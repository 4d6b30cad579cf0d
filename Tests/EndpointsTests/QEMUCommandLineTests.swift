// What `start` makes of a person's QEMU command line.

import Testing

@testable import Endpoints

@Suite struct QEMUCommandLineTests {
  static func additions(image: String? = nil, index: Int = 0) -> QEMUCommandLine.Additions {
    QEMUCommandLine.Additions(
      qmpPath: "/run/a,b/qmp", machine: "pc-i440fx-7.2", memoryName: "pc.ram",
      memoryBytes: 64 << 20,
      memoryImage: image, index: index)
  }

  @Test func `a bare QEMU gets machine, memory, incoming and a monitor`() throws {
    let line = try QEMUCommandLine(["qemu-system-x86_64"], adding: Self.additions())
    #expect(line.executable == "qemu-system-x86_64")
    let text = line.arguments.joined(separator: " ")
    #expect(text.hasPrefix("-machine pc-i440fx-7.2 -m 64M -incoming defer"))
    #expect(text.contains("path=/run/a,,b/qmp"))
  }

  @Test(arguments: ["pc", "pc,usb=off", "type=pc"])
  func `a machine's family is pinned to the checkpoint's version`(given: String) throws {
    let line = try QEMUCommandLine(["q", "-machine", given, "-m", "64"], adding: Self.additions())
    #expect(line.arguments.contains("type=pc-i440fx-7.2"))
    #expect(!line.arguments.contains("64M"))
  }

  @Test(arguments: ["pc-i440fx-7.2", "pc-q35-7.2", "pc-i440fx-6.0"])
  func `an exact machine type is left to the person`(given: String) throws {
    let line = try QEMUCommandLine(["q", "-M", given], adding: Self.additions())
    #expect(!line.arguments.contains { $0.hasPrefix("type=") })
  }

  @Test func `each of several machines gets its number`() throws {
    let line = try QEMUCommandLine(
      ["q", "-serial", "file:{index}-{index}.log"], adding: Self.additions(index: 3))
    #expect(line.arguments.contains("file:3-3.log"))
  }

  @Test func `shared memory becomes a private mapping of the image`() throws {
    let line = try QEMUCommandLine(["q"], adding: Self.additions(image: "/c/ram"))
    let text = line.arguments.joined(separator: " ")
    #expect(text.contains("share=off,size=67108864,mem-path=/c/ram"))
    #expect(text.contains("-machine memory-backend=pc.ram"))
  }

  @Test func `a machine of Godwit's own gets its memory, incoming and a monitor`() throws {
    let line = try QEMUCommandLine(
      ["/bin/godwit", "vm", "run", "--cpus", "2"], adding: Self.additions())
    #expect(line.executable == "/bin/godwit")
    #expect(
      line.arguments == [
        "vm", "run", "--cpus", "2", "--memory", "64M", "--incoming", "defer", "--qmp",
        "/run/a,b/qmp",
      ])
    #expect(!line.staysPaused)
    let paused = try QEMUCommandLine(
      ["godwit", "vm", "run", "--memory=64M", "--paused"], adding: Self.additions())
    #expect(paused.staysPaused)
    #expect(!paused.arguments.contains("--memory"))
    for words in [["--incoming", "defer"], ["--qmp=x"]] {
      #expect(throws: MoveError.self) {
        try QEMUCommandLine(["godwit", "vm", "run"] + words, adding: Self.additions())
      }
    }
    #expect(throws: MoveError.self) {
      try QEMUCommandLine(["godwit", "vm", "run"], adding: Self.additions(image: "/c/ram"))
    }
  }

  @Test(arguments: [["-incoming", "defer"], ["-daemonize"]])
  func `what start does itself is refused`(arguments: [String]) {
    #expect(throws: MoveError.self) {
      try QEMUCommandLine(["q"] + arguments, adding: Self.additions())
    }
  }

  @Test func `sharing beside a memory backend is refused`() {
    #expect(throws: MoveError.self) {
      try QEMUCommandLine(
        ["q", "-machine", "pc,memory-backend=m0"], adding: Self.additions(image: "/c/ram"))
    }
  }
}
