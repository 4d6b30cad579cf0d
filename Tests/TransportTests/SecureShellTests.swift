// What ssh is told: words and paths arrive as they are, whatever they are made of.

import Foundation
import Testing

@testable import Transport

@Suite struct SecureShellTests {
  @Test(
    arguments: [
      ("/run/vm.sock", "/run/vm.sock"), ("/a:b", #"/a\:b"#), (#"/a\b"#, #"/a\\b"#),
      ("/50%", "/50%%"),
    ])
  func `a path is written so that ssh reads it back`(path: String, escaped: String) {
    #expect(SecureShell.escaped(path) == escaped)
  }

  @Test func `a shell hands every word on as it is`() throws {
    let words = ["a b", "'", "$HOME", "`id`", "\\", "\"", "*", "", "a\nb", "ä"]
    let text = "printf '%s\\0' " + words.map(SecureShell.quoted).joined(separator: " ")
    let channel = try ByteChannel.connect(to: .command(text))
    var bytes: [UInt8] = []
    while case let more = try channel.read(atMost: 4096), !more.isEmpty { bytes += more }
    let expected = words.map { Array($0.utf8) + [0] }.joined()
    #expect(bytes == Array(expected))
  }

  @Test func `no word of an address becomes an option, and the person's options stand first`() {
    let shell = SecureShell(command: "ssh -p 2222", destination: "me@host")
    let script = shell.script(forwarding: [("/tmp/x/0", "/run/a b.sock")])
    #expect(script.contains("exec ssh -p 2222 '-T'"))
    #expect(script.contains("'-L' '/tmp/x/0:/run/a b.sock' '--' 'me@host' "))
  }

  @Test(.timeLimit(.minutes(1)))
  func `a command that says it is ready leads on until it is let go`() async throws {
    let folder = ConnectingTests.path("")
    // Instead of an ssh: does what the far end is told to, and nothing else.
    let shell = SecureShell(command: Self.stand, destination: "anywhere")
    let tunnel = try SecureTunnel(shell, to: ["/a", "/b"], in: folder)
    try await Self.wait { tunnel.stage == .ready }
    #expect(await tunnel.answers(within: .seconds(10)))
    #expect(tunnel.lines.map(\.text) == ["a warning"])
    #expect(tunnel.socket(0) == nil, "nothing has made it")
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder).count == 1)
    tunnel.close()
    try await Self.wait { tunnel.stage == .ended(.status(0)) }
    #expect(await !tunnel.answers(within: .seconds(10)))
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder).isEmpty)
  }

  @Test(.timeLimit(.minutes(1)), arguments: [("false", 1), ("no-such-program-there", 127)])
  func `one that ends says how`(command: String, status: Int32) async throws {
    let shell = SecureShell(command: command, destination: "anywhere")
    let tunnel = try SecureTunnel(shell, to: ["/a"], in: ConnectingTests.path(""))
    try await Self.wait { tunnel.stage == .ended(.status(status)) }
    if status == 127 {
      try await Self.wait { tunnel.lines.contains { $0.text.contains("not found") } }
    }
  }

  @Test(.timeLimit(.minutes(1)))
  func `one that waits can be ended, and a terminal's signals are not for it`() async throws {
    let shell = SecureShell(
      command: "sh -c 'kill -INT $$; kill -HUP $$; echo alive >&2; exec sleep 600'",
      destination: "anywhere")
    let tunnel = try SecureTunnel(shell, to: ["/a"], in: ConnectingTests.path(""))
    try await Self.wait { tunnel.lines.contains { $0.text == "alive" } }
    #expect(tunnel.stage == .connecting)
    tunnel.terminate()
    try await Self.wait { tunnel.stage == .ended(.signal(SIGTERM)) }
  }

  /// Runs the last of its arguments, with something before it as login shells have it.
  private static let stand =
    #"sh -c 'echo a warning >&2; echo Welcome.; for last; do :; done; eval "$last"' stand"#

  private static func wait(_ isReached: () -> Bool) async throws {
    while !isReached() { try await Task.sleep(for: .milliseconds(5)) }
  }
}
