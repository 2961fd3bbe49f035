//! [`DelayOffsetManager`]: how far each delay level is delivered, file `delayOffset.json` (in RocketMQ
//! 4.9 a part of `ScheduleMessageService`).
//!
//! An offset is the queue offset of the next message of `SCHEDULE_TOPIC_XXXX` to deliver. The file
//! follows within `flushDelayOffsetInterval` of the first change, and at shutdown, but never speaks
//! of a delivery that a power loss could still take back: what is missing from it is delivered
//! again, what it says too early would be lost.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mq_env::Env;
use mq_env::plant::{Plant, planted_on_this_thread};
use mq_protocol::body::offset_table::DelayOffsetSerializeWrapper;
use mq_protocol::fastjson::to_bytes;
use mq_store::config::StoreConfig;
use mq_store::delay_level::SCHEDULE_TOPIC;
use mq_store::metadata_file::MetadataError;
use mq_store::{CommitLog, MessageStore};

use crate::lock;
use crate::offset_file::OffsetFile;

/// The offsets of all delay levels.
pub(crate) struct DelayOffsetManager {
    file: OffsetFile,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By level, from 1.
    offsets: BTreeMap<i32, i64>,
    /// End of the newest delivered message in the CommitLog.
    delivered_end: u64,
    change_count: u64,
}

impl DelayOffsetManager {
    /// What the file holds.
    ///
    /// # Errors
    /// When nothing sound is left of it.
    pub(crate) fn load(env: &Env, store_config: &StoreConfig) -> Result<Self, MetadataError> {
        let (file, wrapper) = OffsetFile::load(env, store_config, "delayOffset.json")?;
        let wrapper: DelayOffsetSerializeWrapper = wrapper.unwrap_or_default();
        let offsets = wrapper.offset_table;
        Ok(DelayOffsetManager { file, state: Mutex::new(State { offsets, ..State::default() }) })
    }

    /// Queue offset of the level's next message.
    pub(crate) fn offset(&self, level: i32) -> u64 {
        let fresh = if planted_on_this_thread(Plant::DelayCursorFromTheEnd) { i64::MAX } else { 0 };
        let offset = lock(&self.state).offsets.get(&level).copied().unwrap_or(fresh);
        u64::try_from(offset).unwrap_or(0)
    }

    /// The level goes on at `offset`; what was delivered ends at `delivered_end` in the CommitLog.
    pub(crate) fn advance(&self, level: i32, offset: u64, delivered_end: u64) {
        let mut state = lock(&self.state);
        let offset = i64::try_from(offset).unwrap_or(i64::MAX);
        let before = state.offsets.insert(level, offset);
        assert!(before.is_none_or(|before| before <= offset), "deliveries go forward: {before:?}");
        state.delivered_end = state.delivered_end.max(delivered_end);
        self.note_change(&mut state);
    }

    /// Moves offsets that stand outside of their queues to the nearer end, and writes that down
    /// before messages can take the places of those that a truncation took.
    pub(crate) async fn clamp(&self, store: &MessageStore) {
        let is_changed = {
            let mut state = lock(&self.state);
            let mut is_changed = false;
            for (level, offset) in &mut state.offsets {
                let Ok(queue_id) = u32::try_from(level - 1) else { continue };
                let min = store.min_offset_in_queue(SCHEDULE_TOPIC, queue_id) as i64;
                let max = store.max_offset_in_queue(SCHEDULE_TOPIC, queue_id) as i64;
                let inside = (*offset).clamp(min.min(max), max);
                if inside != *offset {
                    tracing::warn!(level, from = *offset, to = inside, "delay offset moved");
                    *offset = inside;
                    is_changed = true;
                }
            }
            if is_changed {
                self.note_change(&mut state);
            }
            is_changed
        };
        if is_changed && let Err(error) = self.write().await {
            tracing::error!(%error, "moved delay offsets cannot be written");
        }
    }

    /// Takes over a master's table as it is, durably.
    ///
    /// # Errors
    /// What the disk says; the file is then as it was.
    pub(crate) async fn adopt(&self, table: DelayOffsetSerializeWrapper) -> io::Result<()> {
        {
            let mut state = lock(&self.state);
            if state.offsets == table.offset_table {
                return Ok(());
            }
            state.offsets = table.offset_table;
            self.note_change(&mut state);
        }
        self.write().await
    }

    /// Every offset, as slaves (45) and the file get them.
    pub(crate) fn wrapper(&self) -> DelayOffsetSerializeWrapper {
        DelayOffsetSerializeWrapper { offset_table: lock(&self.state).offsets.clone() }
    }

    /// Writes the file, unless it holds the present state or `log` could still lose a delivery.
    ///
    /// # Errors
    /// What the disk says; the file is then as it was.
    pub(crate) async fn persist(&self, log: &CommitLog) -> io::Result<()> {
        if lock(&self.state).delivered_end <= log.flushed_offset() {
            self.write().await
        } else {
            Ok(())
        }
    }

    /// Writes the file `interval` after a change, once the deliveries up to then are durable.
    pub(crate) async fn run(self: Arc<Self>, store: Arc<MessageStore>, interval: Duration) {
        let mut flushed = store.commit_log().watch_flushed_offset();
        loop {
            self.file.due(interval).await;
            let (table, delivered_end) = {
                let state = lock(&self.state);
                ((state.change_count, state.offsets.clone()), state.delivered_end)
            };
            // After a failed sync this never comes true.
            if !planted_on_this_thread(Plant::DelayCursorBeforeSync) {
                flushed.wait_for(|flushed| flushed >= delivered_end).await;
            }
            if let Err(error) = self.write_table(table).await {
                tracing::error!(%error, "delay offsets cannot be written");
                self.file.note_change();
            }
        }
    }

    async fn write(&self) -> io::Result<()> {
        let table = {
            let state = lock(&self.state);
            (state.change_count, state.offsets.clone())
        };
        self.write_table(table).await
    }

    /// Writes a table that was taken after `change_count` changes, unless the file is newer.
    async fn write_table(
        &self,
        (change_count, offset_table): (u64, BTreeMap<i32, i64>),
    ) -> io::Result<()> {
        let newer = |written| {
            let content = || to_bytes(&DelayOffsetSerializeWrapper { offset_table });
            (change_count > written).then(|| (change_count, content()))
        };
        self.file.write(newer).await
    }

    fn note_change(&self, state: &mut State) {
        state.change_count += 1;
        self.file.note_change();
    }
}
