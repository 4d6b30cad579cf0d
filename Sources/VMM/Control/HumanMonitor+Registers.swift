// What `info registers` shows: with 64-bit registers where the vCPU is in long mode, else with
// 32-bit ones, as QEMU does.

import QMP

extension HumanMonitor {
  static func registers(
    _ human: HumanMonitor, _ words: [String]
  ) throws(QMPRefusal) -> [String] {
    let all = Array(human.machine.processors.indices)
    var lines: [String] = []
    for index in words.contains("-a") ? all : [human.processor] {
      let registers = try human.monitor.asking { (machine) throws(MachineError) in
        try machine.registers(ofProcessor: index)
      }
      lines += ["", "CPU#\(index)"] + Self.lines(of: registers)
    }
    return lines
  }

  /// The bit of EFER that says long mode is active.
  private static let longModeActive: UInt64 = 1 << 10

  private static func lines(of registers: ProcessorRegisters) -> [String] {
    let isLong = registers.extendedFeatures & longModeActive != 0
    let width = isLong ? 16 : 8
    func number(_ value: UInt64) -> String {
      hexadecimal(isLong ? value : value & 0xFFFF_FFFF, width)
    }
    let letter = isLong ? "R" : "E"
    // As they are numbered: AX BX CX DX SI DI BP SP.
    let names = ["AX", "BX", "CX", "DX", "SI", "DI", "BP", "SP"].map { letter + $0 }
    let highNames = (8...15).map { $0 < 10 ? "R\($0) " : "R\($0)" }
    let general = zip(names + highNames, registers.general).map { "\($0)=\(number($1))" }
    let count = isLong ? 16 : 8
    var lines = stride(from: 0, to: count, by: 4).map { start in
      general[start..<start + 4].joined(separator: " ")
    }
    lines.append(
      "\(letter)IP=\(number(registers.instructionPointer)) "
        + "\(isLong ? "RFL" : "EFL")=\(hexadecimal(registers.flags, 8)) "
        + "[\(flags(registers.flags))] CPL=\(registers.segments[2].attributes >> 13 & 3) "
        + "HLT=\(registers.isHalted ? 1 : 0)")
    let segments = zip(["ES ", "CS ", "SS ", "DS ", "FS ", "GS "], registers.segments)
    for (name, segment) in Array(segments)
      + [("LDT", registers.localTable), ("TR ", registers.task)]
    {
      lines.append(
        "\(name)=\(hexadecimal(segment.selector, 4)) \(number(segment.base)) "
          + "\(hexadecimal(segment.limit, 8)) \(hexadecimal(segment.attributes, 8))")
    }
    for (name, table) in [("GDT", registers.globalTable), ("IDT", registers.interruptTable)] {
      lines.append("\(name)=     \(number(table.base)) \(hexadecimal(table.limit, 8))")
    }
    let control = registers.control, debug = registers.debug
    lines.append(
      "CR0=\(hexadecimal(control[0], 8)) CR2=\(number(control[1])) CR3=\(number(control[2])) "
        + "CR4=\(hexadecimal(control[3], 8)) CR8=\(hexadecimal(control[4], 8))")
    lines.append(
      zip(["DR0", "DR1", "DR2", "DR3"], debug).map { "\($0)=\(hexadecimal($1, 16))" }
        .joined(separator: " "))
    lines.append("DR6=\(hexadecimal(debug[4], 16)) DR7=\(hexadecimal(debug[5], 16))")
    lines.append("EFER=\(hexadecimal(registers.extendedFeatures, 16))")
    return lines
  }

  /// The arithmetic flags as letters; a dash for one that is not set.
  private static func flags(_ value: UInt64) -> String {
    let bits: [(Character, Int)] = [
      ("D", 10), ("O", 11), ("S", 7), ("Z", 6), ("A", 4), ("P", 2), ("C", 0),
    ]
    return String(bits.map { value >> UInt64($0.1) & 1 == 1 ? $0.0 : "-" })
  }
}
