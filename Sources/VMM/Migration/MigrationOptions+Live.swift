// QEMU's capabilities and parameters as the sending engine's wishes.

import JSON
import MigrationCore
import MigrationEngine

extension MigrationOptions {
  /// Whether the destination answers over the same connection; a postcopy needs it.
  var usesReturnPath: Bool { has("return-path") || has("postcopy-ram") }

  /// Whether requested pages have a connection of their own.
  var takesPreempt: Bool { has("postcopy-preempt") }

  /// The most bytes a second that go unasked while the machine runs at the destination; nil where
  /// there is no limit.
  var postcopyBytesPerSecond: UInt64? { limit("max-postcopy-bandwidth") }

  /// What is asked of the move of a running machine.
  var liveSettings: LiveSettings {
    LiveSettings(
      downtimeLimit: downtimeLimit,
      switchoverBandwidth: limit("avail-switchover-bandwidth"),
      pausesBeforeSwitchover: has("pause-before-switchover"), throttling: throttling)
  }

  private var throttling: ThrottlingPolicy {
    func number(_ name: String) -> Int { self[name].int ?? 0 }
    if has("dirty-limit") {
      let mebibytes = self["vcpu-dirty-limit"].uint64 ?? 1
      return .dirtyLimit(
        trigger: number("throttle-trigger-threshold"),
        bytesPerSecond: min(mebibytes, 1 << 40) << 20)
    }
    guard has("auto-converge") else { return .none }
    return .autoConverge(
      trigger: number("throttle-trigger-threshold"), initial: number("cpu-throttle-initial"),
      increment: number("cpu-throttle-increment"), maximum: number("max-cpu-throttle"),
      tailslow: self["cpu-throttle-tailslow"].bool ?? false)
  }
}

extension LiveSourceEngine {
  /// Takes over what may change while a machine is sent.
  func change(to options: MigrationOptions) {
    change(
      options.liveSettings, bandwidthLimit: options.bytesPerSecond,
      postcopyBandwidthLimit: options.postcopyBytesPerSecond)
  }
}
