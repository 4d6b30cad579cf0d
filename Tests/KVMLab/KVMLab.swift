// `kvm-lab`: Godwit's own machine held against a stock Linux kernel, wherever a KVM is.
//
// scripts/test-kvm builds it, prepares a guest on the host and runs the checks there or in a lab.

import ArgumentParser
import Foundation
import QEMULab

@main
struct KVMLab: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "kvm-lab",
    abstract: "Boots a stock Linux in Godwit's own machine and checks every part of it.",
    subcommands: [Prepare.self, Run.self])

  /// Makes what the checks boot: a kernel in both of its shapes, and an initial RAM disk.
  struct Prepare: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Makes a kernel and an initial RAM disk from the distribution's packages.")

    @Option(help: "Where /boot and /lib/modules of the kernel are.")
    var root = "/"

    @Option(help: "A statically linked busybox.")
    var busybox = "/bin/busybox"

    @Argument(help: "Where the files go.")
    var directory: String

    func run() throws {
      guard let kernel = try KernelImage.newest(below: root) else {
        throw LabError("there is no kernel with its modules in \(root)")
      }
      try FileManager.default.createDirectory(
        atPath: directory, withIntermediateDirectories: true)
      let files = GuestFiles(directory: directory)
      try kernel.write(to: files)
      let disk = try InitialRAMDisk.make(
        busybox: busybox, modules: KernelModules(root: root, version: kernel.version))
      try Data(disk).write(to: URL(fileURLWithPath: files.ramDisk), options: .atomic)
      print("Linux \(kernel.version), initial RAM disk of \(disk.count >> 10) KiB")
    }
  }

  /// Runs the checks where this process is.
  struct Run: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Runs the checks.")

    @Option(help: "The program under test.")
    var godwit: String

    @Option(help: "The program that compares dirty pages with changed ones.")
    var exactness: String

    @Option(help: "A busybox for the network's other end.")
    var busybox = "/bin/busybox"

    @Flag(help: "Only a boot, the disk, two moves, and one source of dirty pages.")
    var short = false

    @Argument(help: "Where `prepare` put its files.")
    var directory: String

    func run() throws {
      let report = Report()
      let checks = LinuxChecks(
        report: report, files: GuestFiles(directory: directory), godwit: godwit, busybox: busybox)
      if short {
        checks.runShort()
        ExactnessChecks(report: report, program: exactness).run(sources: ["clear"], rounds: 5)
      } else {
        checks.runAll()
        ExactnessChecks(report: report, program: exactness).run(
          sources: ["bitmap", "clear", "ring", "write-protect"], rounds: 10)
      }
      guard report.finish() else { throw ExitCode.failure }
    }
  }
}
