//! How the network behaves where no fault says otherwise: [`NetProfile`], [`LinkProfile`].

/// A directed link between two machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkProfile {
    /// One-way latency, whole milliseconds (the granularity of tokio's timers).
    pub latency_ms: u64,
    /// Up to this much is added to each segment, drawn evenly; order inside a direction is kept.
    pub jitter_ms: u64,
    /// Bytes per second, `None` for unlimited.
    pub bandwidth_bytes_per_s: Option<u64>,
    /// How many of a million segments are lost, each costing a retransmission timeout.
    pub loss_per_million: u32,
}

impl LinkProfile {
    /// A link of `latency_ms` without jitter, limit or loss.
    #[must_use]
    pub fn latency(latency_ms: u64) -> Self {
        LinkProfile { latency_ms, jitter_ms: 0, bandwidth_bytes_per_s: None, loss_per_million: 0 }
    }
}

/// The network of a world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetProfile {
    /// Every link between two machines, unless it is changed with `set_link`.
    pub link: LinkProfile,
    /// Bytes a connection holds per direction between `write` and `read`: socket buffers of both
    /// sides and what is under way.
    pub window_bytes: usize,
    /// How long unanswered bytes, or an unanswered connect, are retried before `TimedOut`. Linux
    /// takes about 15 minutes and 2 minutes; simulated stories are shorter.
    pub retry_budget_ms: u64,
    /// First retransmission timeout of a lost segment; doubles (Linux: at least 200 ms).
    pub retransmit_ms: u64,
    /// One read in this many returns fewer bytes than there are; 0 for none.
    pub short_read_one_in: u32,
}

impl Default for NetProfile {
    fn default() -> Self {
        NetProfile {
            link: LinkProfile::latency(1),
            window_bytes: 256 * 1024,
            retry_budget_ms: 15_000,
            retransmit_ms: 200,
            short_read_one_in: 8,
        }
    }
}
