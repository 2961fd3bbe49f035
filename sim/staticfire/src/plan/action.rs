//! [`Action`]: what is done to processes, machines and links.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use staticfire_judge::duration::Millis;

/// The files of a store, by the directory or name that RocketMQ gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// The CommitLog.
    CommitLog,
    /// The ConsumeQueues.
    ConsumeQueue,
    /// The index files.
    Index,
    /// Topics, groups and offsets.
    Config,
    /// The checkpoint.
    Checkpoint,
}

impl FileKind {
    /// What the paths of such files contain.
    #[must_use]
    pub fn path_part(self) -> &'static str {
        match self {
            FileKind::CommitLog => "/commitlog/",
            FileKind::ConsumeQueue => "/consumequeue/",
            FileKind::Index => "/index/",
            FileKind::Config => "/config/",
            FileKind::Checkpoint => "/checkpoint",
        }
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path_part().trim_matches('/'))
    }
}

/// What a kernel does with the pages of a sync that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlushErrorPages {
    /// They count as written: no later sync writes them (Linux).
    #[default]
    Clean,
    /// They wait for the next sync.
    KeptDirty,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands fields over by reference")]
fn is_clean(pages: &FlushErrorPages) -> bool {
    *pages == FlushErrorPages::Clean
}

/// A count of 0 would be a fault that never strikes.
fn at_least_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    match u32::deserialize(deserializer)? {
        0 => Err(D::Error::custom("must be at least 1")),
        count => Ok(count),
    }
}

/// A fault or an operation. `node` is a process name; machine faults hit the machine it runs on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Process kill: the page cache survives.
    Kill {
        /// The process.
        node: String,
    },
    /// Power loss of the machine: un-synced pages are gone, torn or kept, independently.
    PowerLoss {
        /// A process on it.
        node: String,
        /// Nothing un-synced survives, for stories that need the loss under every seed.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        worst: bool,
    },
    /// Power loss of all machines that run a broker of the group, at one instant.
    PowerLossGroup {
        /// The `brokerName`.
        group: String,
    },
    /// Power loss and an empty disk.
    DestroyDisk {
        /// A process on the machine.
        node: String,
    },
    /// The process is not scheduled any more (SIGSTOP, a long collection).
    Pause {
        /// The process.
        node: String,
    },
    /// The paused process goes on.
    Resume {
        /// The process.
        node: String,
    },
    /// Starts the process again with its configuration: powers its machine on (and starts whatever
    /// else ran there) if it is off, stops the process gracefully first if it still runs.
    Restart {
        /// The process.
        node: String,
        /// The operator has this start pass over damage where others refuse.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        salvage: bool,
    },
    /// An operator's promotion: the group's old master is stopped, the slave restarted as master.
    Promote {
        /// The slave's process.
        node: String,
    },
    /// The same with the slave of the group that has most of its log.
    PromoteMostAdvanced {
        /// The `brokerName`.
        group: String,
    },
    /// A former master is started again as slave of the group's present master.
    RejoinAsSlave {
        /// The process.
        node: String,
    },
    /// The machines of the two processes cannot reach each other.
    Partition {
        /// The two processes.
        between: [String; 2],
        /// Only what the first sends is held.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        one_way: bool,
    },
    /// Takes a partition away; what was held is delivered.
    Heal {
        /// The two processes.
        between: [String; 2],
    },
    /// The link between two machines has this latency, both ways, from now on.
    SlowLink {
        /// The two processes.
        between: [String; 2],
        /// One-way latency.
        latency: Millis,
    },
    /// Syncs of the machine's disk take this long from now on.
    SlowDisk {
        /// A process on the machine.
        node: String,
        /// Duration of each sync.
        sync: Millis,
    },
    /// Syncs of the machine's disk do not return any more, those under way included.
    HangDisk {
        /// A process on the machine.
        node: String,
    },
    /// Somebody else fills the machine's disk.
    FillDisk {
        /// A process on the machine.
        node: String,
        /// What is left free.
        free_bytes: u64,
    },
    /// The next syncs of CommitLog files on the machine fail with an I/O error.
    FlushError {
        /// A process on the machine.
        node: String,
        /// How many syncs fail.
        #[serde(deserialize_with = "at_least_one")]
        count: u32,
        /// What becomes of the pages.
        #[serde(default, skip_serializing_if = "is_clean")]
        mode: FlushErrorPages,
    },
    /// The next syncs of CommitLog files on the machine report success and write nothing.
    LostWrite {
        /// A process on the machine.
        node: String,
        /// How many syncs are lost.
        #[serde(deserialize_with = "at_least_one")]
        count: u32,
    },
    /// The next syncs of CommitLog files on the machine report success and write to the wrong place,
    /// over what was there.
    MisdirectedWrite {
        /// A process on the machine.
        node: String,
        /// How many syncs go astray.
        #[serde(deserialize_with = "at_least_one")]
        count: u32,
    },
    /// The next reads of files of a kind fail with an I/O error: maps at a start and reads of metadata.
    ReadError {
        /// A process on the machine.
        node: String,
        /// Which files.
        file: FileKind,
        /// How many reads fail.
        #[serde(deserialize_with = "at_least_one")]
        count: u32,
    },
    /// The brokers of the machine have no file descriptor left: nothing can be opened, neither to be
    /// mapped, read or written nor to be synced by its name.
    OutOfDescriptors {
        /// A process on the machine.
        node: String,
    },
    /// Single bits of synced data flip.
    Rot {
        /// A process on the machine.
        node: String,
        /// In which files.
        file: FileKind,
        /// How many bits.
        #[serde(deserialize_with = "at_least_one")]
        bits: u32,
    },
    /// Link and disk of the machine are as configured again: slow, hung and full disks, missing
    /// descriptors, errors that have not come yet. What is lost or rotten stays so.
    Calm {
        /// A process on the machine.
        node: String,
    },
}

impl fmt::Display for Action {
    /// The action and what it hits: `kill a`, `partition a | a-s`, `slow_link a | a-s (120ms)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hit = match self {
            Action::Partition { between, one_way: true } => between.join(" -> "),
            _ => self.group().map_or_else(|| self.nodes().join(" | "), str::to_owned),
        };
        write!(f, "{} {hit}", self.name())?;
        match self {
            Action::SlowLink { latency, .. } => write!(f, " ({latency})"),
            Action::SlowDisk { sync, .. } => write!(f, " ({sync} a sync)"),
            Action::FillDisk { free_bytes, .. } => write!(f, " ({free_bytes} bytes free)"),
            Action::FlushError { count, mode: FlushErrorPages::KeptDirty, .. } => {
                write!(f, " ({count}, kept dirty)")
            }
            Action::FlushError { count, .. }
            | Action::LostWrite { count, .. }
            | Action::MisdirectedWrite { count, .. } => write!(f, " ({count})"),
            Action::ReadError { file, count, .. } => write!(f, " ({count}, {file})"),
            Action::Rot { file, bits, .. } => write!(f, " ({bits} bits, {file})"),
            _ => Ok(()),
        }
    }
}

impl Action {
    /// The action in one word, as reports name it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Action::Kill { .. } => "kill",
            Action::PowerLoss { .. } => "power_loss",
            Action::PowerLossGroup { .. } => "power_loss_group",
            Action::DestroyDisk { .. } => "destroy_disk",
            Action::Pause { .. } => "pause",
            Action::Resume { .. } => "resume",
            Action::Restart { .. } => "restart",
            Action::Promote { .. } => "promote",
            Action::PromoteMostAdvanced { .. } => "promote_most_advanced",
            Action::RejoinAsSlave { .. } => "rejoin_as_slave",
            Action::Partition { .. } => "partition",
            Action::Heal { .. } => "heal",
            Action::SlowLink { .. } => "slow_link",
            Action::SlowDisk { .. } => "slow_disk",
            Action::HangDisk { .. } => "hang_disk",
            Action::FillDisk { .. } => "fill_disk",
            Action::FlushError { .. } => "flush_error",
            Action::LostWrite { .. } => "lost_write",
            Action::MisdirectedWrite { .. } => "misdirected_write",
            Action::ReadError { .. } => "read_error",
            Action::OutOfDescriptors { .. } => "out_of_descriptors",
            Action::Rot { .. } => "rot",
            Action::Calm { .. } => "calm",
        }
    }

    /// The processes that it names.
    #[must_use]
    pub fn nodes(&self) -> Vec<&str> {
        match self {
            Action::Kill { node }
            | Action::PowerLoss { node, .. }
            | Action::DestroyDisk { node }
            | Action::Pause { node }
            | Action::Resume { node }
            | Action::Restart { node, .. }
            | Action::Promote { node }
            | Action::RejoinAsSlave { node }
            | Action::SlowDisk { node, .. }
            | Action::HangDisk { node }
            | Action::FillDisk { node, .. }
            | Action::FlushError { node, .. }
            | Action::LostWrite { node, .. }
            | Action::MisdirectedWrite { node, .. }
            | Action::ReadError { node, .. }
            | Action::OutOfDescriptors { node }
            | Action::Rot { node, .. }
            | Action::Calm { node } => vec![node],
            Action::Partition { between, .. }
            | Action::Heal { between }
            | Action::SlowLink { between, .. } => between.iter().map(String::as_str).collect(),
            Action::PowerLossGroup { .. } | Action::PromoteMostAdvanced { .. } => Vec::new(),
        }
    }

    /// The broker group that it names.
    #[must_use]
    pub fn group(&self) -> Option<&str> {
        match self {
            Action::PowerLossGroup { group } | Action::PromoteMostAdvanced { group } => Some(group),
            _ => None,
        }
    }

    /// Whether this ends or repairs a fault, rather than being one.
    #[must_use]
    pub fn is_recovery(&self) -> bool {
        matches!(
            self,
            Action::Restart { .. }
                | Action::Promote { .. }
                | Action::PromoteMostAdvanced { .. }
                | Action::RejoinAsSlave { .. }
                | Action::Heal { .. }
                | Action::Resume { .. }
                | Action::Calm { .. }
        )
    }
}
