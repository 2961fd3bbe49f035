//! [`ConsumerGroupPlan`]: who consumes, how long a listener takes, and what it fails at.

use serde::{Deserialize, Serialize};
use staticfire_judge::duration::Millis;

use super::filter::FilterPlan;

/// `maxReconsumeTimes` of a consumer that names none.
const RECONSUME_TIMES_MAX: u32 = 16;

/// A consumer group that is there from before the first send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsumerGroupPlan {
    /// Its name, with which the names of its processes begin.
    pub name: String,
    /// Its members, each a process on a machine of its own.
    #[serde(default = "one")]
    pub consumers: u32,
    /// What a listener takes for a message.
    #[serde(default, skip_serializing_if = "is_instant")]
    pub consume_time: Millis,
    /// Queues are consumed in order, each by the one member that has its lock.
    #[serde(default, skip_serializing_if = "is_false")]
    pub orderly: bool,
    /// Listeners stand behind the idempotence kit, which knows the keys that the group has consumed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub idempotent: bool,
    /// Each member gets every message, and keeps by itself how far it is.
    #[serde(default, skip_serializing_if = "is_false")]
    pub broadcast: bool,
    /// Its members poll (lite pull) instead of being called.
    #[serde(default, skip_serializing_if = "is_false")]
    pub lite_pull: bool,
    /// Of members that poll: whether a poll commits what earlier ones gave. Otherwise they commit what they have
    /// consumed before they poll again.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub auto_commit: bool,
    /// What its listeners give back (`RECONSUME_LATER`, in order `SUSPEND_CURRENT_QUEUE_A_MOMENT`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fails: Option<FailurePlan>,
    /// What it wants of the topic; everything where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<FilterPlan>,
    /// `maxReconsumeTimes`: redeliveries before a message becomes a dead letter.
    #[serde(default = "times_max", skip_serializing_if = "is_times_max")]
    pub max_reconsume_times: u32,
}

/// Messages that listeners fail at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailurePlan {
    /// Share of the messages, in percent.
    pub percent: u32,
    /// How often each of them is given back before a listener is done with it.
    pub times: u32,
}

impl ConsumerGroupPlan {
    /// A group whose listeners are done with everything at once.
    #[must_use]
    pub fn new(name: String, consumers: u32) -> Self {
        ConsumerGroupPlan {
            name,
            consumers,
            consume_time: Millis(0),
            orderly: false,
            broadcast: false,
            idempotent: false,
            lite_pull: false,
            auto_commit: true,
            fails: None,
            filter: None,
            max_reconsume_times: RECONSUME_TIMES_MAX,
        }
    }

    /// Most redeliveries of one message that its listeners ask for.
    #[must_use]
    pub fn redeliveries_max(&self) -> u32 {
        self.fails.map_or(0, |fails| fails.times.min(self.max_reconsume_times))
    }
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands fields over by reference")]
fn is_true(flag: &bool) -> bool {
    *flag
}

fn one() -> u32 {
    1
}

fn times_max() -> u32 {
    RECONSUME_TIMES_MAX
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands fields over by reference")]
pub(super) fn is_times_max(times: &u32) -> bool {
    *times == RECONSUME_TIMES_MAX
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands fields over by reference")]
pub(super) fn is_false(flag: &bool) -> bool {
    !*flag
}

fn is_instant(time: &Millis) -> bool {
    time.0 == 0
}
