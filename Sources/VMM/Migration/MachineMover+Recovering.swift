// A machine that runs and waits for pages: its link breaks, and another takes its place.

import MigrationEngine
import QMP
import Synchronization
import Transport

extension MachineMover {
  func pause() throws(MachineError) {
    let (sender, resumer, receiver) = update { state in
      // What came here may go on elsewhere.
      (state.sender, state.resumer, state.account.isIncoming ? state.receiver : nil)
    }
    if let receiver {
      receiver.breakLink()
    } else if let resumer {
      resumer.cancel()
    } else if sender?.breakLink() != true {
      throw .refused("no postcopy of this machine is under way")
    }
  }

  func recover(from peer: MigrationPeer) throws(MachineError) {
    guard let reception = update({ $0.account.status == .postcopyPaused ? $0.receiver : nil })
    else {
      throw .refused("no postcopy of this machine was interrupted")
    }
    let origin: MigrationChannel.Origin
    do throws(TransportError) {
      origin = try MigrationChannel.Origin(peer)
    } catch {
      throw .refused("\(error)")
    }
    // Whoever asked before may be gone, and would be waited for in vain.
    let former = update { state -> MigrationChannel.Origin? in
      let former = state.origin
      state.origin = origin
      state.account.listeningAddresses = [origin.listeningAddress].compactMap { $0 }
      return former
    }
    former?.cancel()
    do throws(TransportError) {
      _ = try NamedThread(name: "migration") { [self] in resume(reception, from: origin) }
    } catch {
      throw .kernel(action: "cannot start a thread for the recovery", reason: "\(error)")
    }
  }

  private func resume(_ reception: any MachineReception, from origin: MigrationChannel.Origin) {
    do {
      let channel = try origin.channel()
      update { $0.origin = nil }
      // The link before may have broken without that having been noticed here yet.
      try recovering.withLock { _ in
        guard update({ $0.account.status == .postcopyPaused }) else {
          return channel.shutdownBoth()
        }
        try reception.resume(over: channel)
        enter(.completed) { $0.account.failure = nil }
      }
    } catch TransportError.cancelled {
      // Another recovery, or the machine's end, took this one's place.
    } catch {
      giveUp(error)
    }
  }
}
