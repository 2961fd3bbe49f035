//! [`RunReport`]: the outcome of one run, as tables and `--json` show it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Version of the JSON objects; raised when a field changes its meaning or goes.
pub const SCHEMA_VERSION: u32 = 2;

/// What a run proves. Of several findings the gravest decides, so they are declared by weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Every promise was kept (permitted loss included).
    #[default]
    Kept,
    /// The run shows nothing: a fault never bit, nothing was acknowledged, or nothing was synced.
    Vacuous,
    /// A limit of the simulation was met before the question was answered.
    Undecided,
    /// A promise was broken.
    Broken,
    /// The plan cannot be carried out.
    BadInput,
    /// Staticfire contradicts itself: nothing that it says of this run counts.
    OwnFault,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Kept => "kept",
            Verdict::Vacuous => "vacuous",
            Verdict::Undecided => "undecided",
            Verdict::Broken => "BROKEN",
            Verdict::BadInput => "bad input",
            Verdict::OwnFault => "fault of Staticfire",
        })
    }
}

/// Something to be said about a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The verdict that it alone would bring about; `kept` for what a story was to show.
    pub verdict: Verdict,
    /// One line.
    pub text: String,
}

impl Finding {
    /// A finding.
    #[must_use]
    pub fn new(verdict: Verdict, text: impl Into<String>) -> Self {
        Finding { verdict, text: text.into() }
    }

    /// The verdict of a run with these findings.
    #[must_use]
    pub fn decide(findings: &[Finding]) -> Verdict {
        findings.iter().map(|it| it.verdict).max().unwrap_or(Verdict::Kept)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.verdict {
            Verdict::Broken => f.write_str(&self.text),
            Verdict::Kept => write!(f, "shown: {}", self.text),
            verdict => write!(f, "{verdict}: {}", self.text),
        }
    }
}

/// A lost message and why, in one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostKey {
    /// The message's key.
    pub key: String,
    /// Why it is gone.
    pub reason: String,
    /// Whether the mode permits it.
    pub permitted: bool,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunReport {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Title of the plan (matrix rows: the row's id).
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// Effective mode of the group under fault.
    pub mode: String,
    /// The faults in order.
    pub fault: String,
    /// What was done about them.
    pub recovery: String,
    /// The verdict.
    pub verdict: Verdict,
    /// Broken promises, why the run proves less than it was to, and what a story was to show.
    pub findings: Vec<Finding>,
    /// Sends started.
    pub sent: u32,
    /// Sends acknowledged.
    pub acked: u32,
    /// Sends whose outcome is open.
    pub unknown: u32,
    /// Deliveries to the existing group.
    pub delivered: u32,
    /// Acknowledged messages that are gone.
    pub lost: u32,
    /// Acknowledged messages that a store removed for their age or for space; left out where none is.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub expired: u32,
    /// Acknowledged messages that were deleted with their topic; left out where none is.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub deleted: u32,
    /// Acknowledged, stored, and never given to the existing group.
    pub skipped: u32,
    /// Messages that a consumer group passed over because an operator had it go on behind them; left out where none is.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub passed_over: u32,
    /// Deliveries of a message beyond the first that nobody had asked for.
    pub duplicated: u32,
    /// Deliveries that a consumer group had asked for by giving the message back; left out where none is, as the
    /// next two are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub redelivered: u32,
    /// Messages that were given back and that a fault took before they came again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub redelivery_lost: u32,
    /// Messages that became dead letters.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dead_letters: u32,
    /// How often a queue went from one member of a consumer group to another; left out where none did, as the next.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub queue_moves: u32,
    /// How often one did though nobody had come or gone.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub needless_moves: u32,
    /// The lost messages.
    pub lost_keys: Vec<LostKey>,
    /// Faults that took effect.
    pub bitten: Vec<String>,
    /// Age of the oldest lost message at the fault that took it, milliseconds.
    pub rpo_ms: u64,
    /// Longest time from a fault to the next acknowledgement, milliseconds; `None`: never again.
    pub unavailable_ms: Option<u64>,
    /// Simulated time of the run, milliseconds.
    pub sim_ms: u64,
    /// Real time of the run, milliseconds; the only field that differs between two runs of a seed.
    pub wall_ms: u64,
    /// Digest of the whole trace.
    pub trace_digest: String,
    /// A command that runs this again.
    pub repro: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands fields over by reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl RunReport {
    /// The report as one line of JSON.
    ///
    /// # Panics
    /// Never: a report is plain data.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a report is plain data")
    }

    /// The report without what the run cost in real time: two runs of a seed have equal ones.
    #[must_use]
    pub fn without_wall_time(&self) -> Self {
        RunReport { wall_ms: 0, ..self.clone() }
    }
}
