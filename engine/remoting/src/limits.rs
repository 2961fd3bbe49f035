//! What a server holds for its peers at most: per connection ([`Limits`]) and over all of them ([`Budget`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::channel::{Channel, ChannelId};
use crate::error::CloseReason;
use crate::server::RemotingServerConfig;

/// How much of a bounded thing there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// How much.
    pub count: usize,
    /// How much there may be.
    pub max: usize,
}

/// The limits of one connection, and the budgets that it shares with others.
#[derive(Clone)]
pub(crate) struct Limits {
    pub(crate) channel_max_idle: Duration,
    pub(crate) out_high_water_bytes: usize,
    pub(crate) out_bytes_max: usize,
    pub(crate) requests_in_work_max: usize,
    pub(crate) in_work_bytes_max: usize,
    /// Replies that were made and not yet written.
    pub(crate) out_budget: Arc<Budget>,
    /// Frames of which a part has arrived.
    pub(crate) partial_budget: Arc<Budget>,
}

impl Limits {
    /// Of each connection of a server.
    pub(crate) fn of_server(config: &RemotingServerConfig) -> Self {
        let patience = Duration::from_millis(config.budget_patience_ms);
        Limits {
            channel_max_idle: Duration::from_secs(config.channel_max_idle_seconds),
            out_high_water_bytes: config.channel_out_high_water_bytes,
            out_bytes_max: config.channel_out_bytes_max,
            requests_in_work_max: config.channel_requests_in_work_max,
            in_work_bytes_max: config.channel_in_work_bytes_max,
            out_budget: Budget::new("unread replies", config.out_bytes_max, patience),
            partial_budget: Budget::new(
                "unfinished frames",
                config.partial_frame_bytes_max,
                patience,
            ),
        }
    }

    /// Of a connection that this side opened: what a server may hold is its own business.
    pub(crate) fn of_client(channel_max_idle: Duration) -> Self {
        let unbounded = Budget::new("client", usize::MAX, Duration::MAX);
        Limits {
            channel_max_idle,
            out_bytes_max: usize::MAX,
            out_budget: Arc::clone(&unbounded),
            partial_budget: unbounded,
            ..Limits::of_server(&RemotingServerConfig::default())
        }
    }
}

/// Bytes that all connections of a server may hold together.
///
/// When they hold more, whoever wants to go on makes room first: the connection that has held its bytes
/// longest is closed, unless that is less than the patience. Who holds little goes on meanwhile.
pub(crate) struct Budget {
    what: &'static str,
    bytes_max: usize,
    patience: Duration,
    held_bytes: AtomicUsize,
    holders: Mutex<Holders>,
}

#[derive(Default)]
struct Holders {
    by_channel: BTreeMap<ChannelId, Holder>,
    oldest_first: BTreeSet<(Instant, ChannelId)>,
}

struct Holder {
    channel: Channel,
    bytes: usize,
    since: Instant,
}

impl Budget {
    pub(crate) fn new(what: &'static str, bytes_max: usize, patience: Duration) -> Arc<Self> {
        let (held_bytes, holders) = Default::default();
        Arc::new(Budget { what, bytes_max, patience, held_bytes, holders })
    }

    /// Bytes held in all.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// Bytes held in all, and how many may be.
    pub(crate) fn used(&self) -> Used {
        Used { count: self.held_bytes(), max: self.bytes_max }
    }

    /// Whether more is held than should be.
    pub(crate) fn is_exceeded(&self) -> bool {
        self.held_bytes() > self.bytes_max
    }

    /// Whether twice as much is held: then nobody goes on.
    pub(crate) fn is_far_exceeded(&self) -> bool {
        self.held_bytes() / 2 > self.bytes_max
    }

    /// `channel` holds `bytes` now; since when counts anew from its first byte, or if it `progressed`.
    pub(crate) fn hold(&self, channel: &Channel, bytes: usize, progressed: bool) {
        let mut holders = self.holders();
        let old = holders.remove(channel.id());
        let now = Instant::now();
        let since = old.as_ref().filter(|_| !progressed).map_or(now, |old| old.since);
        if bytes > 0 {
            holders.insert(Holder { channel: channel.clone(), bytes, since });
        }
        let old_bytes = old.map_or(0, |old| old.bytes);
        self.count(old_bytes, bytes);
    }

    /// Closes who has held its bytes longest and longer than the patience, until the rest fits.
    pub(crate) fn make_room(&self) {
        while self.is_exceeded() {
            let mut holders = self.holders();
            let Some(&(since, id)) = holders.oldest_first.first() else { return };
            if since.elapsed() < self.patience {
                return;
            }
            let Some(holder) = holders.remove(id) else { return };
            self.count(holder.bytes, 0);
            drop(holders);
            let (what, held_bytes) = (self.what, holder.bytes);
            holder.channel.close_because(CloseReason::Budget { what, held_bytes });
        }
    }

    fn count(&self, old_bytes: usize, bytes: usize) {
        self.held_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.held_bytes.fetch_sub(old_bytes, Ordering::Relaxed);
    }

    fn holders(&self) -> MutexGuard<'_, Holders> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Holders {
    fn insert(&mut self, holder: Holder) {
        let id = holder.channel.id();
        self.oldest_first.insert((holder.since, id));
        self.by_channel.insert(id, holder);
    }

    fn remove(&mut self, id: ChannelId) -> Option<Holder> {
        let holder = self.by_channel.remove(&id)?;
        self.oldest_first.remove(&(holder.since, id));
        Some(holder)
    }
}
