//! Where logs say that topics were deleted: what was acknowledged of that, for the judge.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Ledger;

/// A deletion of a topic that a store acknowledged to its broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AckedDeletion {
    /// The topic.
    pub topic: Arc<str>,
    /// First byte of its record.
    pub phy_offset: u64,
    /// Ordinal of the trace event of the acknowledgement.
    pub ordinal: u64,
}

/// By broker group, in the order of the trace.
pub(super) type Deletions = BTreeMap<Arc<str>, Vec<AckedDeletion>>;

impl Ledger {
    /// The deletions that the stores of a group acknowledged.
    #[must_use]
    pub fn deletions(&self, group: &str) -> Vec<AckedDeletion> {
        self.lock().deletions.get(group).cloned().unwrap_or_default()
    }

    /// When the record that lies at `phy_offset` of a group's log came there, in simulated microseconds.
    #[must_use]
    pub fn appended_us(&self, group: &str, phy_offset: u64) -> Option<u64> {
        Some(self.lock().appended.get(group)?.get(&phy_offset)?.at_us)
    }
}
