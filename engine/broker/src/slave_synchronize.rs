//! [`SlaveSynchronize`]: a slave copies its master's tables: topics, consumer offsets, delay
//! offsets, consumer groups (RocketMQ 4.9 `SlaveSynchronize`).
//!
//! Only from a master that it follows and that still has the end of its log: a master that came
//! back blank, or is refused, never empties a slave. Of two offsets the greater one stays.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mq_store::ha::prefix::PrefixError;
use mq_store::metadata_file::store_metadata;
use tokio::time::Instant;

use crate::context::BrokerContext;
use crate::lock;
use crate::outer_api::OuterError;

/// Time from the start to the first copy.
const FIRST_DELAY: Duration = Duration::from_secs(3);
/// Time between two copies.
const INTERVAL: Duration = Duration::from_secs(10);

/// Copies tables as long as this broker is a slave.
pub(crate) struct SlaveSynchronize {
    context: Arc<BrokerContext>,
    delay_offset_file: PathBuf,
    /// What that file holds, as far as this process wrote it.
    delay_offsets: Bytes,
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
    #[error(transparent)]
    Disk(#[from] io::Error),
}

impl SlaveSynchronize {
    pub(crate) fn new(context: Arc<BrokerContext>) -> Self {
        let root = &context.store.config().store_path_root_dir;
        let delay_offset_file = root.join("config").join("delayOffset.json");
        SlaveSynchronize { context, delay_offset_file, delay_offsets: Bytes::new() }
    }

    /// Copies again and again.
    pub(crate) async fn run(mut self) {
        tokio::time::sleep(FIRST_DELAY).await;
        loop {
            let next = Instant::now() + INTERVAL;
            let master = lock(&self.context.master_addr).clone();
            if let Some(master) = master.filter(|_| self.context.ha.is_following())
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
        let topics = api.all_topic_config(master).await?;
        let offsets = api.all_consumer_offset(master).await?;
        let (delay_table, delay_offsets) = api.all_delay_offset(master).await?;
        let groups = api.all_subscription_group_config(master).await?;
        if !context.ha.confirm_master().await? {
            return Err(SyncError::OtherLog);
        }
        if !context.topics.adopt(topics).await? {
            return Err(SyncError::Blank("topics"));
        }
        context.offsets.merge(offsets);
        if !delay_table.offset_table.is_empty() && delay_offsets != self.delay_offsets {
            store_metadata(&*context.env.disk, &self.delay_offset_file, &delay_offsets).await?;
            self.delay_offsets = delay_offsets;
        }
        if !context.groups.adopt(groups).await? {
            return Err(SyncError::Blank("consumer groups"));
        }
        Ok(())
    }
}
