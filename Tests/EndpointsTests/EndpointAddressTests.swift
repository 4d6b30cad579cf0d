// Where an endpoint is, as people write it: what is here, what is elsewhere, and what is neither.

import Testing

@testable import Endpoints

@Suite struct EndpointAddressTests {
  @Test(
    arguments: [
      "/run/vm.sock", "vm.sock", "./vm:1.sock", "/run/a:b.sock", "dir/a:/b", "unix:/run/vm.sock",
      "unix:vm.sock", "tcp:host:4444", "localhost:4444", "[::1]:4444", "fd:3",
    ])
  func `what has no colon before a slash, and QEMU's notations, are of this host`(
    text: String
  ) throws {
    #expect(try EndpointAddress(text) == .local(text))
    #expect("\(try EndpointAddress(text))" == text)
  }

  @Test(
    arguments: [
      ("host:/run/vm.sock", "host", "/run/vm.sock"),
      ("me@host:/run/vm.sock", "me@host", "/run/vm.sock"),
      ("me@there@host:/a", "me@there@host", "/a"),
      ("host.example.org:/a:b", "host.example.org", "/a:b"),
      ("[::1]:/a", "::1", "/a"), ("me@[fe80::1%eth0]:/a", "me@fe80::1%eth0", "/a"),
      ("192.0.2.1:/a b/c", "192.0.2.1", "/a b/c"), ("ssh:/a", "ssh", "/a"),
    ])
  func `a host, perhaps a user, and a path are of another host`(
    text: String, destination: String, path: String
  ) throws {
    let socket = try #require(try EndpointAddress(text).remote)
    #expect(socket.destination == destination)
    #expect(socket.path == path)
    #expect("\(try EndpointAddress(text))" == text)
  }

  @Test(
    arguments: [
      ("host:vm.sock", "begin with '/'"), ("host:", "begin with '/'"), ("host:~/a", "begin with"),
      ("me@host:4444", "begin with '/'"), ("fe80::1:/a", "brackets"), ("::1:/a", "brackets"),
      (":/a", "no host"), ("me@:/a", "no host"), ("[]:/a", "no host"), ("@host:/a", "no user"),
      ("-oProxyCommand=x:/a", "'-'"), ("me@-host:/a", "'-'"), ("-me@host:/a", "'-'"),
      ("[-host]:/a", "'-'"), ("ssh://host/a", "URL"), ("host:/a/${HOME}/b", "${"),
      ("host:/" + String(repeating: "a", count: 99), "99 bytes"),
    ])
  func `what can be neither is refused with how to write it`(text: String, reason: String) throws {
    let error = try #require(throws: MoveError.self) { try EndpointAddress(text) }
    #expect(error.code == .refused)
    #expect(error.description.contains(reason), "\(error)")
    #expect(error.description.contains("[user@]host:/path/of/qmp.sock"), "\(error)")
  }
}
