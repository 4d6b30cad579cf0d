// Files, functions and lines of a size that can be read, without marks of unfinished work.

import Testing

@Suite struct ShapeTests {
  static let swift = ["Sources", "Tests", "Benchmarks", "Fuzz"].flatMap {
    SourceTree.files(below: $0)
  }
  static let texts =
    swift + SourceTree.files(below: "Docs", suffixes: [".md"])
    + SourceTree.files(below: "scripts", suffixes: [""])
    + ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile", ".ci/run", "Package.swift"]
    .compactMap(SourceTree.file)

  @Test(arguments: swift)
  func `a file holds one idea: at most 600 lines, the first of which says it`(file: SourceFile) {
    #expect(file.lines.count <= 600, "\(file) has \(file.lines.count) lines")
    #expect(
      file.lines.first?.hasPrefix("//") == true, "\(file) does not begin by saying what it is")
  }

  /// The demonstration guest's images are literals that nobody reads.
  @Test(arguments: swift.filter { !$0.name.hasPrefix("Image+") })
  func `lines are at most 100 columns`(file: SourceFile) {
    for (index, line) in file.lines.enumerated() where line.count > 100 {
      Issue.record("\(file):\(index + 1) has \(line.count) columns")
    }
  }

  @Test(arguments: SourceTree.files(below: "Sources"))
  func `a function is at most 70 lines`(file: SourceFile) {
    for (start, count) in Self.functions(in: file) where count > 70 {
      Issue.record("\(file):\(start) is a function of \(count) lines")
    }
  }

  @Test(arguments: SourceTree.files(below: "Sources"))
  func `no source is unfinished or gives up`(file: SourceFile) {
    for (index, line) in file.lines.enumerated() {
      for mark in ["TO" + "DO", "FIX" + "ME", "fatal" + "Error(", "try" + "!"] {
        #expect(!line.contains(mark), "\(file):\(index + 1) has \(mark)")
      }
    }
  }

  /// What would tie the repository to the machine it was written on.
  @Test(arguments: texts)
  func `no file names a build machine's paths or a registry's host`(file: SourceFile) {
    let words = ["/wo" + "rk/", "/fa" + "rm/", "deb." + "debian.org", "py" + "pi.org"]
    for (index, line) in file.lines.enumerated() {
      for word in words {
        #expect(!line.contains(word), "\(file):\(index + 1) has \(word)")
      }
    }
  }

  /// The functions of a file: the line on which each begins, and how many it has.
  ///
  /// Follows the braces, which is enough for code in the house format.
  static func functions(in file: SourceFile) -> [(start: Int, count: Int)] {
    var found: [(Int, Int)] = []
    var open: [(start: Int, depth: Int)] = []
    var pending: Int?
    var depth = 0
    for (index, line) in file.codeLines.enumerated() {
      if pending == nil, line.contains(/\b(func|init)\b.*\(|\bdeinit\b/) { pending = index }
      for character in line {
        if character == "{" {
          if let start = pending {
            open.append((start, depth))
            pending = nil
          }
          depth += 1
        } else if character == "}" {
          depth -= 1
          if let last = open.last, last.depth == depth {
            open.removeLast()
            found.append((last.start + 1, index - last.start + 1))
          }
        }
      }
    }
    return found
  }
}
