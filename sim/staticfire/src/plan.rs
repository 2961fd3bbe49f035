//! [`Plan`]: everything a run is made of. A scenario file *is* a plan; the matrix, `conf` and the
//! fuzzer make plans, too. Plan + seed + binary = the same run, byte for byte.
//!
//! The file format is TOML (grammar: `scenarios/README.md`). Unknown keys are errors; whatever a
//! file does not say comes from the defaults in this module.

pub mod action;
pub mod bounds;
pub mod consumer_group;
pub mod disturbance;
pub mod event;
pub mod expand;
pub mod filter;
mod local_defaults;
mod operation;
pub mod seat;
pub mod sends;
mod validate;
mod validate_dledger;
mod validate_filter;
mod validate_sends;
pub mod workload;
mod workload_kind;

use std::collections::{BTreeMap, BTreeSet};

use mq_store::delay_level::DelayLevels;
use serde::{Deserialize, Serialize};
use staticfire_judge::check::Checker;
use staticfire_judge::duration;

pub use action::{Action, FileKind, FlushErrorPages};
pub use bounds::Nonsense;
pub use consumer_group::{ConsumerGroupPlan, FailurePlan};
pub use disturbance::{DiskTrouble, DisturbancePlan, Fall, Remedy, Trouble};
pub use event::{Awaited, EventPlan, START, Trigger};
pub use filter::{Filter, FilterPlan, Labels, PropertiesPlan};
pub use local_defaults::local_defaults;
pub use operation::{ClockStep, ResetTo};
pub use seat::Seat;
pub use sends::{BurstPlan, DelayLevelsPlan, RequestPlan};
pub use staticfire_judge::check::bound::Promise;
pub use staticfire_judge::duration::Millis;
pub use workload::{TransactionPlan, WorkloadPlan};
pub use workload_kind::WorkloadKind;

/// One story: a cluster, a workload, what goes wrong, and what must hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// A short name of the story.
    pub title: String,
    /// One sentence: what must hold.
    pub holds: String,
    /// Seeds that `run` takes when the command line names none, as `A..B`.
    #[serde(default = "default_seeds")]
    pub seeds: String,
    /// Upstream behaviours switched on, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstream: Vec<String>,
    /// Planted bugs armed, by name; refused by builds without them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plants: Vec<String>,
    /// Machines and processes.
    pub cluster: ClusterPlan,
    /// Who sends and consumes what.
    #[serde(
        rename = "workload",
        default = "default_workloads",
        deserialize_with = "workload::one_or_several",
        serialize_with = "workload::as_one_or_several"
    )]
    pub workloads: Vec<WorkloadPlan>,
    /// Faults and operations; those with a time in any order.
    #[serde(default, rename = "event", skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<EventPlan>,
    /// Faults that are drawn from the seed, beside the events.
    #[serde(default, rename = "disturbance", skip_serializing_if = "Vec::is_empty")]
    pub disturbances: Vec<DisturbancePlan>,
    /// What is promised.
    pub check: CheckPlan,
}

fn default_workloads() -> Vec<WorkloadPlan> {
    vec![WorkloadPlan::default()]
}

fn default_seeds() -> String {
    "0..5".to_owned()
}

/// Machines and what runs on them. Either `groups` (short form) or `brokers` and `namesrvs`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterPlan {
    /// Number of name servers of the short form, each on a machine of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namesrv: Option<u32>,
    /// One-way latency between machines, whole milliseconds.
    pub link_latency: Millis,
    /// Shortest and longest sync of a disk, whole milliseconds.
    pub sync_latency: [Millis; 2],
    /// Mean interval of the kernel's background writeback; 0 turns it off.
    pub writeback_interval: Millis,
    /// Capacity of each machine's disk in bytes.
    pub disk_bytes: u64,
    /// Host names, resolved on every machine.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub hosts: BTreeMap<String, String>,
    /// Properties that every broker of the short form gets.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
    /// Broker groups of the short form, every broker on a machine of its own.
    #[serde(rename = "group", skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupPlan>,
    /// Name servers of the long form.
    #[serde(rename = "name_server", skip_serializing_if = "Vec::is_empty")]
    pub namesrvs: Vec<NamesrvPlan>,
    /// Brokers of the long form.
    #[serde(rename = "broker", skip_serializing_if = "Vec::is_empty")]
    pub brokers: Vec<BrokerPlan>,
}

impl Default for ClusterPlan {
    fn default() -> Self {
        ClusterPlan {
            namesrv: None,
            link_latency: Millis(1),
            sync_latency: [Millis(1), Millis(4)],
            writeback_interval: Millis(5_000),
            disk_bytes: 64 << 30,
            hosts: BTreeMap::new(),
            properties: BTreeMap::new(),
            groups: Vec::new(),
            namesrvs: Vec::new(),
            brokers: Vec::new(),
        }
    }
}

/// A broker group of the short form: a master and its slaves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupPlan {
    /// `brokerName`; the processes are called `NAME`, `NAME-s`, `NAME-s2`, …
    pub name: String,
    /// `brokerRole` of the master; `DLEDGER` for a DLedger group, whose members elect theirs.
    pub role: String,
    /// `flushDiskType` of the master; of every member of a DLedger group.
    pub flush: String,
    /// Number of slaves.
    #[serde(default)]
    pub slaves: u32,
    /// Addresses of the machines of the master and of each slave, for groups that share some; those that
    /// are not named get a machine of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub machines: Vec<String>,
    /// `flushDiskType` of the slaves.
    #[serde(default = "default_slave_flush")]
    pub slave_flush: String,
}

/// The role of a group of the short form whose members elect their master.
const DLEDGER: &str = "DLEDGER";

impl GroupPlan {
    /// Whether its members elect their master.
    #[must_use]
    pub fn is_dledger(&self) -> bool {
        self.role == DLEDGER
    }
}

fn default_slave_flush() -> String {
    "ASYNC_FLUSH".to_owned()
}

/// A name server process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamesrvPlan {
    /// Process name.
    pub name: String,
    /// Address of its machine.
    pub address: String,
    /// `listenPort`.
    pub port: u16,
}

/// A broker process with its configuration as an operator writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerPlan {
    /// Process name; the stem of its `.properties` file.
    pub name: String,
    /// Address of its machine.
    pub address: String,
    /// The `.properties` entries.
    pub properties: BTreeMap<String, String>,
}

/// What a plan promises, and by when life goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckPlan {
    /// May acknowledged messages of the group under fault be lost?
    pub promise: Promise,
    /// Sum of bound terms (`lag`, `master_unflushed`, `slave_unflushed`, `first_master_unflushed`)
    /// for a `may` promise, e.g. `lag+slave_unflushed`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub bound: String,
    /// Within this time after the last heal or recovery sends are acknowledged again. `never`: not
    /// required (a story that ends without a writable master).
    #[serde(default = "default_sends_within", with = "duration::or_never")]
    pub sends_within: Option<Millis>,
    /// Within this time after the last heal replicas hold equal logs and dispatch lag is zero, or
    /// `never`.
    #[serde(default = "default_equal_within", with = "duration::or_never")]
    pub replicas_equal_within: Option<Millis>,
    /// The run counts only if it lost something: for stories that show what a switch costs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub expect_loss: bool,
    /// Checkers that must find something, in stories of upstream switches: their findings are what
    /// the switches cost, and the run counts only if each of them has some. All others must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub breaks: Vec<Checker>,
    /// Checkers that may find something there as well, and need not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub may_break: Vec<Checker>,
    /// Least count of send statuses (`SEND_OK`, `FLUSH_SLAVE_TIMEOUT`, …) and figures (`lost`,
    /// `skipped`, `duplicated`, `readable`) that must be seen.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub least: BTreeMap<String, u32>,
    /// The same the other way: no more than these.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub most: BTreeMap<String, u32>,
}

#[expect(clippy::unnecessary_wraps, reason = "serde wants the field's type")]
fn default_sends_within() -> Option<Millis> {
    Some(Millis(60_000))
}

#[expect(clippy::unnecessary_wraps, reason = "serde wants the field's type")]
fn default_equal_within() -> Option<Millis> {
    Some(Millis(60_000))
}

impl Plan {
    /// Sends that all workloads together want.
    #[must_use]
    pub fn messages(&self) -> u32 {
        self.workloads.iter().map(|work| work.messages).fold(0, u32::saturating_add)
    }

    /// `messageDelayLevel` of the brokers, RocketMQ's own where the plan names none.
    #[must_use]
    pub fn delay_levels(&self) -> DelayLevels {
        let own = self.cluster.properties.get("messageDelayLevel");
        own.and_then(|text| DelayLevels::parse(text).ok()).unwrap_or_default()
    }

    /// Clients that are away until an event starts them.
    #[must_use]
    pub fn latecomers(&self) -> BTreeSet<String> {
        let starts = self.events.iter().filter_map(|event| match &event.action {
            Action::Start { node } => Some(node.clone()),
            _ => None,
        });
        starts.collect()
    }

    /// Topics that are not there until an event makes them.
    #[must_use]
    pub fn late_topics(&self) -> BTreeSet<String> {
        let made = self.events.iter().filter_map(|event| match &event.action {
            Action::CreateTopic { topic, new: true, .. } => Some(topic.clone()),
            _ => None,
        });
        made.collect()
    }

    /// Whether an event deletes a topic.
    #[must_use]
    pub fn deletes(&self, topic: &str) -> bool {
        let deletes =
            |it: &EventPlan| matches!(&it.action, Action::DeleteTopic { topic: of } if of == topic);
        self.events.iter().any(deletes)
    }

    /// Whether an event has the members of a consumer group subscribe to something else.
    #[must_use]
    pub fn changes_filter(&self, group: &str) -> bool {
        let changes = |it: &EventPlan| matches!(&it.action, Action::Subscribe { group: of, .. } if of == group);
        self.events.iter().any(changes)
    }

    /// Reads a plan from TOML text.
    ///
    /// # Errors
    /// Syntax errors, unknown keys and contradictions, with the line where TOML knows it.
    pub fn parse(text: &str) -> Result<Plan, String> {
        let plan: Plan = toml::from_str(text).map_err(|error| error.to_string())?;
        plan.check_sense().map_err(|nonsense| nonsense.in_text(text))?;
        Ok(plan)
    }

    /// Refuses what no run can hold and what cannot be meant.
    ///
    /// # Errors
    /// The first such key.
    pub fn check_sense(&self) -> Result<(), Nonsense> {
        bounds::check(self)?;
        validate::check(self)
    }

    /// The plan as TOML text that [`Plan::parse`] reads back to an equal plan.
    ///
    /// # Panics
    /// Never: every field of a plan has a TOML form (a test round-trips generated plans).
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("a plan is plain data")
    }
}
