// swift-tools-version: 6.2
// Godwit: one target per module of Docs/Architecture.md, dependencies running downward only.

import PackageDescription

/// The settings every Swift target is built with: language mode 6, no implicit unsafe code, and
/// no warning left to read.
let strict: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .strictMemorySafety(),
  .treatAllWarnings(as: .error),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableExperimentalFeature("Lifetimes"),
]

/// Tests reach into C buffers and processes freely; they keep every other setting.
let testing: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .treatAllWarnings(as: .error),
  .enableUpcomingFeature("ExistentialAny"),
]

/// Puts the Swift runtime and Foundation into the release executable.
///
/// It runs where no Swift is installed, and a monitor maps what it uses of them and not five
/// libraries whole. What Foundation itself is made of has to be named where the modules were not
/// compiled for static linking.
let selfContained: [LinkerSetting] = [
  .unsafeFlags(
    [
      "-static-stdlib", "-use-ld=lld", "-lCoreFoundation", "-l_FoundationICU",
      "-l_FoundationCShims", "-l_FoundationCollections",
      // No symbol is looked up by name in it, and each exported one would be kept and relocated.
      "-Xlinker", "--no-export-dynamic",
    ], .when(platforms: [.linux], configuration: .release))
]

let argumentParser = Target.Dependency.product(
  name: "ArgumentParser", package: "swift-argument-parser")
let grdb = Target.Dependency.product(name: "GRDB", package: "GRDB.swift")

let package = Package(
  name: "godwit",
  products: [
    .executable(name: "godwit", targets: ["godwit"]),
    .library(name: "GodwitWire", targets: ["Wire"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
  ],
  targets: [
    // The command line.
    .executableTarget(
      name: "godwit",
      dependencies: [
        "Demonstration", "Endpoints", "CheckpointStore", "MigrationEngine", "VMM", "Pager",
        "Devices",
        "DirtyTracking", "QMP", "Transport", "Wire", "JSON", argumentParser,
      ],
      swiftSettings: strict, linkerSettings: selfContained),

    // The main job, shown from nothing.
    .target(
      name: "Demonstration", dependencies: ["Endpoints", "CheckpointStore", "DemoGuest", "QMP"],
      swiftSettings: strict),

    // What holds a machine, as adapters to the two engines.
    .target(
      name: "Endpoints",
      dependencies: [
        "MigrationEngine", "MigrationCore", "CheckpointStore", "PageHash", "QMP", "DirtyTracking",
        "KVM", "Transport", "Wire", "JSON", "CLinux",
      ],
      swiftSettings: strict),

    // Godwit's own machine, from guest memory and the kernel's interfaces upwards.
    .target(
      name: "VMM",
      dependencies: [
        "Pager", "Devices", "DirtyTracking", "Userfault", "KVM", "GuestMemory", "VMState", "QMP",
        "MigrationEngine", "MigrationCore", "DemoGuest", "Transport", "Wire", "JSON", "CLinux",
      ],
      swiftSettings: strict),

    // What receives a machine's memory from outside of it.
    .target(
      name: "Pager",
      dependencies: [
        "MigrationEngine", "MigrationCore", "Userfault", "Transport", "Wire", "CLinux",
      ],
      swiftSettings: strict),
    .target(
      name: "Devices", dependencies: ["GuestMemory", "VMState", "Transport", "CLinux"],
      swiftSettings: strict),
    .target(
      name: "DirtyTracking",
      dependencies: ["GuestMemory", "KVM", "Userfault", "Transport", "CLinux"],
      swiftSettings: strict),
    .target(name: "VMState", dependencies: ["Wire"], swiftSettings: strict),
    .target(name: "Userfault", dependencies: ["Transport", "CLinux"], swiftSettings: strict),
    .target(name: "KVM", dependencies: ["Transport", "CLinux"], swiftSettings: strict),
    .target(
      name: "GuestMemory", dependencies: ["CDirtyBitmap", "Transport", "CLinux"],
      swiftSettings: strict),

    // The two engines and the decisions they carry out.
    .target(
      name: "MigrationEngine", dependencies: ["MigrationCore", "PageHash", "Transport", "Wire"],
      swiftSettings: strict),
    .target(name: "MigrationCore", dependencies: ["Wire"], swiftSettings: strict),

    // Pages, manifests, catalogue.
    .target(
      name: "CheckpointStore",
      dependencies: ["PageHash", "CLinux", "CZstd", "CLZ4", "CZlib", grdb],
      swiftSettings: strict),

    // What a page is known by.
    .target(name: "PageHash", dependencies: ["CPageHash", "COpenSSL"], swiftSettings: strict),

    // Control and channels.
    .target(name: "QMP", dependencies: ["JSON", "Transport"], swiftSettings: strict),
    .target(name: "Transport", dependencies: ["CLinux"], swiftSettings: strict),

    // QEMU's format, and the notation of its descriptions.
    .target(name: "Wire", dependencies: ["JSON", "CZlib"], swiftSettings: strict),
    .target(name: "JSON", swiftSettings: strict),

    // The guest that the demonstration and the tests run.
    .target(name: "DemoGuest", swiftSettings: strict),

    // Moves measured against their bars.
    .executableTarget(
      name: "MoveBench",
      dependencies: [
        "godwit", "Endpoints", "CheckpointStore", "QMP", "JSON", "Transport", "DemoGuest",
      ],
      path: "Benchmarks/MoveBench", swiftSettings: strict),

    // Header-only C: kernel interfaces that Glibc does not show to Swift, and system libraries.
    .target(name: "CLinux"),
    .target(name: "CPageHash"),
    .target(name: "CDirtyBitmap"),
    .systemLibrary(
      name: "COpenSSL", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
    .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
    .systemLibrary(name: "CLZ4", pkgConfig: "liblz4", providers: [.apt(["liblz4-dev"])]),
    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),

    // Seeded mutators over the decoders, with a corpus.
    .target(name: "FuzzFrame", path: "Fuzz/Frame", swiftSettings: strict),
    .executableTarget(
      name: "fuzz-wire", dependencies: ["FuzzFrame", "Wire", "WireLab"], path: "Fuzz/Wire",
      exclude: ["Corpus"], swiftSettings: strict),
    .executableTarget(
      name: "fuzz-qmp", dependencies: ["FuzzFrame", "QMP", "JSON"], path: "Fuzz/QMP",
      exclude: ["Corpus"], swiftSettings: strict),
    .executableTarget(
      name: "fuzz-vmstate", dependencies: ["FuzzFrame", "VMState", "VMStateLab", "Wire"],
      path: "Fuzz/VMState", exclude: ["Corpus"], swiftSettings: strict),

    // What a benchmark does to the host before it measures.
    .target(name: "BenchHost", path: "Benchmarks/BenchHost", swiftSettings: strict),

    // What the store costs, as ratios (`swift run -c release store-bench`).
    .executableTarget(
      name: "store-bench", dependencies: ["BenchHost", "CheckpointStore", "COpenSSL"],
      path: "Benchmarks/StoreBench", swiftSettings: strict),

    // What starting a machine costs, in time and memory (`swift run -c release machine-bench`).
    .executableTarget(
      name: "machine-bench",
      dependencies: ["VMM", "Devices", "DirtyTracking", "DemoGuest", "godwit"],
      path: "Benchmarks/MachineBench",
      swiftSettings: strict),

    // Moves of running machines held against their bars (`swift run -c release live-bench`).
    .executableTarget(
      name: "live-bench",
      dependencies: ["BenchHost", "godwit", "Endpoints", "QMP", "JSON", "DemoGuest"],
      path: "Benchmarks/LiveBench", swiftSettings: strict),

    // Dirty bitmaps measured against memcpy (`swift run -c release memory-bench`).
    .executableTarget(
      name: "memory-bench", dependencies: ["GuestMemory"], path: "Benchmarks/MemoryBench",
      swiftSettings: strict),

    // Pages that travel as hashes, against plain moves (`swift run -c release known-bench`).
    .executableTarget(
      name: "known-bench",
      dependencies: [
        "Endpoints", "CheckpointStore", "MigrationEngine", "MigrationCore", "Transport", "Wire",
      ],
      path: "Benchmarks/KnownBench", swiftSettings: strict),

    // Tests, one target per module, and the real thing.
    .target(
      name: "QEMULab", dependencies: ["DemoGuest", "QMP", "JSON"], path: "Tests/QEMULab",
      swiftSettings: testing),
    .executableTarget(
      name: "kvm-lab", dependencies: ["QEMULab", "JSON", argumentParser], path: "Tests/KVMLab",
      swiftSettings: testing),
    .testTarget(name: "JSONTests", dependencies: ["JSON"], swiftSettings: testing),
    .target(
      name: "WireLab", dependencies: ["Wire"], path: "Tests/WireLab", swiftSettings: strict),
    .testTarget(
      name: "WireTests", dependencies: ["Wire", "WireLab", "FuzzFrame", "JSON", "CZlib"],
      exclude: ["Fixtures"],
      swiftSettings: testing),
    .testTarget(name: "TransportTests", dependencies: ["Transport"], swiftSettings: testing),
    .testTarget(
      name: "QMPTests", dependencies: ["QMP", "JSON", "Transport", "QEMULab"],
      swiftSettings: testing),
    .executableTarget(
      name: "StoreCrash", dependencies: ["CheckpointStore"], path: "Tests/StoreCrash",
      swiftSettings: strict),
    .testTarget(
      name: "CheckpointStoreTests", dependencies: ["CheckpointStore", "PageHash", "StoreCrash"],
      swiftSettings: testing),
    .testTarget(name: "PageHashTests", dependencies: ["PageHash"], swiftSettings: testing),
    .testTarget(
      name: "MigrationCoreTests", dependencies: ["MigrationCore", "Wire"],
      swiftSettings: testing),
    .testTarget(
      name: "MigrationEngineTests",
      dependencies: [
        "MigrationEngine", "MigrationCore", "PageHash", "Transport", "Wire", "Simulation",
      ],
      swiftSettings: testing),
    .target(
      name: "Simulation", dependencies: ["MigrationCore", "Wire"], path: "Tests/Simulation",
      swiftSettings: testing),
    .executableTarget(
      name: "simulate", dependencies: ["Simulation", argumentParser], path: "Tests/Simulate",
      swiftSettings: testing),
    .testTarget(name: "SimulationTests", dependencies: ["Simulation"], swiftSettings: testing),
    .testTarget(
      name: "EndpointsTests",
      dependencies: ["Endpoints", "CheckpointStore", "QMP", "JSON", "Transport"],
      swiftSettings: testing),
    .testTarget(
      name: "CommandLineTests", dependencies: ["godwit", "Endpoints", "Wire", "JSON"],
      swiftSettings: testing),
    .testTarget(
      name: "GuestMemoryTests", dependencies: ["GuestMemory", "Transport", "CLinux"],
      swiftSettings: testing),
    .testTarget(
      name: "PagerTests",
      dependencies: [
        "Pager", "MigrationEngine", "MigrationCore", "Simulation", "Userfault", "Transport", "Wire",
        "godwit",
      ],
      swiftSettings: testing),
    .testTarget(
      name: "KVMTests", dependencies: ["KVM", "Transport", "CLinux"], swiftSettings: testing),
    .testTarget(
      name: "UserfaultTests", dependencies: ["Userfault", "Transport", "CLinux"],
      swiftSettings: testing),
    .testTarget(
      name: "DirtyTrackingTests",
      dependencies: [
        "DirtyTracking", "GuestMemory", "KVM", "Userfault", "DemoGuest", "Transport", "CLinux",
        "ExactnessLab",
      ],
      swiftSettings: testing),
    .target(
      name: "ExactnessLab",
      dependencies: ["DirtyTracking", "GuestMemory", "KVM", "Transport"],
      path: "Tests/ExactnessLab", swiftSettings: testing),
    .executableTarget(
      name: "kvm-exactness", dependencies: ["ExactnessLab", "DirtyTracking"],
      path: "Tests/KVMExactness", swiftSettings: testing),
    .target(
      name: "VMStateLab", dependencies: ["VMState", "Wire", "FuzzFrame"], path: "Tests/VMStateLab",
      swiftSettings: strict),
    .testTarget(
      name: "VMStateTests", dependencies: ["VMState", "VMStateLab", "Wire", "FuzzFrame"],
      exclude: ["Fixtures"], swiftSettings: testing),
    .testTarget(
      name: "DevicesTests",
      dependencies: ["Devices", "GuestMemory", "VMState", "Wire", "JSON", "Transport", "CLinux"],
      swiftSettings: testing),
    .testTarget(
      name: "VMMTests",
      dependencies: [
        "VMM", "Devices", "DirtyTracking", "KVM", "GuestMemory", "VMState", "QMP", "DemoGuest",
        "MigrationEngine", "MigrationCore", "QEMULab", "Transport", "Wire", "JSON", "Pager",
        "Userfault", "godwit",
      ],
      exclude: ["Fixtures"], swiftSettings: testing),
    .testTarget(name: "TidyTests", swiftSettings: testing),
    .testTarget(name: "DemoGuestTests", dependencies: ["DemoGuest"], swiftSettings: testing),
    .testTarget(
      name: "InteropTests",
      dependencies: ["godwit", "Endpoints", "QEMULab", "DemoGuest", "JSON"],
      swiftSettings: testing),
  ]
)
