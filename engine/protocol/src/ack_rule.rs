//! [`AckRule`]: what the status SEND_OK says: which copies of the log hold the record, and how.
//!
//! `flushDiskType`, `brokerRole`, the transient store pool and the message's own `WAIT` say which rule is in
//! force; whoever acknowledges waits for it, and whoever judges an acknowledgement asks for it.

/// How a copy holds bytes; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Held {
    /// In the memory of its process (transient store pool): a kill takes them, and nobody reads them yet.
    Process,
    /// In its page cache: they survive the process, not a power loss.
    PageCache,
    /// On its platter: synced, so that they survive a power loss.
    Platter,
}

/// What an acknowledgement rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckRule {
    /// How the copy of whoever acknowledges holds the record. A slave acknowledges to its master, with its
    /// reports.
    pub own: Held,
    /// So many other copies have received it. Each says so when it holds it as its own rule has it.
    pub other_copies: usize,
    /// Any copies of so many will do, without that of whoever acknowledges as well: a quorum of a DLedger group.
    pub any_copies: bool,
}

impl AckRule {
    /// A quorum of a group of so many `members`: more than half of the copies hold the record so.
    #[must_use]
    pub fn quorum_of(members: usize, held: Held) -> Self {
        AckRule { own: held, other_copies: members / 2, any_copies: true }
    }

    /// Whether the acknowledgement waits for a sync here.
    #[must_use]
    pub fn waits_for_sync(&self) -> bool {
        self.own == Held::Platter
    }

    /// Whether it waits for other copies.
    #[must_use]
    pub fn waits_for_copies(&self) -> bool {
        self.other_copies > 0
    }
}
