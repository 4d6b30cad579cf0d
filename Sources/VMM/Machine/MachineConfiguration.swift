// What a machine is made of, as a person asks for it.

public import Devices
public import DirtyTracking
public import MigrationEngine

/// What a machine is made of.
public struct MachineConfiguration: Sendable, Equatable {
  /// The guest's memory in bytes, a multiple of 2 MiB.
  public var memoryByteCount: UInt64
  /// How many processors it has, 1 upwards.
  public var processorCount = 1
  /// What runs them; nil takes what the host has and the boot image allows.
  public var accelerator: AcceleratorKind?
  /// What is booted.
  public var boot: BootSource = .nothing
  /// The disks, as /dev/vda upwards.
  public var disks: [Disk] = []
  /// The network interfaces by the tap devices that they use.
  public var taps: [String] = []
  /// Where the serial port's bytes go and come from.
  public var serial: CharacterBackend = .none
  /// Where the virtio console's bytes go and come from.
  public var console: CharacterBackend = .none
  /// Whether other processes may map the guest's memory (a memfd, shared), which a machine whose
  /// state comes from elsewhere needs in any case, for its pager.
  public var sharesMemory = false
  /// Whether the guest's memory is made of the host's huge pages of 2 MiB, set aside at once.
  public var usesHugePages = false
  /// The machine's name, as query-name answers it.
  public var name: String?
  /// The machine's UUID, as query-uuid answers it.
  public var uuid: String?
  /// Where dirty pages are learnt from; nil takes the best that the host has.
  public var dirtyLog: DirtyLogKind?
  /// Where its state comes from, if it does not boot.
  public var incoming: Incoming?
  /// What is run as the pager that receives a machine's memory while it runs; it must call
  /// `PagerServer.serve`.
  public var pagerCommand = ["/proc/self/exe", "pager"]
  /// Pages that are held here already, for a machine that arrives and whose source has the
  /// capability `x-known-pages` as it has itself.
  public var known: [KnownContentPlace] = []
  /// Whether it waits for `cont` before its first instruction.
  public var startsPaused = false
  /// Whether a reset that the guest asks for ends the machine.
  public var endsOnReset = false
  /// Whether the machine stays for inspection when its guest switches itself off.
  public var staysOnShutdown = false

  /// A machine with that much memory and nothing else.
  public init(memoryByteCount: UInt64) {
    self.memoryByteCount = memoryByteCount
  }

  /// What is booted.
  public enum BootSource: Sendable, Equatable {
    /// Nothing: the processors start at the reset vector, or the state comes from elsewhere.
    case nothing
    /// A kernel image (bzImage, ELF with a PVH note, ELF of Linux), an initial RAM disk, and the
    /// command line.
    case kernel(path: String, initrd: String?, commandLine: String)
    /// Bytes put at an address and entered there in 64-bit mode, all memory mapped one to one.
    case flat(path: String, address: UInt64)
    /// The guest that checks its own memory.
    case demonstration(Workload)
  }

  /// What the demonstration's guest does.
  public struct Workload: Sendable, Equatable {
    /// How much memory it rewrites, in MiB a second.
    public var megabytesPerSecond = 10
    /// Whether it goes over its pages at random instead of one after the other.
    public var isRandom = true
    /// How much memory it uses, in MiB; 0 for all there is.
    public var memoryMegabytes = 0
    /// How much it checks, in MiB a second; nil for an eighth of its memory.
    public var checkedMegabytesPerSecond: Int?
    /// Whether its pages are full of incompressible data.
    public var isFilled = true
    /// How much of its pages, in percent from 0 to 100, it declares free once they are filled.
    public var freePercent = 0
    /// How much of what it declared free it takes into use again, in MiB a second; once that is all
    /// of it, it declares it free anew.
    public var reusedMegabytesPerSecond = 0
    /// How much time lies between two report lines, in milliseconds.
    public var reportMilliseconds = 1000

    /// The workload by default: 10 MiB a second all over its memory.
    public init() {}
  }

  /// A disk.
  public struct Disk: Sendable, Equatable {
    /// The raw file or block device that holds it.
    public var path: String
    /// Whether the guest may only read it.
    public var isReadOnly = false

    /// A disk in that file.
    public init(path: String, isReadOnly: Bool = false) {
      self.path = path
      self.isReadOnly = isReadOnly
    }
  }

  /// Where a machine's state comes from.
  public enum Incoming: Sendable, Equatable {
    /// A later `migrate-incoming` says.
    case deferred
    /// An address in QEMU's notation.
    case uri(String)
  }
}
