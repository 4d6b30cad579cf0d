// VMStateField+Structures.swift: fields that have fields, and arrays of any kind.

internal import Wire

extension VMStateField {
  /// A structure with a description of its own.
  ///
  /// Its version is not on the wire: it follows from the version of the description around it.
  /// A layout that changed is two fields, one `until` and one `since` that version.
  /// - Parameter version: the version of `description` that stands here; its own if `nil`.
  public static func structure<Part: Sendable>(
    _ name: String, _ path: Path<Part>,
    _ description: VMStateDescription<Part>, version: Int? = nil
  ) -> Self {
    let version = version ?? description.version
    return Self([name], compare: description.comparing) {
      (state, writer) throws(VMStateError) in
      let start = writer.bytes.count
      writer.place.path.append(name)
      let layout = try description.write(state[keyPath: path], &writer, version: version)
      writer.place.path.removeLast()
      writer.describe(
        VMDescription.Field(
          name: name, type: "struct", size: UInt64(writer.bytes.count - start),
          layouts: [layout]))
    } load: { (state, reader) throws(VMStateError) in
      try description.readNested(name, &state[keyPath: path], &reader, version: version)
    }
  }

  /// Exactly `count` integers.
  public static func array<T: VMStateScalar>(
    _ name: String, _ path: Path<[T]>, count: Int
  ) -> Self {
    precondition(count > 0, "an array of at least one element")
    return Self([name]) { (state, writer) throws(VMStateError) in
      let values = state[keyPath: path]
      try checkCount(values.count, count, name, writer.place)
      writer.appendArray(name, values)
    } load: { (state, reader) throws(VMStateError) in
      state[keyPath: path] = try reader.nextArray(T.self, count, name)
    }
  }

  /// Any number of integers up to `limit`, with their number before them.
  ///
  /// - Parameters:
  ///   - count: the name of the number, a field of its own.
  ///   - type: the number's encoding.
  public static func counted<T: VMStateScalar, Count: VMStateScalar>(
    _ name: String, _ path: Path<[T]>, count countName: String,
    as type: Count.Type = UInt32.self, limit: Int
  ) -> Self {
    let counter = VMStateCounter<Count>(name: countName, of: name, limit: limit)
    return Self([countName, name]) { (state, writer) throws(VMStateError) in
      let values = state[keyPath: path]
      try counter.write(values.count, &writer)
      writer.appendArray(name, values)
    } load: { (state, reader) throws(VMStateError) in
      let count = try counter.read(&reader)
      state[keyPath: path] = try reader.nextArray(T.self, count, name)
    }
  }

  /// Exactly `count` structures, each loaded over the blank state's element in its place.
  public static func array<Part: Sendable>(
    _ name: String, _ path: Path<[Part]>,
    of description: VMStateDescription<Part>, count: Int
  ) -> Self {
    precondition(count > 0, "an array of at least one element")
    let version = description.version
    return Self([name], compare: description.comparing) {
      (state, writer) throws(VMStateError) in
      let parts = state[keyPath: path]
      try checkCount(parts.count, count, name, writer.place)
      try description.writeArray(name, parts, &writer)
    } load: { (state, reader) throws(VMStateError) in
      guard state[keyPath: path].count == count else {
        throw reader.error(
          .refused, field: name, expected: "a blank state of \(count) elements",
          found: "\(state[keyPath: path].count)")
      }
      for index in 0..<count {
        try description.readNested(
          "\(name)[\(index)]", &state[keyPath: path][index], &reader, version: version)
      }
    }
  }

  /// Any number of structures up to `limit`, with their number before them.
  ///
  /// - Parameters:
  ///   - blank: what an element is before it is loaded.
  ///   - count: the name of the number, a field of its own.
  ///   - type: the number's encoding.
  public static func counted<Part: Sendable, Count: VMStateScalar>(
    _ name: String, _ path: Path<[Part]>,
    of description: VMStateDescription<Part>, blank: Part, count countName: String,
    as type: Count.Type = UInt32.self, limit: Int
  ) -> Self {
    let counter = VMStateCounter<Count>(name: countName, of: name, limit: limit)
    let version = description.version
    return Self([countName, name], compare: description.comparing) {
      (state, writer) throws(VMStateError) in
      let parts = state[keyPath: path]
      try counter.write(parts.count, &writer)
      try description.writeArray(name, parts, &writer)
    } load: { (state, reader) throws(VMStateError) in
      let count = try counter.read(&reader)
      var parts: [Part] = []
      for index in 0..<count {
        var part = blank
        try description.readNested("\(name)[\(index)]", &part, &reader, version: version)
        parts.append(part)
      }
      state[keyPath: path] = parts
    }
  }

  private static func checkCount(
    _ found: Int, _ count: Int, _ name: String, _ place: VMStatePlace
  ) throws(VMStateError) {
    guard found == count else {
      throw place.error(
        .notEncodable, field: name, expected: "\(count) elements", found: "\(found)")
    }
  }
}

extension VMStateWriter {
  /// Adds integers and, unless there are none, one entry for all of them.
  fileprivate mutating func appendArray<T: VMStateScalar>(_ name: String, _ values: [T]) {
    for value in values { append(value) }
    guard !values.isEmpty else { return }
    describe(
      VMDescription.Field(
        name: name, type: T.typeName, size: UInt64(T.byteCount),
        arrayLength: values.count > 1 ? UInt64(values.count) : nil))
  }
}

extension VMStateReader {
  /// The next `count` integers.
  fileprivate mutating func nextArray<T: VMStateScalar>(
    _: T.Type, _ count: Int, _ name: String
  ) throws(VMStateError) -> [T] {
    guard count <= remaining / T.byteCount else {
      throw error(
        .truncated, field: name, expected: "\(count) elements of \(T.byteCount) bytes",
        found: "\(remaining) bytes before the end of the section")
    }
    var values: [T] = []
    values.reserveCapacity(count)
    for _ in 0..<count { values.append(try next(T.self, name)) }
    return values
  }
}

extension VMStateDescription {
  /// Adds structures: one entry for all where they are laid out alike, or one for each.
  fileprivate func writeArray(
    _ name: String, _ parts: [State], _ writer: inout VMStateWriter
  ) throws(VMStateError) {
    var layouts: [VMDescription.Structure] = []
    var sizes: [Int] = []
    for (index, part) in parts.enumerated() {
      let start = writer.bytes.count
      writer.place.path.append("\(name)[\(index)]")
      layouts.append(try write(part, &writer, version: version))
      writer.place.path.removeLast()
      sizes.append(writer.bytes.count - start)
    }
    guard let first = layouts.first, let size = sizes.first else { return }
    if size > 0, layouts.allSatisfy({ $0 == first }) {
      writer.describe(
        VMDescription.Field(
          name: name, type: "struct", size: UInt64(size),
          arrayLength: parts.count > 1 ? UInt64(parts.count) : nil, layouts: [first]))
      return
    }
    for index in layouts.indices {
      writer.describe(
        VMDescription.Field(
          name: name, type: "struct", size: UInt64(sizes[index]), index: UInt64(index),
          layouts: [layouts[index]]))
    }
  }

  /// Reads a structure inside another one.
  fileprivate func readNested(
    _ name: String, _ state: inout State, _ reader: inout VMStateReader, version: Int
  ) throws(VMStateError) {
    let outer = reader.version
    reader.place.path.append(name)
    reader.version = version
    try read(&state, &reader)
    reader.version = outer
    reader.place.path.removeLast()
  }

  /// What a field of this description compares with an entry of a stream's.
  fileprivate var comparing: VMStateComparing {
    { (layout, path) in unknownParts(of: layout, below: path) }
  }
}
