// What of a virtio device's transport and queues travels.

import VMState

extension VirtioQueue {
  static let description = VMStateDescription<VirtioQueue>(
    name: "virtqueue", version: 1,
    fields: [
      .equal("num_max", \.capacity),
      .uint16("num", \.size),
      .bool("enabled", \.isReady),
      .uint64("desc", \.descriptors),
      .uint64("avail", \.available),
      .uint64("used", \.used),
      .uint16("last_avail_idx", \.nextAvailable),
      .uint16("used_idx", \.nextUsed),
      .uint16("signalled_used", \.signalled),
      .bool("signalled_used_valid", \.hasSignalled),
      .validate("a ready queue with a size and addresses that virtio allows") {
        !$0.isReady || $0.isWellFormed
      },
    ])
}

extension VirtioRegisters {
  /// The description for a device of so many queues.
  static func description(queueCount: Int) -> VMStateDescription<VirtioRegisters> {
    VMStateDescription(
      name: "virtio-mmio", version: 1,
      fields: [
        .uint8("status", \.status),
        .uint64("guest_features", \.driverFeatures),
        .uint32("host_features_sel", \.deviceFeatureSelect),
        .uint32("guest_features_sel", \.driverFeatureSelect),
        .uint32("queue_sel", \.queueSelect),
        .uint32("isr", \.interruptStatus),
        .uint32("config_generation", \.configurationGeneration),
        .array("vqs", \.queues, of: VirtioQueue.description, count: queueCount),
      ])
  }
}

extension VirtioState {
  /// The description of a device: its transport, then what the device adds.
  static func description(
    name: String, queueCount: Int, offered: UInt64, fields: [VMStateField<VirtioState>] = []
  ) -> VMStateDescription<VirtioState> {
    VMStateDescription(
      name: name, version: 1,
      fields: [
        .structure(
          "virtio", \.registers, VirtioRegisters.description(queueCount: queueCount)),
        .validate("features that this device offers") {
          $0.registers.driverFeatures & ~(offered | VirtioFeature.transport) == 0
            || $0.registers.status & VirtioRegisters.featuresOK == 0
        },
      ] + fields)
  }
}
