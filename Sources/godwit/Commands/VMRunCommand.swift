// `godwit vm run`: a virtual machine in this process, until its end.

import ArgumentParser
import Devices
import DirtyTracking
import Endpoints
import JSON
import QMP
import Transport
import VMM

struct VMRunCommand: GodwitCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Run a virtual machine in this process until it ends.",
    discussion: """
      The machine is a small PC: virtio devices, a serial port, a clock, in /dev/kvm. It boots a \
      Linux kernel (bzImage, or an unpacked vmlinux), any ELF kernel with a PVH entry, a flat \
      image, or --demo-guest, which writes its memory at a given rate, checks it all the time, \
      and says on the serial port what it found. QMP clients control it as they control a QEMU; \
      save, restore and migrate work with it too.

      With --accel synthetic no code is executed: a stand-in for hosts without /dev/kvm, in \
      which threads of the host do the demo guest's work on the machine's memory.

      Ctrl-C or SIGTERM ends the machine. With --serial stdio a terminal passes every key to \
      the guest, Ctrl-C included: end such a machine with `quit` on its QMP socket, or SIGTERM.

      EXAMPLES
        godwit vm run --demo-guest --memory 512M --qmp vm.sock
        godwit vm run --memory 1G --cpus 2 --kernel vmlinuz --initrd initrd.img \\
          --append "console=ttyS0" --disk disk.raw --tap tap0 --qmp vm.sock
        godwit vm run --memory 512M --demo-guest --incoming defer --qmp copy.sock
        godwit vm run --memory 512M --incoming defer --known checkpoint:web --qmp back.sock
      """)

  static let cancelsInOrder = true

  @OptionGroup(title: "Machine") var machine: MachineOptions
  @OptionGroup(title: "What it boots") var boot: BootOptions
  @OptionGroup(title: "Devices") var devices: DeviceOptions
  @OptionGroup(title: "Where checkpoints are") var store: StoreOptions
  @OptionGroup var general: GeneralOptions

  func validate() throws {
    _ = try configuration()
    _ = try machine.qmpAddress()
  }

  /// The machine that the options describe.
  private func configuration() throws -> MachineConfiguration {
    var configuration = MachineConfiguration(memoryByteCount: machine.memory.byteCount)
    try machine.apply(to: &configuration, store: store.path)
    configuration.boot = try boot.source()
    devices.apply(to: &configuration, isJSON: general.json)
    guard configuration.boot != .nothing || configuration.incoming != nil else {
      throw ValidationError(
        "Say what to boot: --kernel, --flat or --demo-guest; or --incoming for a machine's state.")
    }
    return configuration
  }

  func perform(_ console: Console) async throws {
    let start = ContinuousClock.now
    let configuration = try configuration()
    // What cannot be opened is told now, and not when a machine comes.
    for place in configuration.known { _ = try CheckpointPages.open(place) }
    let machine = try Machine(configuration) { try CheckpointPages.open($0) }
    if let stand = machine.standInNote { console.note(stand) }
    let server = try MachineMonitor.server(for: machine)
    defer { server.stop() }
    if let address = try self.machine.qmpAddress() { try server.listen(at: address) }
    _ = machine.observe { [weak machine] event in
      // An observer may not ask the machine while it is told.
      if event == .stopped { Task { if let trouble = machine?.trouble { console.note(trouble) } } }
    }
    try machine.launch()
    let end = await withTaskCancellationHandler {
      await machine.ended()
    } onCancel: {
      machine.quit(.hostSignal)
    }
    if end.reason == .hostError {
      throw MachineError.kernel(
        action: "the machine ended", reason: machine.trouble ?? "its reason is unknown")
    }
    console.emit(
      "result",
      [
        JSONMember("reason", .string(end.reason.rawValue)),
        JSONMember("by_guest", .bool(end.isByGuest)),
        JSONMember("seconds", .number((ContinuousClock.now - start) / .seconds(1))),
      ])
  }
}
