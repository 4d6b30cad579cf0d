// The command line's entry point.

@main
enum Godwit {
  static func main() {}
}
