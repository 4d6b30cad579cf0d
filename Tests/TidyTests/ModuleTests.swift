// Dependencies run downward only, and unsafe memory is touched in named files only.

import Testing

@Suite struct ModuleTests {
  /// What each module may import beside the standard library.
  ///
  /// Wire, MigrationCore and JSON are pure: no system, no clock, no thread.
  static let allowed: [String: Set<String>] = [
    "JSON": [],
    "Wire": ["JSON", "CZlib"],
    "MigrationCore": ["Wire"],
    "Transport": ["CLinux", "Glibc"],
    "GuestMemory": ["CDirtyBitmap", "CLinux", "Transport", "Glibc"],
    "QMP": ["JSON", "Transport", "Dispatch", "Glibc"],
    "MigrationEngine": ["MigrationCore", "PageHash", "Transport", "Wire", "Glibc"],
    "CheckpointStore": [
      "JSON", "PageHash", "CLinux", "CZstd", "CLZ4", "CZlib", "GRDB", "Glibc", "Foundation",
    ],
    "PageHash": ["CPageHash", "COpenSSL"],
    "Endpoints": [
      "MigrationEngine", "MigrationCore", "CheckpointStore", "PageHash", "QMP", "DirtyTracking",
      "KVM", "Transport", "Wire", "JSON", "CLinux", "DemoGuest", "Glibc", "Foundation",
    ],
    "KVM": ["Transport", "CLinux", "Glibc"],
    "Userfault": ["Transport", "CLinux", "Glibc"],
    "DirtyTracking": ["GuestMemory", "KVM", "Userfault", "Transport", "CLinux", "Glibc"],
    "VMState": ["Wire"],
    "Devices": ["GuestMemory", "VMState", "Transport", "CLinux", "Glibc"],
    "Pager": [
      "MigrationEngine", "MigrationCore", "Userfault", "Transport", "Wire", "CLinux", "Glibc",
    ],
    "VMM": [
      "Pager", "Devices", "DirtyTracking", "Userfault", "KVM", "GuestMemory", "VMState", "QMP",
      "MigrationEngine", "MigrationCore", "DemoGuest", "Transport", "Wire", "JSON", "CLinux",
      "Glibc",
    ],
    "DemoGuest": ["Foundation"],
    "Demonstration": ["Endpoints", "CheckpointStore", "DemoGuest", "QMP", "Foundation"],
    "godwit": [
      "Demonstration", "Endpoints", "CheckpointStore", "MigrationEngine", "VMM", "Pager", "Devices",
      "DirtyTracking", "QMP", "Transport", "Wire", "JSON", "ArgumentParser",
      "Glibc", "Dispatch", "Foundation",
    ],
  ]

  static let standard: Set = ["Swift", "Synchronization"]

  @Test(arguments: SourceTree.files(below: "Sources"))
  func `a module imports only what lies below it`(file: SourceFile) {
    guard let allowed = Self.allowed[file.module] else { return }
    let surplus = Set(file.imports).subtracting(allowed).subtracting(Self.standard)
    #expect(surplus.isEmpty, "\(file) imports \(surplus.sorted())")
  }

  @Test func `every module of the package has its rule`() {
    let modules = Set(SourceTree.files(below: "Sources").map(\.module))
    let ruled = Set(Self.allowed.keys)
    #expect(modules.subtracting(ruled).filter { !$0.hasPrefix("fuzz-") }.isEmpty)
  }

  @Test(arguments: SourceTree.files(below: "Sources/CheckpointStore/Model"))
  func `the store's model knows no system`(file: SourceFile) {
    #expect(Set(file.imports).isDisjoint(with: ["Glibc", "Foundation", "CLinux"]), "\(file)")
  }

  /// Where unsafe memory and system calls may be touched: folders, and single files.
  static let unsafePlaces = [
    "Sources/Transport/", "Sources/CheckpointStore/System/", "Sources/Devices/System/",
    "Sources/PageHash/Digester.swift",
    "Sources/CheckpointStore/Index/PageTable.swift",
    "Sources/CheckpointStore/Manifest/ManifestWriter.swift",
    "Sources/CheckpointStore/Packs/PackWriter.swift",
    "Sources/CheckpointStore/Reader/Checkpoint.swift",
    "Sources/CheckpointStore/Writer/CheckpointWriter.swift",
    "Sources/Endpoints/CheckpointSource.swift", "Sources/Endpoints/DetachedProcess.swift",
    "Sources/Endpoints/DoctorKernel.swift", "Sources/Endpoints/InspectionFingerprint.swift",
    "Sources/Endpoints/InspectionReader.swift", "Sources/Endpoints/MonitorKeeper.swift",
    "Sources/Endpoints/QEMUDestination+Backends.swift",
    "Sources/GuestMemory/Dirty/DirtyPiece.swift", "Sources/GuestMemory/Dirty/PieceDirectory.swift",
    "Sources/GuestMemory/GuestMemoryError.swift", "Sources/GuestMemory/RAM/MemoryMapping.swift",
    "Sources/GuestMemory/RAM/MemoryMapping+Sharing.swift",
    "Sources/GuestMemory/RAM/UntouchedMemory.swift",
    "Sources/GuestMemory/RAM/RAMBlock.swift", "Sources/GuestMemory/RAM/RAMBlock+Access.swift",
    "Sources/GuestMemory/Regions/SnapshotCell.swift", "Sources/GuestMemory/Scans/PageScan.swift",
    "Sources/DirtyTracking/RingReaper.swift", "Sources/DirtyTracking/RunGate.swift",
    "Sources/JSON/JSONCursor.swift",
    "Sources/KVM/DirtyRing.swift", "Sources/KVM/KernelBytes.swift",
    "Sources/KVM/KernelCall.swift", "Sources/KVM/KVMVirtualMachine+DirtyLog.swift",
    "Sources/KVM/RunMapping.swift",
    "Sources/JSON/JSONValue+Parsing.swift", "Sources/MigrationEngine/ByteAccess.swift",
    "Sources/MigrationEngine/Known/KnownPagesSender.swift",
    "Sources/MigrationEngine/Known/LiveRun+KnownPages.swift",
    "Sources/MigrationEngine/Known/PageFile.swift", "Sources/MigrationEngine/Known/PageRoom.swift",
    "Sources/MigrationEngine/LiveRun+Sending.swift", "Sources/MigrationEngine/PageGather.swift",
    "Sources/MigrationEngine/PageReader.swift", "Sources/MigrationEngine/Signal.swift",
    "Sources/Pager/PagerProcess.swift", "Sources/Pager/SharedMapping.swift",
    "Sources/QMP/Server/QMPEvent+Clock.swift",
    "Sources/VMM/Boot/BootFile.swift", "Sources/VMM/Boot/BootPlan+Source.swift",
    "Sources/VMM/Machine/AddressSpace+Bytes.swift", "Sources/VMM/VCPU/Monitor.swift",
    "Sources/VMM/Migration/MachineSource.swift",
    "Sources/VMM/Migration/MachineDestination.swift",
    "Sources/VMM/Synthetic/SyntheticAccelerator.swift",
    "Sources/VMM/Synthetic/SyntheticMemory.swift",
    "Sources/Userfault/UserfaultCall.swift", "Sources/Userfault/UserfaultError.swift",
    "Sources/Wire/PageInflation.swift", "Sources/Wire/SpanAccess.swift",
    "Sources/godwit/Output/Terminal.swift",
  ]

  @Test(arguments: SourceTree.files(below: "Sources"))
  func `unsafe code stays in the places named for it`(file: SourceFile) {
    let isAllowed = Self.unsafePlaces.contains { file.path.hasPrefix($0) }
    let use = file.codeLines.firstIndex { $0.contains(/\bunsafe\b/) }
    if let use, !isAllowed { Issue.record("\(file):\(use + 1) has unsafe code") }
  }

  @Test(arguments: SourceTree.files(below: "Sources"))
  func `unsafe code says why it is safe`(file: SourceFile) {
    let uses = file.codeLines.contains { $0.contains(/\bunsafe\b/) }
    guard uses else { return }
    #expect(file.text.contains("SAFETY:"), "\(file) uses unsafe memory without a SAFETY line")
  }
}
