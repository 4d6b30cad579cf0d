// What runs a guest, and the words that have it make a machine.

import QEMULab

/// A program that a guest can be booted in.
enum GuestProgram {
  /// Godwit's own machine, by the path of the program.
  case godwit(String)
  /// A QEMU, with KVM.
  case qemu(QEMU)

  /// Kernel options that spare a slow host work, and change nothing that is checked: above all
  /// `quiet`, as each byte on the serial port is several exits.
  private static let commandLine = """
    console=ttyS0 quiet panic=-1 mitigations=off nokaslr no_timer_check tsc=reliable \
    random.trust_cpu=on cryptomgr.notests rcupdate.rcu_expedited=1 nowatchdog audit=0 \
    8250.nr_uarts=1
    """

  /// The command that makes a machine, which stands still until it is told to run.
  ///
  /// - Parameters:
  ///   - setup: what the machine is made of.
  ///   - kernel: the image that it boots.
  ///   - ramDisk: the initial RAM disk.
  ///   - isWaiting: whether it waits for a guest from another one instead.
  ///   - directory: where its sockets are to be, `qmp`, `serial`, and others of its own.
  func words(
    for setup: LinuxGuest.Setup, kernel: String, ramDisk: String, isWaiting: Bool,
    in directory: String
  ) -> [String] {
    let boot = ["kernel": kernel, "initrd": ramDisk, "append": Self.commandLine]
    switch self {
    case .godwit(let program):
      var words = [
        program, "vm", "run", "--memory", "\(setup.megabytes)M",
        "--cpus", "\(setup.processors)", "--serial", "unix:\(directory)/serial",
        "--console", "unix:\(directory)/console", "--qmp", "\(directory)/qmp",
      ]
      words += isWaiting ? ["--incoming", "defer"] : Self.options("--", boot) + ["--paused"]
      if let source = setup.dirtyLog { words += ["--dirty-log", source] }
      if setup.endsOnReset { words += ["--no-reboot"] }
      if let disk = setup.disk { words += ["--disk", disk] }
      if let tap = setup.tap { words += ["--tap", tap] }
      return words
    case .qemu(let qemu):
      // One that waits is given the kernel too: what QEMU loads it with is part of the machine.
      return qemu.command + [
        "-nodefaults", "-no-user-config", "-display", "none", "-accel", "kvm",
        "-machine", "pc", "-cpu", "host", "-m", "\(setup.megabytes)M",
        "-smp", "\(setup.processors)", "-serial", Self.socket("serial", in: directory),
        "-qmp", Self.socket("qmp", in: directory), "-qmp", Self.socket("moves", in: directory),
      ] + Self.options("-", boot) + (isWaiting ? ["-incoming", "defer"] : ["-S"])
    }
  }

  private static func options(_ prefix: String, _ values: [String: String]) -> [String] {
    values.sorted { $0.key < $1.key }.flatMap { [prefix + $0.key, $0.value] }
  }

  /// A socket that QEMU listens at.
  private static func socket(_ name: String, in directory: String) -> String {
    "unix:\(directory)/\(name),server=on,wait=off"
  }
}
