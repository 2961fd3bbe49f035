//! How producers of a workload send: delay levels that are drawn, bursts, requests.

use mq_store::delay_level::DelayLevels;
use serde::{Deserialize, Serialize};
use staticfire_judge::duration::Millis;

/// Delay levels of which each message has one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "delay levels are [0, 1, 2], where 0 is none, or \"every\"")]
pub enum DelayLevelsPlan {
    /// Every level that brokers have.
    Every(Every),
    /// These; 0 is none.
    Some(Vec<u32>),
}

/// The word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Every {
    /// `every`.
    Every,
}

impl DelayLevelsPlan {
    /// The levels, where brokers have `own`.
    #[must_use]
    pub fn levels(&self, own: &DelayLevels) -> Vec<u32> {
        match self {
            DelayLevelsPlan::Every(_) => (1..=own.delays_ms().len() as u32).collect(),
            DelayLevelsPlan::Some(levels) => levels.clone(),
        }
    }
}

/// From time to time producers send faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BurstPlan {
    /// From the begin of one burst to that of the next; the first one begins after this time.
    pub every: Millis,
    /// How long one lasts.
    pub lasts: Millis,
    /// Sends started per second and producer meanwhile.
    pub rate_per_second: u32,
}

/// Every message asks for a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RequestPlan {
    /// How long a producer waits, for acknowledgement and reply together.
    pub timeout: Millis,
}

impl Default for RequestPlan {
    /// As long as a send may take.
    fn default() -> Self {
        RequestPlan { timeout: Millis(3_000) }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands fields over by reference")]
pub(super) fn is_one(number: &u32) -> bool {
    *number == 1
}
