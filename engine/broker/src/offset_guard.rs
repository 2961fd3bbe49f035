//! Offsets that speak of messages which are not here: those of consumer groups, and of delay levels.
//!
//! Queue offsets are dense, so messages that a truncation took are followed by others with the same
//! offsets: a group whose offset stands beyond the queue's end would never get those. RocketMQ 4.9
//! leaves such offsets of groups alone (switch `offsets-beyond-end`); here they are moved to the end
//!
//! - when a master starts, after it took over what its slaves know,
//! - when a slave is about to follow a master, after its log was made the master's prefix. A slave
//!   that merely lags gets its offsets back with the next copy of the master's tables.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use futures::future::join_all;
use mq_env::BoxFuture;
use mq_env::probe::{Event, Probe};
use mq_protocol::codes::ResponseCode;
use mq_store::MessageStore;
use mq_store::config::UpstreamSwitch;
use mq_store::ha::HaService;
use mq_store::ha::prefix::shares_log;
use mq_store::plant::{Plant, planted_on_this_thread};

use crate::consumer_offset_manager::{ClampedOffset, ConsumerOffsetManager};
use crate::context::max_offset;
use crate::delay_offset_manager::DelayOffsetManager;
use crate::outer_api::{BrokerOuterApi, OuterError};

/// Limit of asking the slaves before a master serves its clients.
const ASK_SLAVES_TIMEOUT: Duration = Duration::from_secs(5);

/// Keeps consumer offsets within their queues.
pub(crate) struct OffsetGuard {
    store: Arc<MessageStore>,
    offsets: Arc<ConsumerOffsetManager>,
    delay_offsets: Arc<DelayOffsetManager>,
    probe: Probe,
    /// Replication, which owns what owns this guard.
    ha: OnceLock<Weak<HaService>>,
    /// The quarantines after which offsets were moved.
    seen_quarantines: AtomicUsize,
}

impl OffsetGuard {
    pub(crate) fn new(
        store: Arc<MessageStore>,
        offsets: Arc<ConsumerOffsetManager>,
        delay_offsets: Arc<DelayOffsetManager>,
        probe: Probe,
    ) -> Self {
        let (ha, seen_quarantines) = (OnceLock::new(), AtomicUsize::new(0));
        OffsetGuard { store, offsets, delay_offsets, probe, ha, seen_quarantines }
    }

    /// Tells the guard of a slave whom to ask whether it follows.
    pub(crate) fn watch(&self, ha: &Arc<HaService>) {
        let _ = self.ha.set(Arc::downgrade(ha));
    }

    /// A master starts: what its slaves know of consumer offsets counts, too, where they have the same log.
    /// Consumers may have gone on reading from them.
    pub(crate) async fn master_starts(&self, outer_api: &BrokerOuterApi) {
        if self.store.config().upstream(UpstreamSwitch::OffsetsNotMerged) {
            return self.clamp(true).await;
        }
        let asking = async {
            let slaves = outer_api.slave_addrs().await;
            join_all(slaves.iter().map(|slave| self.merge_from(outer_api, slave))).await;
        };
        if tokio::time::timeout(ASK_SLAVES_TIMEOUT, asking).await.is_err() {
            tracing::warn!("not every slave told its consumer offsets in time");
        }
        self.clamp(true).await;
    }

    async fn merge_from(&self, outer_api: &BrokerOuterApi, slave: &str) {
        let offsets = match self.has_same_log(outer_api, slave).await {
            Ok(true) => outer_api.all_consumer_offset(slave).await,
            Ok(false) => {
                tracing::warn!(
                    slave,
                    "this slave's consumer offsets speak of another log than this one"
                );
                return;
            }
            Err(error) => Err(error),
        };
        match offsets {
            Ok(offsets) => self.offsets.merge(offsets),
            Err(error) => tracing::info!(slave, %error, "no consumer offsets from this slave"),
        }
    }

    /// Whether a slave's log is this one, as far as either goes: offsets in another log would lead beyond
    /// messages of this one. A slave that cannot tell (RocketMQ's) is believed.
    async fn has_same_log(
        &self,
        outer_api: &BrokerOuterApi,
        slave: &str,
    ) -> Result<bool, OuterError> {
        if planted_on_this_thread(Plant::OffsetsOfAnotherLog) {
            return Ok(true);
        }
        let ask = |query| -> BoxFuture<'_, _> {
            Box::pin(async move { outer_api.check_log_prefix(slave, &query).await })
        };
        match shares_log(self.store.commit_log(), ask).await {
            Err(OuterError::Refused { code: ResponseCode::REQUEST_CODE_NOT_SUPPORTED, .. }) => {
                Ok(true)
            }
            answer => answer,
        }
    }

    /// A master answered a slave's question about its log. Unless the slave follows already, it
    /// soon will.
    pub(crate) async fn slave_compared(&self) {
        let Some(ha) = self.ha.get().and_then(Weak::upgrade) else { return };
        if ha.is_following() {
            return;
        }
        let quarantines = ha.quarantines().len();
        let is_truncated = self.seen_quarantines.swap(quarantines, Ordering::Relaxed) < quarantines;
        self.clamp(is_truncated).await;
    }

    /// Moves offsets to the ends of their queues, and writes that down before anything can fill
    /// the gap. With `reports`, the groups are named: they may have skipped messages.
    async fn clamp(&self, reports: bool) {
        self.delay_offsets.clamp(&self.store).await;
        if self.store.config().upstream(UpstreamSwitch::OffsetsBeyondEnd)
            || planted_on_this_thread(Plant::OffsetsNotLowered)
        {
            return;
        }
        let queue_end = |topic: &str, queue_id| max_offset(&self.store, topic, queue_id);
        let clamped = self.offsets.clamp(queue_end);
        if clamped.is_empty() {
            return;
        }
        if reports {
            self.report(&clamped);
        } else {
            tracing::info!(count = clamped.len(), "offsets beyond this slave's log were lowered");
        }
        if !planted_on_this_thread(Plant::OffsetsLoweredInMemory)
            && let Err(error) = self.offsets.persist().await
        {
            tracing::error!(%error, "lowered consumer offsets cannot be written");
        }
    }

    fn report(&self, clamped: &[ClampedOffset]) {
        let mut by_group: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for ClampedOffset { group, topic, queue_id, from, to } in clamped {
            let moved = format!("{topic}-{queue_id} from {from} to {to}");
            by_group.entry(group).or_default().push(moved);
            let (Ok(from), Ok(to)) = (u64::try_from(*from), u64::try_from(*to)) else { continue };
            let Ok(queue_id) = u32::try_from(*queue_id) else { continue };
            self.probe.emit(&Event::OffsetClamped { group, topic, queue_id, from, to });
        }
        for (group, moved) in by_group {
            tracing::warn!(
                group,
                "the log ends before offsets of this group, which may have skipped messages; \
                 moved: {}",
                moved.join(", ")
            );
        }
    }
}
