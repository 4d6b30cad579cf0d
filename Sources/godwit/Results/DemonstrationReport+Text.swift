// What a demonstration measured, as a table for a person and as members of a JSON object.

import Demonstration
import JSON

extension DemonstrationReport {
  /// A row for each step, and the sum of it all.
  var lines: [String] {
    var table = Table([
      ("STEP", .left), ("STOOD STILL", .right), ("GUEST SAW", .right), ("RUNNING AFTER", .right),
      ("STORED", .right), ("SENT", .right), ("PAGES CHECKED", .right), ("TOOK", .right),
    ])
    for step in steps {
      table.add(
        step.title, step.downtimeMilliseconds.map(Units.milliseconds) ?? "",
        step.gapMilliseconds.map(Units.milliseconds) ?? "",
        step.runningMilliseconds.map(Units.milliseconds) ?? "",
        step.storedBytes.map(Units.size) ?? "", step.sentBytes.map(Units.size) ?? "",
        step.pagesChecked.map { Units.count($0) } ?? "",
        Units.seconds(step.seconds))
    }
    let machines = "Godwit's own machines (\(accelerator))"
    let title = qemu.map { "\($0) and \(machines)" } ?? machines
    let stored =
      qemu == nil ? "" : "\(Units.count(pagesVerified)) stored pages match their hashes; "
    let wayBack = returnShare.map {
      "The way back sent \(Units.percent($0)) of what the way there did: the rest was still there."
    }
    return ["\(title), guests with \(Units.size(memoryBytes)) of memory", ""] + table.lines + [
      "",
      "\(stored)the guests checked their own memory and found "
        + "\(Units.count(pagesBad, "wrong page")).",
    ] + [wayBack].compactMap(\.self) + ["All of it took \(Units.seconds(seconds))."]
  }

  /// The same, for programs.
  var jsonMembers: [JSONMember] {
    let rows = steps.map { step in
      JSONValue.object([
        JSONMember("step", .string(step.title)),
        JSONMember("downtime_ms", step.downtimeMilliseconds.map(JSONValue.number) ?? .null),
        JSONMember("guest_gap_ms", step.gapMilliseconds.map(JSONValue.number) ?? .null),
        JSONMember("running_ms", step.runningMilliseconds.map(JSONValue.number) ?? .null),
        JSONMember("stored_bytes", step.storedBytes.map { JSONValue($0) } ?? .null),
        JSONMember("sent_bytes", step.sentBytes.map { JSONValue($0) } ?? .null),
        JSONMember("pages_checked", step.pagesChecked.map { JSONValue($0) } ?? .null),
        JSONMember("seconds", .number(step.seconds)),
      ])
    }
    return [
      JSONMember("qemu", qemu.map(JSONValue.string) ?? .null),
      JSONMember("accelerator", .string(accelerator)),
      JSONMember("ram_bytes", JSONValue(memoryBytes)),
      JSONMember("steps", .array(rows)),
      JSONMember("return_share", returnShare.map(JSONValue.number) ?? .null),
      JSONMember("pages_verified", JSONValue(pagesVerified)),
      JSONMember("pages_bad", JSONValue(pagesBad)), JSONMember("seconds", .number(seconds)),
    ]
  }
}
