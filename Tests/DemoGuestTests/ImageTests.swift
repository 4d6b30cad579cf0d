// The committed images are ELF files of their architecture, and what their sources build to.

import DemoGuest
import Foundation
import Testing

struct ImageTests {
  @Test(arguments: DemoGuest.Architecture.allCases)
  func `an image is a small ELF file`(architecture: DemoGuest.Architecture) {
    let image = architecture.image
    #expect(image.starts(with: [0x7f, 0x45, 0x4c, 0x46]))
    #expect(image.count < 32 * 1024)
  }

  @Test func `an image is written where it is asked for`() throws {
    let path = NSTemporaryDirectory() + "godwit-image-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: path) }
    try DemoGuest.write(to: path)
    #expect(try [UInt8](Data(contentsOf: URL(fileURLWithPath: path))) == DemoGuest.image)
  }

  @Test func `a path that cannot be written is named`() {
    let path = "/proc/no-such-directory/guest"
    #expect {
      try DemoGuest.write(to: path)
    } throws: { error in
      "\(error)".contains(path)
    }
  }

  @Test(.enabled(if: Build.isSameCompiler, "the images were built with another compiler"))
  func `the sources build to the committed bytes`() throws {
    let directory = NSTemporaryDirectory() + "godwit-guests-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let built = Build.run([directory])
    #expect(built.status == 0)
    for architecture in DemoGuest.Architecture.allCases {
      let file = URL(fileURLWithPath: "\(directory)/\(architecture.rawValue).elf")
      #expect(try [UInt8](Data(contentsOf: file)) == architecture.image, "\(architecture)")
    }
  }
}

/// The script that builds the guests.
private enum Build {
  static let root = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  static func run(_ arguments: [String]) -> (status: Int32, output: String) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/bin/bash")
    process.arguments = [root.path + "/Guest/build.sh"] + arguments
    let output = Pipe()
    process.standardOutput = output
    do { try process.run() } catch { return (127, "") }
    let text = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return (process.terminationStatus, String(decoding: text, as: UTF8.self))
  }

  /// Another compiler's output is as good and not the same, so there is nothing to compare.
  static var isSameCompiler: Bool {
    let compiler = run(["--compiler"])
    guard compiler.status == 0 else { return false }
    let image = root.path + "/Sources/DemoGuest/Image+x86_64.swift"
    guard let source = try? String(contentsOfFile: image, encoding: .utf8) else { return false }
    return source.contains(compiler.output)
  }
}
