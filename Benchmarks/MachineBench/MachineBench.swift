// What starting a machine costs, in time and memory.

import VMM

@main
enum MachineBench {
  static func main() {
    print("accelerators: " + AcceleratorKind.allCases.map(\.rawValue).joined(separator: ", "))
  }
}
