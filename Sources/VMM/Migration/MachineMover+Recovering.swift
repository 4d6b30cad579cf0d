// A machine that runs and waits for pages: its link breaks, and another takes its place.

import MigrationEngine
import Pager
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
    // One that came here and is on its way elsewhere has its source's part, and waits for none.
    guard let reception = update({ $0.waitingReception }) else { throw Self.nothingInterrupted }
    if update({ $0.settings.takesPreempt }) { try MigrationChannel.requireSeveral(to: peer) }
    // A second listener could not have the address, and the wait that was asked for goes on.
    if update({ $0.origin?.listens(at: peer) ?? false }) { return }
    let origin: MigrationChannel.Origin
    do throws(TransportError) {
      origin = try MigrationChannel.Origin(peer)
    } catch {
      throw .refused("\(error)")
    }
    // Whoever asked before may be gone, and would be waited for in vain.
    let (former, isWanted) = update { state -> (MigrationChannel.Origin?, Bool) in
      // What was waited for may have come just now: nobody would end this wait.
      guard state.waitingReception === reception else { return (nil, false) }
      let former = state.origin
      state.origin = origin
      state.account.listeningAddresses = [origin.listeningAddress].compactMap { $0 }
      return (former, true)
    }
    guard isWanted else { throw Self.nothingInterrupted }
    former?.close()
    do throws(TransportError) {
      _ = try NamedThread(name: "migration") { [self] in resume(reception, from: origin) }
    } catch {
      forget(origin)
      throw .kernel(action: "cannot start a thread for the recovery", reason: "\(error)")
    }
  }

  private static var nothingInterrupted: MachineError {
    .refused("no postcopy of this machine was interrupted")
  }

  private func resume(_ reception: any MachineReception, from origin: MigrationChannel.Origin) {
    do {
      defer { forget(origin) }
      let channel = try origin.channel()
      forget(origin)
      let preempt = preemptWait(at: origin)
      defer { leave(origin) }
      try recovering.withLock { _ in
        // The link before may have broken without that having been noticed here yet, or brought
        // everything; and another machine may have come here since.
        guard update({ $0.waitingReception === reception }) else { return channel.shutdownBoth() }
        try reception.resume(over: channel, preempt: preempt)
        enter(.completed) { $0.account.failure = nil }
        endWaiting()
      }
    } catch TransportError.cancelled {
      // Another recovery, or the machine's end, took this one's place.
    } catch PagerError.failed(let sentence) {
      endWaiting()
      giveUp(PagerError.failed(sentence))
    } catch {
      // The machine runs, whatever became of this link, and can be given another.
      update { $0.account.failure = "\(error)" }
    }
  }

  /// Takes note that nobody is waited for there any more; another's wait goes on.
  private func forget(_ origin: MigrationChannel.Origin) {
    update { if $0.origin === origin { $0.origin = nil } }
  }

  /// Ends the wait for a link that is needed no more: its address is free again.
  private func endWaiting() {
    let origin = update { state in
      defer { state.origin = nil }
      return state.origin
    }
    origin?.close()
  }
}

extension MachineMover.State {
  /// What a machine is received by that runs and waits for another link; nil where none does.
  fileprivate var waitingReception: (any MachineReception)? {
    account.isIncoming && account.status == .postcopyPaused ? receiver : nil
  }
}
