// The sources of dirt, by the names that people type.

/// A way to learn which pages of a guest were written.
public enum DirtyLogKind: String, CaseIterable, Sendable {
  /// KVM_GET_DIRTY_LOG, which protects what it hands out.
  case bitmap
  /// KVM_GET_DIRTY_LOG with KVM_CLEAR_DIRTY_LOG just before pages are sent.
  case clear
  /// The rings of dirty pages, one per vCPU.
  case ring
  /// Asynchronous userfaultfd write protection, read by PAGEMAP_SCAN.
  case writeProtect = "write-protect"
}
