// Everything that can go wrong with guest memory, each as a sentence.

import Glibc

/// Why memory could not be made, laid out, reached or watched.
public enum GuestMemoryError: Error, Equatable, Sendable {
  /// A RAM block's name or size is unusable; `reason` completes "because".
  case badBlock(name: String, reason: String)
  /// The host refused a system call; `action` such as "Reserving 1073741824 bytes for pc.ram".
  case hostRefused(action: String, code: Int32)
  /// The file behind a block is shorter than the block.
  case fileTooShort(path: String, expected: Int, found: Int)
  /// There is no room for a block in the RAM list's address space.
  case noPlace(name: String, byteCount: Int)
  /// A range lies outside its block.
  case outsideBlock(name: String, offset: Int, byteCount: Int, blockByteCount: Int)
  /// A device addressed bytes where there is no memory.
  case unmapped(action: MemoryAction, address: GuestAddress, byteCount: Int)
  /// A device addressed the registers of one as if they were memory.
  case notMemory(action: MemoryAction, address: GuestAddress, region: String)
  /// A device was told to write where memory is read-only.
  case readOnly(address: GuestAddress, region: String)
  /// A range reaches beyond the last address.
  case wraps(action: MemoryAction, address: GuestAddress, byteCount: Int)
  /// A piece of memory must be lent in one piece, and is not in one piece.
  case notContiguous(address: GuestAddress, byteCount: Int, contiguousByteCount: Int)
  /// A memory listener could not follow a change of the layout.
  case listenerFailed(listener: String, reason: String)
  /// A source of dirty pages failed; `action` such as "Reading the dirty pages of slot 3".
  case dirtyLogFailed(source: String, action: String, reason: String)
}

/// What was done to memory when something went wrong.
public enum MemoryAction: String, Sendable {
  /// Memory was to be read.
  case read
  /// Memory was to be written.
  case write
}

extension GuestMemoryError: CustomStringConvertible {
  /// A sentence for a person: what was being done, to what, what was found, what to do next.
  public var description: String {
    switch self {
    case .badBlock(let name, let reason):
      "The RAM block '\(name)' cannot be made: \(reason)."
    case .hostRefused(let action, let code):
      "\(action) failed: \(Self.text(of: code)).\(Self.advice(for: code))"
    case .fileTooShort(let path, let expected, let found):
      "The file '\(path)' is too short to be guest memory: it must have \(expected) bytes and "
        + "has \(found). Give the guest no more memory than the file holds."
    case .noPlace(let name, let byteCount):
      "There is no place for \(byteCount) bytes of RAM block '\(name)': "
        + "all RAM together is limited to \(RAMLayout.byteLimit >> 40) TiB. Give the guest less."
    case .outsideBlock(let name, let offset, let byteCount, let blockByteCount):
      "\(byteCount) bytes at offset \(offset) are not inside the RAM block '\(name)', "
        + "which has \(blockByteCount) bytes."
    case .unmapped(let action, let address, let byteCount):
      "A device was to \(action.rawValue) \(byteCount) bytes at guest address \(address), "
        + "where there is no memory. The guest's driver is at fault."
    case .notMemory(let action, let address, let region):
      "A device was to \(action.rawValue) memory at guest address \(address), where the "
        + "registers of '\(region)' are. The guest's driver is at fault."
    case .readOnly(let address, let region):
      "A device was to write at guest address \(address), where '\(region)' is read-only. "
        + "The guest's driver is at fault."
    case .wraps(let action, let address, let byteCount):
      "A device was to \(action.rawValue) \(byteCount) bytes from guest address \(address) on, "
        + "beyond the last address there is. The guest's driver is at fault."
    case .notContiguous(let address, let byteCount, let contiguousByteCount):
      "\(byteCount) bytes at guest address \(address) are needed in one piece; "
        + "only \(contiguousByteCount) are. The guest's driver is at fault."
    case .listenerFailed(let listener, let reason):
      "\(listener) could not follow a change of the memory layout: \(reason)."
    case .dirtyLogFailed(let source, let action, let reason):
      "\(action) (dirty tracking by \(source)) failed: \(reason)."
    }
  }

  private static func text(of code: Int32) -> String {
    // SAFETY: strerror answers a terminated string, which is copied at once.
    guard let text = unsafe strerror(code) else { return "error \(code)" }
    return unsafe String(cString: text)
  }

  private static func advice(for code: Int32) -> String {
    switch code {
    case ENOMEM:
      " Give the guest less memory, or raise the limit on address space (ulimit -v)."
    case ENOENT: " Check the path."
    case EACCES, EPERM: " Run as the user who owns it, or change its permissions."
    case EMFILE, ENFILE: " Raise the limit on open files (ulimit -n)."
    case ENOSPC: " Free some space and try again."
    default: ""
    }
  }
}
