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
}

impl Subscribed {
    /// Whether a message that was sent at `sent_us` may have come to a member by this filter at `at_us`.
    #[must_use]
    pub fn may_have_held(&self, sent_us: u64, at_us: u64) -> bool {
        self.from_us <= at_us && self.until_us.is_none_or(|until_us| sent_us <= until_us)
    }
}
