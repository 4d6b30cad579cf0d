// swift-tools-version: 6.2
// The choice of the page index, measured: the store's own table and slots against LMDB.
//
//   swift run -c release index-bench [PAGES] [FOLDER]      needs liblmdb-dev
//
// A package of its own, so that LMDB is no dependency of Godwit. The store's sources are linked in
// (Sources/CheckpointStore is a symbolic link) because the index is internal to their module.

import PackageDescription

let settings: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableExperimentalFeature("Lifetimes"),
]

let package = Package(
  name: "store-index-benchmark",
  dependencies: [.package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0")],
  targets: [
    .executableTarget(
      name: "index-bench", dependencies: ["CheckpointStore", "PageHash", "CLMDB"],
      path: "Sources/IndexBench",
      swiftSettings: settings),
    .target(
      name: "CheckpointStore",
      dependencies: [
        "PageHash", "CLinux", "CZstd", "CLZ4", "CZlib",
        .product(name: "GRDB", package: "GRDB.swift"),
      ],
      swiftSettings: settings + [.unsafeFlags(["-enable-testing"])]),
    .target(
      name: "PageHash", dependencies: ["CPageHash", "COpenSSL"],
      swiftSettings: settings + [.unsafeFlags(["-enable-testing"])]),
    .target(name: "CLinux"),
    .target(name: "CPageHash"),
    .systemLibrary(name: "CLMDB", providers: [.apt(["liblmdb-dev"])]),
    .systemLibrary(name: "COpenSSL", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
    .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
    .systemLibrary(name: "CLZ4", pkgConfig: "liblz4", providers: [.apt(["liblz4-dev"])]),
    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
  ]
)
