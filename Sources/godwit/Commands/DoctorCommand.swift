// `godwit doctor`: what this host can do, and why not.

import ArgumentParser
import Endpoints
import JSON

struct DoctorCommand: GodwitCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor",
    abstract: "Show what this host can do, what it cannot, and what to do about it.",
    discussion: """
      Looks at the QEMUs on the PATH and in $GODWIT_QEMU (commands separated by newlines or \
      semicolons), at what the kernel allows, and at the store. Changes nothing.

      EXAMPLE
        godwit doctor --store /srv/godwit
      """)

  @OptionGroup var store: StoreOptions
  @OptionGroup var general: GeneralOptions

  func perform(_ console: Console) async throws {
    let findings = await Doctor.examine(storePath: store.path)
    let width = findings.map(\.topic.count).max() ?? 0
    for finding in findings {
      let topic = finding.topic + String(repeating: " ", count: width - finding.topic.count)
      let state = finding.state.rawValue
      let mark = state + String(repeating: " ", count: 7 - state.count)
      console.print("\(mark)  \(topic)  \(finding.message)")
      if let advice = finding.advice {
        console.print(String(repeating: " ", count: width + 11) + advice)
      }
    }
    console.emit("result", [JSONMember("findings", .array(findings.map(Self.object)))])
  }

  private static func object(_ finding: DoctorFinding) -> JSONValue {
    .object([
      JSONMember("topic", .string(finding.topic)),
      JSONMember("state", .string(finding.state.rawValue)),
      JSONMember("message", .string(finding.message)),
      JSONMember("advice", finding.advice.map(JSONValue.string) ?? .null),
    ])
  }
}
