// The options that every command has.

import ArgumentParser

/// How a command reports.
struct GeneralOptions: ParsableArguments, Sendable {
  @Flag(
    help: ArgumentHelp(
      "Report in JSON, one object a line; the last has \"event\":\"result\" or \"error\"."))
  var json = false
}
