//! [`TransactionQuestions`]: how often producers were asked about each half message, file `transactionChecks.json`.
//!
//! RocketMQ 4.9 counts in the half message, which it appends anew for that. Here it stays where it is, and the file follows
//! after each round of questions: a crash may forget the last one. A slave that is promoted begins to count anew.

use std::collections::BTreeMap;
use std::sync::Mutex;

use mq_env::Env;
use mq_protocol::body::offset_table::{AskedHalfMessage, TransactionChecksWrapper};
use mq_protocol::fastjson::to_bytes;
use mq_protocol::message_codec::RecordView;
use mq_store::config::StoreConfig;
use mq_store::metadata_file::MetadataError;

use crate::lock;
use crate::offset_file::OffsetFile;

/// The questions about half messages that are not done with.
pub(crate) struct TransactionQuestions {
    file: OffsetFile,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By queue offset.
    asked: BTreeMap<i64, AskedHalfMessage>,
    change_count: u64,
}

impl TransactionQuestions {
    /// What the file holds.
    ///
    /// # Errors
    /// When nothing sound is left of it.
    pub(crate) fn load(env: &Env, store_config: &StoreConfig) -> Result<Self, MetadataError> {
        let (file, wrapper) = OffsetFile::load(env, store_config, "transactionChecks.json")?;
        let TransactionChecksWrapper { asked } = wrapper.unwrap_or_default();
        let asked = asked.into_iter().map(|half| (half.queue_offset, half)).collect();
        Ok(TransactionQuestions { file, state: Mutex::new(State { asked, change_count: 0 }) })
    }

    /// How often producers were asked about a half message; not about another one that had its place before.
    pub(crate) fn asked(&self, half: &RecordView<'_>) -> u32 {
        let state = lock(&self.state);
        let asked = state.asked.get(&half.queue_offset());
        let asked = asked.filter(|it| it.store_timestamp == half.store_timestamp());
        asked.and_then(|it| u32::try_from(it.times).ok()).unwrap_or_default()
    }

    /// A producer is asked for the `times`th time.
    pub(crate) fn note(&self, half: &RecordView<'_>, times: u32) {
        let (queue_offset, store_timestamp) = (half.queue_offset(), half.store_timestamp());
        let times = i32::try_from(times).unwrap_or(i32::MAX);
        let asked = AskedHalfMessage { queue_offset, store_timestamp, times };
        let mut state = lock(&self.state);
        state.change_count += u64::from(state.asked.insert(queue_offset, asked) != Some(asked));
    }

    /// Forgets those of which `is_done` says that nobody will be asked any more, and writes the file if it has
    /// changed. What the disk refuses is counted in memory all the same.
    pub(crate) async fn persist(&self, is_done: impl Fn(u64) -> bool) {
        {
            let mut state = lock(&self.state);
            let before = state.asked.len();
            state.asked.retain(|offset, _| u64::try_from(*offset).is_ok_and(|it| !is_done(it)));
            state.change_count += u64::from(state.asked.len() != before);
        }
        let newer = |written| {
            let state = lock(&self.state);
            (state.change_count > written).then(|| {
                let asked = state.asked.values().copied().collect();
                (state.change_count, to_bytes(&TransactionChecksWrapper { asked }))
            })
        };
        if let Err(error) = self.file.write(newer).await {
            tracing::error!(%error, "how often producers were asked about transactions is not written");
        }
    }
}
