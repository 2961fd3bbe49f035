//! [`DisturbancePlan`]: trouble that is drawn from the seed, strike after strike, beside the plan's events.

use std::fmt;

use serde::{Deserialize, Serialize};
use staticfire_judge::duration::Millis;

/// Strikes of one kind. Each takes away what it did before the next one comes, and the last one before the
/// disturbance is over. Several disturbances run side by side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DisturbancePlan {
    /// Its name, for events that wait until it is over.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// When it may begin, counted from the first send.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub from: Millis,
    /// After this time no strike begins, counted from the first send.
    pub until: Millis,
    /// Most strikes.
    #[serde(default = "default_budget")]
    pub budget: u32,
    /// Shortest and longest time before each strike.
    #[serde(default = "default_every")]
    pub every: [Millis; 2],
    /// Shortest and longest time that the effect of a strike stays.
    #[serde(default = "default_lasts")]
    pub lasts: [Millis; 2],
    /// What strikes.
    #[serde(rename = "do")]
    pub trouble: Trouble,
}

impl fmt::Display for DisturbancePlan {
    /// `attrition of a (kill, power_loss), up to 10 times until 20s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.trouble.name();
        match &self.trouble {
            Trouble::Attrition { group, faults, .. } => {
                write!(f, "{name} of {group} ({faults:?})")?
            }
            Trouble::ClientAttrition { nodes, faults } => {
                write!(f, "{name} of {} ({faults:?})", nodes.join(", "))?;
            }
            Trouble::Clogging { nodes, latency: [least, most] } => {
                write!(f, "{name} between {} ({least} to {most})", nodes.join(", "))?;
            }
            Trouble::FailingDisks { group, faults } => {
                write!(f, "{name} of {group} ({faults:?})")?;
            }
        }
        write!(f, ", up to {} times until {}", self.budget, self.until)
    }
}

fn is_zero(time: &Millis) -> bool {
    time.0 == 0
}

fn default_budget() -> u32 {
    10
}

fn default_every() -> [Millis; 2] {
    [Millis(500), Millis(5_000)]
}

fn default_lasts() -> [Millis; 2] {
    [Millis(100), Millis(5_000)]
}

/// What a disturbance does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Trouble {
    /// Processes and machines of a broker group fall, and come back.
    Attrition {
        /// The `brokerName`.
        group: String,
        /// How they fall.
        faults: Vec<Fall>,
        /// What an operator does about a master that fell.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        operator: Vec<Remedy>,
    },
    /// Consumers and producers fall, and come back.
    ClientAttrition {
        /// Their processes.
        nodes: Vec<String>,
        /// How they fall.
        faults: Vec<Fall>,
    },
    /// Links between two of the processes are slow, or hold what is sent.
    Clogging {
        /// The processes.
        nodes: Vec<String>,
        /// Latency of a slow link; 0 holds everything back.
        latency: [Millis; 2],
    },
    /// Disks of a broker group misbehave.
    FailingDisks {
        /// The `brokerName`.
        group: String,
        /// How.
        faults: Vec<DiskTrouble>,
    },
}

impl Trouble {
    /// The trouble in one word, as reports name it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Trouble::Attrition { .. } => "attrition",
            Trouble::ClientAttrition { .. } => "client_attrition",
            Trouble::Clogging { .. } => "clogging",
            Trouble::FailingDisks { .. } => "failing_disks",
        }
    }
}

/// How a process or its machine falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fall {
    /// Process kill.
    Kill,
    /// Power loss of its machine.
    PowerLoss,
    /// Its machine's disk is destroyed.
    DestroyDisk,
    /// It is not scheduled.
    Pause,
    /// It is started again gracefully.
    Restart,
}

/// What an operator does about a broker group without its master.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Remedy {
    /// The master is started again in place.
    Restart,
    /// The slave that has most of the log is promoted, and the old master comes back as a slave.
    PromoteMostAdvanced,
    /// Any slave is promoted.
    PromoteAny,
}

/// How a disk misbehaves for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskTrouble {
    /// Syncs are slow.
    Slow,
    /// No sync returns.
    Hang,
    /// There is no space.
    Full,
    /// A sync of the log fails; the process is started again afterwards.
    SyncError,
    /// Nothing can be opened.
    NoDescriptors,
}
