//! Under SYNC_FLUSH a message is consumable only once it is synced: what a consumer was given must
//! not be gone after a power loss. With a transient store pool it is consumable only once it is committed:
//! it must not be gone with the process.

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
    /// The page cache there holds the record.
    pub live: bool,
}

/// Judges one dispatch.
#[must_use]
pub fn check(visible: &Visible) -> Option<Violation> {
    let before = if !visible.live {
        "commit"
    } else if visible.sync_flush && !visible.durable {
        "sync"
    } else {
        return None;
    };
    let Visible { broker, phy_offset, .. } = visible;
    let text =
        format!("visible before the {before}: {broker} dispatched the record at {phy_offset}");
    Some(Violation::new(Checker::Visibility, text).at(visible.ordinal))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visible(sync_flush: bool, durable: bool) -> Visible {
        let broker = "a".to_owned();
        Visible { phy_offset: 40, ordinal: 3, broker, sync_flush, durable, live: true }
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
        let uncommitted = Visible { live: false, ..visible(false, false) };
        assert!(check(&uncommitted).unwrap().text.contains("before the commit"));
    }
}
