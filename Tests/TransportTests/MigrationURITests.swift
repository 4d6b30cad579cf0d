// Addresses in QEMU's notation: read, written, and refused with a reason.

import Testing
import Transport

@Suite struct MigrationURITests {
  @Test(arguments: [
    ("tcp:127.0.0.1:4444", MigrationURI.tcp(host: "127.0.0.1", port: 4444)),
    ("tcp:[::1]:0", .tcp(host: "::1", port: 0)), ("tcp::5", .tcp(host: "", port: 5)),
    ("unix:/run/a b.sock", .unix(path: "/run/a b.sock")), ("fd:7", .descriptor(7)),
    ("exec:cat > 'a:b'", .command("cat > 'a:b'")),
    ("file:/tmp/x", .file(path: "/tmp/x", offset: 0)),
    ("file:/a,offset=1,offset=4096", .file(path: "/a,offset=1", offset: 4096)),
  ])
  func `what QEMU writes is read, and written the same`(text: String, uri: MigrationURI) throws {
    #expect(try MigrationURI(text) == uri)
    #expect(uri.description == text)
  }

  @Test func `an offset may be hexadecimal`() throws {
    #expect(try MigrationURI("file:x,offset=0x1000") == .file(path: "x", offset: 4096))
  }

  @Test(arguments: [
    ("rdma:host:1", "rdma: is QEMU's own and not spoken by Godwit"),
    ("vsock:3:4", "vsock: is QEMU's own and not spoken by Godwit"),
    ("defer:", "only QEMU's -incoming takes it"), ("nonsense", "it has no scheme"),
    ("http://x", "'http' is no scheme"), ("tcp:host", "needs HOST:PORT"),
    ("tcp:host:65536", "needs HOST:PORT"), ("tcp:::1:5", "stands in brackets"),
    ("unix:", "needs the path"), ("fd:", "needs the number"), ("fd:-1", "needs the number"),
    ("fd:x", "needs the number"), ("exec:", "needs a command"), ("file:", "needs a path"),
    ("file:x,offset=y", "N in bytes"), ("file:,offset=1", "N in bytes"),
    ("unix:/" + String(repeating: "x", count: 107), "at most 107 bytes, this one has 108"),
  ])
  func `what Godwit cannot open is refused with the reason`(text: String, reason: String) {
    let error = #expect(throws: TransportError.self) { try MigrationURI(text) }
    let sentence = error?.description ?? ""
    #expect(sentence.hasPrefix("'\(text)' is not a migration address that Godwit can open: "))
    #expect(sentence.contains(reason) && sentence.hasSuffix("."))
  }
}
