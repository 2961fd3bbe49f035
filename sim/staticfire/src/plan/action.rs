//! [`Action`]: what is done to processes, machines and links.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use staticfire_judge::duration::Millis;

use super::filter::FilterPlan;
use super::operation::{ClockStep, ResetTo};

/// The files of a store, by the directory or name that RocketMQ gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
    /// Asks the process to stop in order, and waits for that: a consumer commits its offsets, gives its queues back and
    /// leaves its groups, a broker syncs what it has. Whoever does not end is killed.
    Stop {
        /// The process.
        node: String,
    },
    /// Starts a client that is away until then: one that joins.
    Start {
        /// The process.
        node: String,
    },
    /// An operator has a consumer group go on elsewhere, on every master that has the topic: by way of its members, or,
    /// without any, by a commit in its name.
    ResetOffset {
        /// The consumer group.
        group: String,
        /// One of its topics.
        topic: String,
        /// Where it goes on.
        to: ResetTo,
    },
    /// The wall clock of the machine is set.
    ClockJump {
        /// A process on the machine.
        node: String,
        /// By how much.
        by: ClockStep,
    },
    /// The wall clock of the machine runs too fast or too slow.
    ClockDrift {
        /// A process on the machine.
        node: String,
        /// Microseconds that it gains a second; of a negative number, that it loses.
        ppm: i64,
    },
    /// An operator makes a topic on every master of the groups in use, or gives one that is there more queues.
    CreateTopic {
        /// The topic.
        topic: String,
        /// Queues per broker group.
        queues: u32,
        /// There is no such topic until then.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        new: bool,
    },
    /// An operator deletes a topic on every master of the groups in use, and at every name server.
    DeleteTopic {
        /// The topic.
        topic: String,
    },
    /// An operator deletes a consumer group, and what it had committed, on every master of the groups in use.
    DeleteGroup {
        /// The consumer group.
        group: String,
    },
    /// The members of a consumer group subscribe to something else while they run, and whoever starts from then on.
    Subscribe {
        /// The consumer group.
        group: String,
        /// What they want from then on.
        filter: FilterPlan,
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
    /// Link, disk and pace of the clock of the machine are as configured again: slow, hung and full disks,
    /// missing descriptors, errors that have not come yet. What is lost or rotten stays so, and so does the time
    /// that a clock shows.
    Calm {
        /// A process on the machine.
        node: String,
    },
}

/// What is said of an action wherever it is named: one row of [`Action::row`].
struct Row<'a> {
    name: &'static str,
    hits: Hits<'a>,
    /// Whether it ends or repairs a fault, rather than being one.
    is_recovery: bool,
    /// How much, and of what; empty where there is nothing to say.
    detail: String,
}

/// What an action names.
enum Hits<'a> {
    Node(&'a str),
    Link(&'a [String; 2]),
    Group(&'a str),
    /// Neither a process nor a broker group.
    Other(&'a str),
}

impl<'a> Row<'a> {
    fn fault(name: &'static str, hits: Hits<'a>) -> Self {
        Row { name, hits, is_recovery: false, detail: String::new() }
    }

    fn recovery(name: &'static str, hits: Hits<'a>) -> Self {
        Row { is_recovery: true, ..Row::fault(name, hits) }
    }

    fn of(self, detail: impl fmt::Display) -> Self {
        Row { detail: detail.to_string(), ..self }
    }
}

impl Action {
    /// The one place that says what each action is called, what it hits and whether it mends.
    fn row(&self) -> Row<'_> {
        use Hits::{Group, Link, Node, Other};
        match self {
            Action::Kill { node } => Row::fault("kill", Node(node)),
            Action::PowerLoss { node, .. } => Row::fault("power_loss", Node(node)),
            Action::PowerLossGroup { group } => Row::fault("power_loss_group", Group(group)),
            Action::DestroyDisk { node } => Row::fault("destroy_disk", Node(node)),
            Action::Pause { node } => Row::fault("pause", Node(node)),
            Action::Resume { node } => Row::recovery("resume", Node(node)),
            Action::Restart { node, .. } => Row::recovery("restart", Node(node)),
            Action::Stop { node } => Row::fault("stop", Node(node)),
            Action::Start { node } => Row::recovery("start", Node(node)),
            Action::ResetOffset { group, topic, to } => {
                Row::recovery("reset_offset", Other(group)).of(format_args!("{topic}, {to}"))
            }
            Action::ClockJump { node, by } => Row::fault("clock_jump", Node(node)).of(by),
            Action::ClockDrift { node, ppm } => {
                Row::fault("clock_drift", Node(node)).of(format_args!("{ppm} ppm"))
            }
            Action::CreateTopic { topic, queues, .. } => {
                Row::recovery("create_topic", Other(topic)).of(format_args!("{queues} queues"))
            }
            Action::DeleteTopic { topic } => Row::fault("delete_topic", Other(topic)),
            Action::Subscribe { group, filter } => {
                Row::recovery("subscribe", Other(group)).of(filter)
            }
            Action::DeleteGroup { group } => Row::fault("delete_group", Other(group)),
            Action::Promote { node } => Row::recovery("promote", Node(node)),
            Action::PromoteMostAdvanced { group } => {
                Row::recovery("promote_most_advanced", Group(group))
            }
            Action::RejoinAsSlave { node } => Row::recovery("rejoin_as_slave", Node(node)),
            Action::Partition { between, .. } => Row::fault("partition", Link(between)),
            Action::Heal { between } => Row::recovery("heal", Link(between)),
            Action::SlowLink { between, latency } => {
                Row::fault("slow_link", Link(between)).of(latency)
            }
            Action::SlowDisk { node, sync } => {
                Row::fault("slow_disk", Node(node)).of(format_args!("{sync} a sync"))
            }
            Action::HangDisk { node } => Row::fault("hang_disk", Node(node)),
            Action::FillDisk { node, free_bytes } => {
                Row::fault("fill_disk", Node(node)).of(format_args!("{free_bytes} bytes free"))
            }
            Action::FlushError { node, count, mode } => {
                let kept = if is_clean(mode) { "" } else { ", kept dirty" };
                Row::fault("flush_error", Node(node)).of(format_args!("{count}{kept}"))
            }
            Action::LostWrite { node, count } => Row::fault("lost_write", Node(node)).of(count),
            Action::MisdirectedWrite { node, count } => {
                Row::fault("misdirected_write", Node(node)).of(count)
            }
            Action::ReadError { node, file, count } => {
                Row::fault("read_error", Node(node)).of(format_args!("{count}, {file}"))
            }
            Action::OutOfDescriptors { node } => Row::fault("out_of_descriptors", Node(node)),
            Action::Rot { node, file, bits } => {
                Row::fault("rot", Node(node)).of(format_args!("{bits} bits, {file}"))
            }
            Action::Calm { node } => Row::recovery("calm", Node(node)),
        }
    }

    /// The action in one word, as reports name it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.row().name
    }

    /// The processes that it names.
    #[must_use]
    pub fn nodes(&self) -> Vec<&str> {
        match self.row().hits {
            Hits::Node(node) => vec![node],
            Hits::Link(between) => between.iter().map(String::as_str).collect(),
            Hits::Group(_) | Hits::Other(_) => Vec::new(),
        }
    }

    /// The same, to be replaced.
    pub(crate) fn nodes_mut(&mut self) -> Vec<&mut String> {
        match self {
            Action::Kill { node }
            | Action::PowerLoss { node, .. }
            | Action::DestroyDisk { node }
            | Action::Pause { node }
            | Action::Resume { node }
            | Action::Restart { node, .. }
            | Action::Stop { node }
            | Action::Start { node }
            | Action::ClockJump { node, .. }
            | Action::ClockDrift { node, .. }
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
            | Action::SlowLink { between, .. } => between.iter_mut().collect(),
            Action::PowerLossGroup { .. }
            | Action::ResetOffset { .. }
            | Action::CreateTopic { .. }
            | Action::DeleteTopic { .. }
            | Action::DeleteGroup { .. }
            | Action::Subscribe { .. }
            | Action::PromoteMostAdvanced { .. } => Vec::new(),
        }
    }

    /// The broker group that it names.
    #[must_use]
    pub fn group(&self) -> Option<&str> {
        match self.row().hits {
            Hits::Group(group) => Some(group),
            Hits::Node(_) | Hits::Link(_) | Hits::Other(_) => None,
        }
    }

    /// Whether this ends or repairs a fault, rather than being one.
    #[must_use]
    pub fn is_recovery(&self) -> bool {
        self.row().is_recovery
    }
}

impl fmt::Display for Action {
    /// The action and what it hits: `kill a`, `partition a | a-s`, `slow_link a | a-s (120ms)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = self.row();
        let one_way = matches!(self, Action::Partition { one_way: true, .. });
        let hit = match row.hits {
            Hits::Node(hit) | Hits::Group(hit) | Hits::Other(hit) => hit.to_owned(),
            Hits::Link(between) => between.join(if one_way { " -> " } else { " | " }),
        };
        write!(f, "{} {hit}", row.name)?;
        if row.detail.is_empty() { Ok(()) } else { write!(f, " ({})", row.detail) }
    }
}
