// What the C library says of an error number.

import Glibc

extension StoreError {
  /// The C library's words for an error number, and what to do about the common ones.
  static func explain(_ code: Int32) -> String {
    // SAFETY: strerror returns a NUL-terminated string that stays valid until this thread's next
    // call; it is copied at once.
    let words = unsafe String(cString: strerror(code))
    switch code {
    case ENOSPC: return "\(words). Free some space (`godwit gc` may help) and try again."
    case EDQUOT: return "\(words). Free some of your quota and try again."
    case EFBIG:
      return "\(words). The file system or a limit of this process forbids files that large."
    case EACCES, EPERM: return "\(words). Use a store that this user may write."
    case EROFS: return "\(words). Use a store on a writable file system."
    case EMFILE, ENFILE: return "\(words). Raise the limit on open files (ulimit -n)."
    case EIO: return "\(words). The disk may be failing: look at the kernel's log."
    default: return "\(words)."
    }
  }
}
