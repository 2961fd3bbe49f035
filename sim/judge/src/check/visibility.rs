//! Under SYNC_FLUSH a message is consumable only once it is synced: what a consumer was given must
//! not be gone after a power loss. With a transient store pool it is consumable only once it is committed:
//! it must not be gone with the process.

use mq_protocol::ack_rule::Held;

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
    /// How the broker's copy holds what it acknowledges: what consumers see is held no worse.
    pub promised: Held,
    /// How it holds the record.
    pub held: Held,
}

/// Judges one dispatch.
#[must_use]
pub fn check(visible: &Visible) -> Option<Violation> {
    let before = match visible.held {
        Held::Process => "commit",
        held if held < visible.promised => "sync",
        Held::PageCache | Held::Platter => return None,
    };
    let Visible { broker, phy_offset, .. } = visible;
    let text =
        format!("visible before the {before}: {broker} dispatched the record at {phy_offset}");
    Some(Violation::new(Checker::Visibility, text).at(visible.ordinal))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visible(promised: Held, held: Held) -> Visible {
        let broker = "a".to_owned();
        Visible { phy_offset: 40, ordinal: 3, broker, promised, held }
    }

    #[test]
    fn clean_dispatches_pass() {
        assert_eq!(check(&visible(Held::Platter, Held::Platter)), None);
        let at_once = visible(Held::PageCache, Held::PageCache);
        assert_eq!(check(&at_once), None, "ASYNC_FLUSH shows at once");
        assert_eq!(check(&visible(Held::Process, Held::PageCache)), None);
    }

    #[test]
    fn a_doctored_dispatch_is_found() {
        let violation = check(&visible(Held::Platter, Held::PageCache)).unwrap();
        assert_eq!((violation.checker, violation.ordinal), (Checker::Visibility, Some(3)));
        for promised in [Held::Process, Held::PageCache, Held::Platter] {
            let uncommitted = visible(promised, Held::Process);
            assert!(check(&uncommitted).unwrap().text.contains("before the commit"));
        }
    }
}
