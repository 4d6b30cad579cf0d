// How Godwit's own machine would learn on this host which pages its guest writes.

internal import DirtyTracking
internal import KVM

/// What `doctor` says about dirty tracking.
enum DoctorDirtyLog {
  static func findings() -> [DoctorFinding] {
    let topic = "dirty log"
    let kvm = try? KVMSystem()
    let capabilities = DirtyLogCapabilities(probing: kvm)
    do throws(DirtyLogChoice.Refusal) {
      let choice = try DirtyLogChoice(requested: nil, from: capabilities)
      let possible = DirtyLogKind.allCases.filter { kind in
        (try? DirtyLogChoice(requested: kind, from: capabilities)) != nil
      }.map(\.rawValue)
      return [
        DoctorFinding(
          topic, .ok,
          "'\(choice.kind.rawValue)' for Godwit's own machines: \(choice.reason) "
            + "Possible here: \(possible.joined(separator: ", ")).")
      ]
    } catch {
      return [
        DoctorFinding(
          topic, .missing, error.description,
          advice: "Godwit's own machine needs KVM, or Linux 6.7 or later for a stand-in.")
      ]
    }
  }
}
