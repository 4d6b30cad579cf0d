// A machine that `start` brought up, as a line for a person and as members of a JSON object.

import Endpoints
import JSON

extension StartedGuest {
  /// Where it is, and how soon it ran.
  var line: String {
    let running =
      restore.runningMilliseconds.map { ", running after \(Units.milliseconds($0))" } ?? ""
    return "process \(pid), QMP at \(qmp)\(running)"
  }

  /// Its process, its socket and the fields of a restore.
  var jsonMembers: [JSONMember] {
    [JSONMember("pid", JSONValue(Int(pid))), JSONMember("qmp", .string(qmp))] + restore.jsonMembers
  }
}
