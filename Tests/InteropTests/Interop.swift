// All tests with real QEMUs, one after the other: each keeps the machine busy by itself.

import Testing

/// The suite of suites; what is in it never runs at the same time as the rest of it.
@Suite(.serialized)
enum Interop {}
