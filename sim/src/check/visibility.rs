//! Under SYNC_FLUSH a message is consumable only once it is synced: what a consumer was given must
//! not be gone after a power loss.

use super::{Checker, Violation};

/// A record that became visible, with what the disk held at that instant.
#[derive(Clone, Debug)]
pub struct Visible {
    /// First byte of the record.
    pub phy_offset: u64,
    /// Ordinal of the trace event of its dispatch.
    pub ordinal: u64,
    /// Process that dispatched it.
    pub broker: String,
    /// The broker runs with SYNC_FLUSH.
    pub sync_flush: bool,
    /// The record survives power loss there.
    pub durable: bool,
}

/// Judges one dispatch.
#[must_use]
pub fn check(visible: &Visible) -> Option<Violation> {
    (visible.sync_flush && !visible.durable).then(|| {
        let text = format!(
            "visible before the sync: {} dispatched the record at {}",
            visible.broker, visible.phy_offset
        );
        Violation::new(Checker::Visibility, text).at(visible.ordinal)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visible(sync_flush: bool, durable: bool) -> Visible {
        Visible { phy_offset: 40, ordinal: 3, broker: "a".to_owned(), sync_flush, durable }
    }

    #[test]
    fn clean_dispatches_pass() {
        assert_eq!(check(&visible(true, true)), None);
        assert_eq!(check(&visible(false, false)), None, "ASYNC_FLUSH shows at once");
    }

    #[test]
    fn a_doctored_dispatch_is_found() {
        let violation = check(&visible(true, false)).unwrap();
        assert_eq!((violation.checker, violation.ordinal), (Checker::Visibility, Some(3)));
    }
}
