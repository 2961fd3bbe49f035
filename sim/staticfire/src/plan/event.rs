//! What happens in a plan and when: [`EventPlan`], [`Trigger`].

use serde::{Deserialize, Serialize};
use staticfire_judge::duration::Millis;

use super::action::Action;

/// What an event may come after that is no event: the first send.
pub const START: &str = "start";

/// One event: a time or a trigger, and an action. An event with a time comes at that time, whatever else goes
/// on. One with a trigger waits first for the event before it in the list, or for what it names in `after`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventPlan {
    /// Its name, for others that wait until it was carried out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Counted from the first send. Either this is given or `when`, `after` or both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Millis>,
    /// Name of the event or disturbance that must be over first, or [`START`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// A condition instead of a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Trigger>,
    /// Waits this long after the trigger.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub delay: Millis,
    /// What is done.
    #[serde(rename = "do")]
    pub action: Action,
}

impl EventPlan {
    /// `action`, when the trigger fires.
    #[must_use]
    pub fn when(trigger: Trigger, action: Action) -> Self {
        let when = Some(trigger);
        EventPlan { name: String::new(), at: None, after: None, when, delay: Millis(0), action }
    }

    /// What must be over before this event, the `index`th of the list, looks at its trigger: with one that is
    /// the event before it, unless it names another.
    #[must_use]
    pub fn awaits(&self, index: usize) -> Awaited<'_> {
        match &self.after {
            Some(after) if after == START => Awaited::Nothing,
            Some(after) => Awaited::Named(after),
            None if self.at.is_some() => Awaited::Nothing,
            None => index.checked_sub(1).map_or(Awaited::Nothing, Awaited::Event),
        }
    }

    /// The same, this long after the trigger.
    #[must_use]
    pub fn delayed(mut self, delay: Millis) -> Self {
        self.delay = delay;
        self
    }
}

/// What an event waits for first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited<'a> {
    /// Nothing but its time or its trigger.
    Nothing,
    /// The event at this place of the list.
    Event(usize),
    /// The event or disturbance of this name.
    Named(&'a str),
}

fn is_zero(delay: &Millis) -> bool {
    delay.0 == 0
}

/// A condition over the trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Trigger {
    /// This many messages were acknowledged.
    Acks(u32),
    /// This many messages were acknowledged since the previous event of the list was carried out.
    AcksSincePrevious(u32),
    /// After this many acknowledgements, at the instant of the next one whose record no slave of
    /// the group holds yet.
    UnreplicatedAckAfter(u32),
    /// The previous event of the list has been carried out.
    Previous,
    /// The named process began its recovery after a restart.
    Recovering(String),
    /// The named slave counts as connected with its master.
    SlaveConnected(String),
    /// The slaves of the named group hold what their master holds.
    Replicated(String),
    /// All sends of the workload have an outcome.
    SendsDone,
}
