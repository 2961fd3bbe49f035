//! Rules: exact faults on single segments, decided by what is in them.

use std::net::SocketAddr;

use super::MachineId;

/// A segment with data that is about to be delivered.
#[derive(Clone, Copy, Debug)]
pub struct SegmentInfo<'a> {
    /// Number of the connection within the run.
    pub conn: u64,
    /// The machine it comes from.
    pub from: MachineId,
    /// The machine it goes to.
    pub to: MachineId,
    /// Address and port of the sender.
    pub from_addr: SocketAddr,
    /// Address and port of the receiver.
    pub to_addr: SocketAddr,
    /// Its bytes: what one `write` gave. While a rule is installed writes are not merged.
    pub bytes: &'a [u8],
}

/// What becomes of a segment. The first rule (in order of installation) that does not say `Pass`
/// decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Delivered.
    Pass,
    /// Delivered this much later, and all that follows in its direction after it.
    DelayMs(u64),
    /// Not delivered; both sides see a reset (a middlebox that drops its state).
    ResetConnection,
    /// The first bytes are delivered, then both sides see a reset.
    CutAfter(usize),
    /// Neither it nor anything after it in its direction arrives: the sender times out after the
    /// retry budget, the receiver waits.
    Stall,
}

/// Decides on segments; closures implement it. It runs inside the network: it must not touch the
/// world, the network or the trace.
pub trait Rule: Send {
    /// The verdict on one segment, asked once per segment.
    fn judge(&mut self, segment: &SegmentInfo<'_>) -> Verdict;
}

impl<F: FnMut(&SegmentInfo<'_>) -> Verdict + Send> Rule for F {
    fn judge(&mut self, segment: &SegmentInfo<'_>) -> Verdict {
        self(segment)
    }
}

/// Names an installed rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleId(pub(super) u64);
