// Machines of our own, driven by the client library of QEMU's project.

import Foundation
import QEMULab
import Testing

@Suite(
  .enabled(if: ClientLibrary.objection == nil, "\(ClientLibrary.objection ?? "")"),
  .timeLimit(.minutes(5)), .serialized)
struct MachineQMPTests {
  static let hasKVM = access("/dev/kvm", R_OK | W_OK) == 0

  @Test(.enabled(if: hasKVM, "this user cannot open /dev/kvm"))
  func `qemu.qmp drives a machine in KVM`() async throws { try await drive("kvm") }

  @Test func `qemu.qmp drives a stand-in`() async throws { try await drive("synthetic") }

  @Test(.enabled(if: hasKVM, "this user cannot open /dev/kvm"))
  func `qemu.qmp moves a running machine in KVM`() async throws { try await move("kvm") }

  @Test func `qemu.qmp moves a running stand-in`() async throws { try await move("synthetic") }

  /// Two machines, one that runs and one that waits, moved from one to the other by the library.
  private func move(_ accelerator: String) async throws {
    let godwit = try Godwit()
    let source = try OwnMachine(godwit, accelerator: accelerator)
    try source.requireHealth(reports: 1)
    let target = try OwnMachine(godwit, isIncoming: true, accelerator: accelerator)
    let outcome = await ClientLibrary.drive(
      source.qmpPath, folder: godwit.store, to: target.qmpPath)
    #expect(outcome.status == 0, "\(outcome.output)\(source.said)\(target.said)")
    try target.requireHealth()
    #expect((source.reports + target.reports).allSatisfy { $0.bad == 0 })
  }

  private func drive(_ accelerator: String) async throws {
    let folder = FileManager.default.temporaryDirectory.path + "/gwvm-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try Data(count: 1 << 20).write(to: URL(fileURLWithPath: folder + "/disk"))
    let godwit = try Godwit()
    let machine = try godwit.start([
      "vm", "run", "--demo-guest", "--memory", "64M", "--accel", accelerator, "--qmp",
      folder + "/qmp", "--disk", folder + "/disk", "--serial", "file:\(folder)/serial",
      "--name", "driven",
    ])
    // The lab's own connection waits until the machine listens.
    _ = try LabQMP(path: folder + "/qmp")
    let outcome = await ClientLibrary.drive(folder + "/qmp", folder: folder)
    #expect(outcome.status == 0, "\(outcome.output)\(machine.errors)")
    #expect(try machine.wait(seconds: 20) == 0)
  }
}
