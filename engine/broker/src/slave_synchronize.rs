//! [`SlaveSynchronize`]: a slave copies its master's tables: topics, consumer offsets, delay
//! offsets, consumer groups (RocketMQ 4.9 `SlaveSynchronize`).
//!
//! Only from a master that it follows and that still has the end of its log: a master that came
//! back blank, or is refused, never empties a slave. Of two consumer offsets the greater one stays.
//!
//! A delay offset says that messages before it are delivered; the slave takes it over once its own
//! log has what was delivered, durably. Promoted before that, it delivers again what it may lack.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use mq_env::plant::{Plant, planted_on_this_thread};
use mq_protocol::body::offset_table::{
    ConsumerOffsetSerializeWrapper, DelayOffsetSerializeWrapper,
};
use mq_store::config::UpstreamSwitch;
use mq_store::ha::prefix::PrefixError;
use tokio::time::Instant;

use crate::context::BrokerContext;
use crate::lock;
use crate::outer_api::OuterError;
use crate::replicated_tables::ReplicatedTables;

/// Time from the start to the first copy.
const FIRST_DELAY: Duration = Duration::from_secs(3);
/// Time between two copies.
const INTERVAL: Duration = Duration::from_secs(10);

/// Copies tables as long as this broker is a slave.
pub(crate) struct SlaveSynchronize {
    context: Arc<BrokerContext>,
    delayed: Option<DelayOffsets>,
}

/// A master's delay offsets that wait for this slave's log.
struct DelayOffsets {
    table: DelayOffsetSerializeWrapper,
    /// End of the master's log after they were told: what they say is delivered lies below.
    log_end: u64,
    /// How often this slave's log had been cut by then.
    quarantines: usize,
}

/// Why tables are not copied.
#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error(transparent)]
    Fetch(#[from] OuterError),
    #[error(transparent)]
    Confirm(#[from] PrefixError),
    #[error("the master no longer has the end of this slave's log")]
    OtherLog,
    #[error("the master's {0} are blank")]
    Blank(&'static str),
    #[error("a topic was deleted while the offsets were asked for")]
    DeletedMeanwhile,
    #[error(transparent)]
    Disk(#[from] io::Error),
}

impl SlaveSynchronize {
    pub(crate) fn new(context: Arc<BrokerContext>) -> Self {
        SlaveSynchronize { context, delayed: None }
    }

    /// Copies again and again.
    pub(crate) async fn run(mut self) {
        tokio::time::sleep(FIRST_DELAY).await;
        loop {
            let next = Instant::now() + INTERVAL;
            let master = lock(&self.context.master_addr).clone();
            let asks = self.context.is_following() && !ReplicatedTables::are_there(&self.context);
            if let Some(master) = master.filter(|_| asks)
                && let Err(error) = self.copy_from(&master).await
            {
                tracing::warn!(master, %error, "the master's tables are not copied");
            }
            tokio::time::sleep_until(next).await;
        }
    }

    /// Fetches every table, asks whether the master is still the one that is followed, and only
    /// then takes them over.
    async fn copy_from(&mut self, master: &str) -> Result<(), SyncError> {
        let context = &self.context;
        let api = &context.outer_api;
        let deleted_before = context.store.topics_deleted();
        let topics = api.all_topic_config(master).await?;
        let offsets = api.all_consumer_offset(master).await?;
        let delay_offsets = api.all_delay_offset(master).await?;
        let log_end = api.commit_log_max_offset(master).await?;
        let groups = api.all_subscription_group_config(master).await?;
        // Whom a group follows has every committed entry.
        let is_confirmed = match &context.dledger {
            Some(_) => context.is_following(),
            None => context.ha.confirm_master().await?,
        };
        if !is_confirmed {
            return Err(SyncError::OtherLog);
        }
        let queues = context.store.consume_queues();
        let has_queues = |topic: &str| !queues.queue_ids(topic).is_empty();
        if !context.topics.adopt(topics, has_queues).await? {
            return Err(SyncError::Blank("topics"));
        }
        if context.store.topics_deleted() != deleted_before {
            // They may be of the topic that was.
            return Err(SyncError::DeletedMeanwhile);
        }
        let with_offsets: BTreeSet<String> = groups_of(&offsets);
        if context.store.config().upstream(UpstreamSwitch::OffsetsNotMerged) {
            context.offsets.overwrite(offsets);
        } else {
            context.offsets.merge(offsets);
        }
        let quarantines = context.ha.quarantines().len();
        // Those of the last time first: under traffic the log is never as long as the master's.
        self.adopt_delay_offsets(quarantines).await?;
        if self.delayed.is_none() && !delay_offsets.offset_table.is_empty() {
            self.delayed = Some(DelayOffsets { table: delay_offsets, log_end, quarantines });
            self.adopt_delay_offsets(quarantines).await?;
        }
        let context = &self.context;
        let gone = context.groups.missing_in(&groups);
        if !context.groups.adopt(groups, |group| with_offsets.contains(group)).await? {
            return Err(SyncError::Blank("consumer groups"));
        }
        // Deleted on the master with what they had committed: of two offsets the greater one would stay.
        for group in gone.iter().filter(|group| !with_offsets.contains(*group)) {
            context.offsets.remove_group(group);
        }
        Ok(())
    }

    /// Takes over the delay offsets that wait, once what they speak of is durable here.
    async fn adopt_delay_offsets(&mut self, quarantines: usize) -> io::Result<()> {
        let log = self.context.store.commit_log();
        let flushed = log.flushed_offset();
        if self.delayed.as_ref().is_some_and(|waiting| waiting.quarantines != quarantines) {
            self.delayed = None;
        }
        let at_once = planted_on_this_thread(Plant::DelayCursorCopiedAtOnce);
        match self.delayed.take_if(|waiting| at_once || waiting.log_end <= flushed) {
            Some(waiting) => self.context.delay_offsets.adopt(waiting.table).await,
            None => Ok(()),
        }
    }
}

/// The groups that have offsets, by the keys of the table: `topic@group`.
fn groups_of(offsets: &ConsumerOffsetSerializeWrapper) -> BTreeSet<String> {
    let keys = offsets.offset_table.keys();
    keys.filter_map(|key| Some(key.split_once('@')?.1.to_owned())).collect()
}
