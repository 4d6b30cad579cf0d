// A file that holds pages of memory: its stretches of whole pages, numbered one after the other.

internal import Glibc
internal import PageHash
internal import Synchronization
internal import Transport

/// A file of pages, open for reading; any thread may read at any time.
///
/// The file may change or shrink meanwhile: what cannot be read is not there, and what has changed
/// has another hash.
final class PageFile: NumberedPages {
  /// Whole pages that lie one behind the other in the file.
  struct Run: Equatable, Sendable {
    /// Where the first one begins.
    var fileOffset: UInt64
    /// How many there are; at least one.
    var pageCount: Int
  }

  /// What messages call it.
  let name: String
  /// How many pages it has.
  let pageCount: Int
  private let runs: [Run]
  /// The number of each run's first page.
  private let firstPages: [Int]
  private let descriptor: OwnedDescriptor

  /// The most pages: more have no number in 32 bits (16 TiB).
  private static let pageLimit = Int(UInt32.max)

  /// Opens a memory dump in ELF form.
  convenience init(dump path: String) throws(KnownContentError) {
    let name = "The dump '\(path)'"
    let descriptor = try Self.open(path, name)
    let number = descriptor.raw
    let layout: DumpLayout
    do {
      layout = try DumpLayout(fileByteCount: try Self.byteCount(number, name)) {
        (offset, count) throws(KnownContentError) in
        try Self.read(number, offset, count, name)
      }
    } catch let fault as DumpLayout.Fault {
      throw KnownContentError(name, fault.reason)
    } catch let error as KnownContentError {
      throw error
    } catch {
      throw KnownContentError(name, "\(error)")
    }
    try self.init(
      descriptor, name, layout.pageRuns(pageByteCount: Digester.pageByteCount))
  }

  /// Opens a file that is nothing but pages.
  convenience init(raw path: String) throws(KnownContentError) {
    let name = "The image '\(path)'"
    let descriptor = try Self.open(path, name)
    let byteCount = try Self.byteCount(descriptor.raw, name)
    let count = Int(clamping: byteCount) / Digester.pageByteCount
    guard count > 0 else {
      throw KnownContentError(name, "it has \(byteCount) bytes, which is not even one page.")
    }
    try self.init(descriptor, name, [Run(fileOffset: 0, pageCount: count)])
  }

  /// Memory with a descriptor, all of which is pages.
  convenience init(memory: consuming OwnedDescriptor, name: String) throws(KnownContentError) {
    let count = Int(clamping: try Self.byteCount(memory.raw, name)) / Digester.pageByteCount
    try self.init(memory, name, [Run(fileOffset: 0, pageCount: count)])
  }

  private init(
    _ descriptor: consuming OwnedDescriptor, _ name: String, _ runs: [Run]
  ) throws(KnownContentError) {
    var firstPages: [Int] = []
    var count = 0
    for run in runs {
      firstPages.append(count)
      let (sum, overflows) = count.addingReportingOverflow(run.pageCount)
      guard !overflows, sum <= Self.pageLimit else {
        throw KnownContentError(name, "it has more than \(Self.pageLimit) pages.")
      }
      count = sum
    }
    guard count > 0 else { throw KnownContentError(name, "it holds no whole page of memory.") }
    self.name = name
    self.runs = runs
    self.firstPages = firstPages
    self.descriptor = descriptor
    pageCount = count
  }

  /// Reads pages that follow one another by number, and says how many could be read.
  func read(from page: Int, into room: inout MutableRawSpan) -> Int {
    let size = Digester.pageByteCount
    var done = 0
    while done < room.byteCount / size, page + done < pageCount {
      let (offset, inRun) = place(of: page + done)
      let wanted = min(inRun, room.byteCount / size - done) * size
      let start = done * size
      var part = room._mutatingExtracting(start..<start + wanted)
      let got = Self.fill(&part, descriptor.raw, offset)
      done += got / size
      if got < wanted { break }
    }
    return done
  }

  /// Where a page lies, and how many lie there from it on.
  private func place(of page: Int) -> (offset: UInt64, count: Int) {
    var low = 0
    var high = firstPages.count - 1
    while low < high {
      let middle = (low + high + 1) / 2
      if firstPages[middle] <= page { low = middle } else { high = middle - 1 }
    }
    let within = page - firstPages[low]
    return (
      runs[low].fileOffset + UInt64(within) * UInt64(Digester.pageByteCount),
      runs[low].pageCount - within
    )
  }

  // MARK: The kernel

  private static func open(
    _ path: String, _ name: String
  ) throws(KnownContentError) -> OwnedDescriptor {
    // A pipe, which is refused below, would be waited for until somebody writes to it.
    // SAFETY: the path is a terminated string for the duration of the call.
    let number = unsafe Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard number >= 0 else { throw KnownContentError(name, reason(errno)) }
    let descriptor = OwnedDescriptor(adopting: number)
    var information = stat()
    // SAFETY: the call fills the local.
    guard unsafe fstat(number, &information) == 0 else {
      throw KnownContentError(name, reason(errno))
    }
    let kind = information.st_mode & S_IFMT
    guard kind == S_IFREG || kind == S_IFBLK else {
      throw KnownContentError(name, "it is neither a file nor a block device.")
    }
    return descriptor
  }

  /// How long a file or a block device is.
  private static func byteCount(
    _ descriptor: Int32, _ name: String
  ) throws(KnownContentError) -> UInt64 {
    let end = lseek(descriptor, 0, SEEK_END)
    guard end >= 0 else { throw KnownContentError(name, reason(errno)) }
    return UInt64(end)
  }

  private static func read(
    _ descriptor: Int32, _ offset: UInt64, _ count: Int, _ name: String
  ) throws(KnownContentError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    var room = bytes.mutableSpan
    // SAFETY: any bytes may be written into an array of bytes.
    var memory = unsafe room.mutableBytes
    guard fill(&memory, descriptor, offset) == count else {
      throw KnownContentError(name, "it cannot be read at byte \(offset).")
    }
    return bytes
  }

  /// Reads until the room is full, the file ends or the kernel fails; how many bytes came.
  private static func fill(
    _ room: inout MutableRawSpan, _ descriptor: Int32, _ offset: UInt64
  ) -> Int {
    // SAFETY: the kernel writes no more than it is told, all of it inside the span.
    unsafe room.withUnsafeMutableBytes { memory in
      var done = 0
      while done < memory.count, let base = memory.baseAddress {
        let got = unsafe pread(
          descriptor, base + done, memory.count - done, off_t(clamping: offset) + done)
        if got < 0, errno == EINTR { continue }
        guard got > 0 else { break }
        done += got
      }
      return done
    }
  }

  private static func reason(_ code: Int32) -> String {
    "\(TransportError.failed(action: "Opening it", code: code))"
  }
}
