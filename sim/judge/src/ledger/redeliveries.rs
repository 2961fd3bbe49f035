//! What brokers stored of the messages that consumer groups gave back, until they are due and once more when
//! they are: a redelivery rests on that record as a message does on its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use mq_protocol::message::{
    DLQ_GROUP_TOPIC_PREFIX, MessageConst, PropertiesView, RETRY_GROUP_TOPIC_PREFIX,
};
use mq_protocol::message_codec::RecordView;
use mq_protocol::topic_validator::RMQ_SYS_SCHEDULE_TOPIC;

use super::Ledger;
use super::custody::Owed;

/// A record that a broker stored of a message that was given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redelivery {
    /// `brokerName`.
    pub group: Arc<str>,
    /// First byte.
    pub(super) phy_offset: u64,
    /// Ordinal of the trace event at which it was stored.
    pub stored: u64,
}

/// By consumer group and number of the message, in the order of the trace.
pub(super) type Redeliveries = BTreeMap<(Arc<str>, u32), Vec<Redelivery>>;

/// The consumer group that a record is to be given to once more, or whose dead letter it is.
pub(super) fn consumer_group(view: &RecordView<'_>) -> Option<Arc<str>> {
    let topic = view.topic();
    let properties = view.properties();
    let topic = match &*topic {
        RMQ_SYS_SCHEDULE_TOPIC => PropertiesView::new(&properties).get(MessageConst::REAL_TOPIC)?,
        topic => topic,
    };
    let retry = topic.strip_prefix(RETRY_GROUP_TOPIC_PREFIX);
    retry.or_else(|| topic.strip_prefix(DLQ_GROUP_TOPIC_PREFIX)).map(Arc::from)
}

impl Ledger {
    /// What brokers stored of a message that a consumer group gave back, each with what became of its copies, and
    /// whether the log that is its broker group's owes it.
    #[must_use]
    pub fn redeliveries(&self, consumer_group: &str, number: u32) -> Vec<(Redelivery, Owed, bool)> {
        let state = self.lock();
        let stored = state.redeliveries.get(&(Arc::from(consumer_group), number));
        let with_custody = stored.into_iter().flatten().filter_map(|record| {
            let custody = state.custody.get(&record.group)?;
            let owed = custody.of(record.phy_offset, record.stored + 1)?;
            let is_owed = custody.owes(owed);
            Some((record.clone(), owed.clone(), is_owed))
        });
        with_custody.collect()
    }
}
