// A table of text: columns as wide as their widest cell, numbers to the right.

/// Rows of cells under a heading.
struct Table {
  /// On which side a column's cells begin.
  enum Alignment {
    case left, right
  }

  private let heading: [String]
  private let alignments: [Alignment]
  private var rows: [[String]] = []

  /// An empty table.
  init(_ columns: [(heading: String, alignment: Alignment)]) {
    heading = columns.map(\.heading)
    alignments = columns.map(\.alignment)
  }

  /// Adds a row; missing cells are empty, surplus ones are left out.
  mutating func add(_ cells: String...) {
    rows.append(cells)
  }

  /// The heading and the rows, one line each, without spaces at their ends.
  var lines: [String] {
    let widths = heading.indices.map { column in
      ([heading] + rows).map { column < $0.count ? $0[column].count : 0 }.max() ?? 0
    }
    return ([heading] + rows).map { row in
      let cells = heading.indices.map { column in
        let cell = column < row.count ? row[column] : ""
        let padding = String(repeating: " ", count: widths[column] - cell.count)
        return alignments[column] == .left ? cell + padding : padding + cell
      }
      let line = cells.joined(separator: "  ")
      return String(line.reversed().drop { $0 == " " }.reversed())
    }
  }
}
