// The operations of the command line, one function each; their bodies are in files of their own.

/// The operations that move machines between endpoints.
///
/// Each is an async function that returns when the move is over and throws an error whose
/// `description` is a sentence for the person who asked. Cancelling the surrounding task cancels
/// the move: its source machine goes on running, and nothing half-made stays listed.
public enum Operations {}
