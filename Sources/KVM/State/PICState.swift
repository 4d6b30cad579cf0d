// One of the two interrupt controllers of the PC, as the kernel keeps it.

import CLinux

/// The state of one 8259A (`struct kvm_pic_state`).
public struct PICState: Equatable, Sendable {
  /// Lines as they were last seen, for edges.
  public var lastIRR: UInt8 = 0
  /// Requested interrupts.
  public var irr: UInt8 = 0
  /// Masked interrupts.
  public var imr: UInt8 = 0
  /// Interrupts in service.
  public var isr: UInt8 = 0
  /// Highest priority line.
  public var priorityAdd: UInt8 = 0
  /// Vector of its first line.
  public var irqBase: UInt8 = 0
  /// Which register is read next.
  public var readRegisterSelect: UInt8 = 0
  /// Poll mode.
  public var poll: UInt8 = 0
  /// Special mask mode.
  public var specialMask: UInt8 = 0
  /// Step of the initialisation sequence.
  public var initState: UInt8 = 0
  /// Automatic end of interrupt.
  public var autoEOI: UInt8 = 0
  /// Rotation with it.
  public var rotateOnAutoEOI: UInt8 = 0
  /// Special fully nested mode.
  public var specialFullyNestedMode: UInt8 = 0
  /// Whether a fourth initialisation word comes.
  public var init4: UInt8 = 0
  /// Level-triggered lines.
  public var elcr: UInt8 = 0
  /// Lines that may be level-triggered.
  public var elcrMask: UInt8 = 0

  /// All zero.
  public init() {}
}

extension PICState {
  init(_ state: kvm_pic_state) {
    lastIRR = state.last_irr
    irr = state.irr
    imr = state.imr
    isr = state.isr
    priorityAdd = state.priority_add
    irqBase = state.irq_base
    readRegisterSelect = state.read_reg_select
    poll = state.poll
    specialMask = state.special_mask
    initState = state.init_state
    autoEOI = state.auto_eoi
    rotateOnAutoEOI = state.rotate_on_auto_eoi
    specialFullyNestedMode = state.special_fully_nested_mode
    init4 = state.init4
    elcr = state.elcr
    elcrMask = state.elcr_mask
  }

  /// The kernel's form.
  var kernelState: kvm_pic_state {
    var state = kvm_pic_state()
    state.last_irr = lastIRR
    state.irr = irr
    state.imr = imr
    state.isr = isr
    state.priority_add = priorityAdd
    state.irq_base = irqBase
    state.read_reg_select = readRegisterSelect
    state.poll = poll
    state.special_mask = specialMask
    state.init_state = initState
    state.auto_eoi = autoEOI
    state.rotate_on_auto_eoi = rotateOnAutoEOI
    state.special_fully_nested_mode = specialFullyNestedMode
    state.init4 = init4
    state.elcr = elcr
    state.elcr_mask = elcrMask
    return state
  }
}

extension PICState {
  /// Which of the two.
  public enum Chip: UInt32, Sendable {
    /// Lines 0 to 7.
    case master = 0
    /// Lines 8 to 15.
    case slave = 1
  }
}
