//! Faults as the trace keeps them: [`FaultId`], [`FaultKind`], [`FaultSummary`].
//!
//! A fault proves itself: it *starts* when it is injected, has *bitten* once it changed what some
//! process could observe, and is *healed* when it is taken away. A run whose wanted fault never bit
//! says nothing.

use std::fmt;

use super::Name;

/// Number of a fault within its run, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FaultId(pub u32);

impl fmt::Display for FaultId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "F{}", self.0)
    }
}

/// What kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// A process was killed; bites if it was running.
    Kill,
    /// A machine lost power; bites if it was on.
    PowerLoss,
    /// A machine lost power and its disk; bites always.
    DiskDestroyed,
    /// A process is not scheduled; bites when it had something to do.
    Pause,
    /// Links are cut; bites when a segment is held or a connect blocked.
    Partition,
    /// A link has another profile; bites at the first segment that travels it.
    Link,
    /// A wall clock was tampered with; bites when it is read.
    Clock,
    /// A disk misbehaves; bites when an operation feels it.
    Disk,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: [FaultKind; 8] = [
        FaultKind::Kill,
        FaultKind::PowerLoss,
        FaultKind::DiskDestroyed,
        FaultKind::Pause,
        FaultKind::Partition,
        FaultKind::Link,
        FaultKind::Clock,
        FaultKind::Disk,
    ];

    /// The kind in words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            FaultKind::Kill => "kill",
            FaultKind::PowerLoss => "power loss",
            FaultKind::DiskDestroyed => "disk destroyed",
            FaultKind::Pause => "pause",
            FaultKind::Partition => "partition",
            FaultKind::Link => "link",
            FaultKind::Clock => "clock",
            FaultKind::Disk => "disk",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The story of one fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultSummary {
    /// Its number.
    pub id: FaultId,
    /// Its kind.
    pub kind: FaultKind,
    /// The process or machine it hit, or `net`.
    pub target: Name,
    /// Particulars, in words.
    pub detail: Name,
    /// The machines at the ends of each link that it struck; none of a fault of another kind.
    pub links: Vec<[Name; 2]>,
    /// Simulated microseconds of its injection.
    pub started_us: u64,
    /// Simulated microseconds of its first effect; `None` if it never had one.
    pub bitten_us: Option<u64>,
    /// Simulated microseconds of its end; `None` if it lasts.
    pub healed_us: Option<u64>,
}
