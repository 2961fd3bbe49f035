//! What a consumer group subscribed to for a while.

use std::collections::BTreeSet;

/// A filter of a consumer group that changed it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscribed {
    /// Simulated microseconds from when on it may have held: somebody began to ask for it.
    pub from_us: u64,
    /// Until when it may have held: everybody asks for another one, and nothing that was asked for before is under
    /// way. `None` while that is not known.
    pub until_us: Option<u64>,
    /// Numbers of messages that it does not let pass.
    pub refused: BTreeSet<u32>,
    /// Whether it is an expression over properties, which brokers may ask of what was given back as well
    /// (`filterSupportRetry`). Of tags they do not.
    pub by_properties: bool,
}

impl Subscribed {
    /// Whether brokers that ask it of retries may have kept from its group what this gave back at `given_back_us`.
    #[must_use]
    pub fn may_keep_back(&self, number: u32, given_back_us: u64) -> bool {
        let may_hold = self.until_us.is_none_or(|until_us| given_back_us <= until_us);
        self.by_properties && may_hold && self.refused.contains(&number)
    }

    /// Whether a message that was sent at `sent_us` may have come to a member by this filter at `at_us`.
    #[must_use]
    pub fn may_have_held(&self, sent_us: u64, at_us: u64) -> bool {
        self.from_us <= at_us && self.until_us.is_none_or(|until_us| sent_us <= until_us)
    }
}
