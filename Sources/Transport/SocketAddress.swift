// Socket addresses, and the one place where the kernel's address structures are handled.

import Glibc

/// An address that sockets connect to or listen on.
struct SocketAddress {
  private let storage: sockaddr_storage
  private let length: socklen_t

  /// The addresses of a host; an empty host is this machine on every interface.
  static func resolve(host: String, port: UInt16, forListening: Bool) throws(TransportError)
    -> [SocketAddress]
  {
    var hints = unsafe addrinfo()
    unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    unsafe hints.ai_flags = AI_NUMERICSERV | (forListening ? AI_PASSIVE : 0)
    var list: UnsafeMutablePointer<addrinfo>?
    // SAFETY: strings and hints outlive the call; the list is freed below.
    let code = unsafe getaddrinfo(host.isEmpty ? nil : host, "\(port)", &hints, &list)
    guard code == 0 else {
      let reason = unsafe String(cString: gai_strerror(code))
      throw .unknownHost(host, reason: reason)
    }
    defer { unsafe freeaddrinfo(list) }
    var addresses: [SocketAddress] = []
    var entry = unsafe list
    while let current = unsafe entry {
      // SAFETY: the list's entries are valid until it is freed, their addresses `ai_addrlen` long.
      unsafe addresses.append(SocketAddress(current.pointee.ai_addr, current.pointee.ai_addrlen))
      unsafe entry = unsafe current.pointee.ai_next
    }
    return addresses
  }

  /// The address of a Unix socket; the path has at most 107 bytes.
  init(path: String) throws(TransportError) {
    try MigrationURI.checkUnixPath(path, in: "unix:\(path)")
    var storage = sockaddr_storage()
    // SAFETY: sockaddr_un fits the storage by definition, and the path with its terminator fits
    // its field by the precondition.
    unsafe withUnsafeMutableBytes(of: &storage) { memory in
      unsafe memory.storeBytes(of: sa_family_t(AF_UNIX), as: sa_family_t.self)
      let field = MemoryLayout<sockaddr_un>.offset(of: \.sun_path) ?? 2
      unsafe memory[field..<(field + path.utf8.count)].copyBytes(from: path.utf8)
    }
    self.storage = storage
    length = socklen_t(MemoryLayout<sockaddr_un>.size)
  }

  private init(_ address: UnsafePointer<sockaddr>, _ length: socklen_t) {
    var storage = sockaddr_storage()
    let count = min(Int(length), MemoryLayout<sockaddr_storage>.size)
    // SAFETY: the caller's address has `length` bytes, and no more than the storage are copied.
    unsafe withUnsafeMutableBytes(of: &storage) { memory in
      unsafe memory.copyMemory(from: UnsafeRawBufferPointer(start: address, count: count))
    }
    self.storage = storage
    self.length = socklen_t(count)
  }

  /// AF_INET, AF_INET6 or AF_UNIX.
  var family: Int32 { Int32(storage.ss_family) }

  /// The port of an Internet address.
  var port: UInt16 {
    // In both families the port is the second field, in network byte order.
    UInt16(bigEndian: load(at: 2))
  }

  /// Whether only this machine reaches it.
  var isLoopback: Bool {
    switch family {
    case AF_UNIX: return true
    case AF_INET:
      let address: UInt32 = load(at: 4)
      return UInt32(bigEndian: address) >> 24 == 127
    case AF_INET6:
      let words: [UInt32] = [8, 12, 16, 20].map { UInt32(bigEndian: load(at: $0)) }
      let isMapped = words[0] == 0 && words[1] == 0 && words[2] == 0xFFFF && words[3] >> 24 == 127
      return words == [0, 0, 0, 1] || isMapped
    default: return false
    }
  }

  /// Whether two addresses are one host's, as those of a connection are that does not leave it.
  func isOnSameHost(as other: SocketAddress) -> Bool {
    guard family == other.family else { return false }
    if isLoopback { return other.isLoopback }
    switch family {
    case AF_INET: return load(at: 4) as UInt32 == other.load(at: 4)
    case AF_INET6:
      return load(at: 8) as UInt64 == other.load(at: 8)
        && load(at: 16) as UInt64 == other.load(at: 16)
    default: return false
    }
  }

  private func load<Value: FixedWidthInteger & BitwiseCopyable>(at offset: Int) -> Value {
    // SAFETY: the callers' offsets lie inside the 128 bytes of the storage.
    unsafe withUnsafeBytes(of: storage) {
      unsafe $0.loadUnaligned(fromByteOffset: offset, as: Value.self)
    }
  }

  /// Lends the address to a system call.
  func withPointer(_ call: (UnsafePointer<sockaddr>, socklen_t) -> Int) -> Int {
    var storage = storage
    // SAFETY: every address structure begins with the family, which is all that sockaddr says.
    return unsafe withUnsafePointer(to: &storage) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe call($0, length) }
    }
  }

  /// A new stream socket of this address' family.
  func makeSocket(action: String) throws(TransportError) -> OwnedDescriptor {
    let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    let number = socket(family, type, 0)
    guard number >= 0 else { throw .failed(action: action, code: errno) }
    return OwnedDescriptor(adopting: number)
  }

  /// The address that a socket is bound to.
  static func local(of descriptor: Int32) -> SocketAddress? {
    var storage = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    // SAFETY: the kernel writes at most `length` bytes to the local.
    return unsafe withUnsafeMutablePointer(to: &storage) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
        guard unsafe getsockname(descriptor, address, &length) == 0 else { return nil }
        return unsafe SocketAddress(address, length)
      }
    }
  }
}
