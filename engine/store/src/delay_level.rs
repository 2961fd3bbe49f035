//! [`DelayLevels`]: `messageDelayLevel`. A delayed message is stored under [`SCHEDULE_TOPIC`], whose
//! ConsumeQueues carry delivery times in place of tags codes; the broker delivers it when it is due.

use mq_protocol::message::{MessageConst, Properties, PropertiesView};
use mq_protocol::topic_validator::RMQ_SYS_SCHEDULE_TOPIC;

use crate::commit_log::counts_in_queue;
use crate::message_inner::MessageInner;

/// Topic of delayed messages; the queue is the level minus one.
pub const SCHEDULE_TOPIC: &str = RMQ_SYS_SCHEDULE_TOPIC;

/// Delays by level, level 1 first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelayLevels {
    delays_ms: Vec<u64>,
}

impl DelayLevels {
    /// Reads `1s 5s 10m …`: numbers with a unit of `s`, `m`, `h` or `d`, split by one blank.
    ///
    /// # Errors
    /// The first item that is no delay.
    pub fn parse(text: &str) -> Result<Self, String> {
        let delays_ms = text.split(' ').map(|item| {
            let unit_ms = match item.chars().last() {
                Some('s') => 1_000,
                Some('m') => 60_000,
                Some('h') => 3_600_000,
                Some('d') => 86_400_000,
                _ => return Err(format!("{item:?} is no delay")),
            };
            let count = item[..item.len() - 1].parse::<u64>().ok();
            let delay_ms = count.and_then(|count| count.checked_mul(unit_ms));
            delay_ms.ok_or_else(|| format!("{item:?} is no delay"))
        });
        Ok(DelayLevels { delays_ms: delays_ms.collect::<Result<_, String>>()? })
    }

    /// The delays in milliseconds, level 1 first.
    #[must_use]
    pub fn delays_ms(&self) -> &[u64] {
        &self.delays_ms
    }

    /// The highest level.
    #[must_use]
    pub fn max_level(&self) -> usize {
        self.delays_ms.len()
    }

    /// When a message stored at `store_timestamp_ms` with `level` is to be delivered. A level above
    /// the highest counts as the highest, an unknown one as one second.
    #[must_use]
    pub fn deliver_time_ms(&self, level: usize, store_timestamp_ms: u64) -> u64 {
        let level = level.min(self.max_level());
        let delay_ms = level.checked_sub(1).and_then(|index| self.delays_ms.get(index));
        store_timestamp_ms.saturating_add(delay_ms.copied().unwrap_or(1_000))
    }

    /// The queue of [`SCHEDULE_TOPIC`] in which the message waits until it is due, if it has a delay level. Prepared and
    /// rolled-back messages of transactions are never due.
    #[must_use]
    pub fn queue_of(&self, message: &MessageInner) -> Option<u32> {
        let level = delay_level(&message.properties).min(self.max_level());
        let queue_id = u32::try_from(level).ok()?.checked_sub(1)?;
        if !counts_in_queue(message.sys_flag) {
            return None;
        }
        assert!((queue_id as usize) < self.max_level(), "each level has its queue: {queue_id}");
        Some(queue_id)
    }

    /// The message as it is stored until it is due, if it has a delay level: under
    /// [`SCHEDULE_TOPIC`], in the level's queue, its own topic and queue in properties.
    #[must_use]
    pub fn delayed(&self, message: &MessageInner) -> Option<MessageInner> {
        let queue_id = self.queue_of(message)?;
        let mut properties = Properties::parse(&message.properties);
        properties.insert_display(MessageConst::DELAY, queue_id + 1);
        properties.insert(MessageConst::REAL_TOPIC, &message.topic);
        properties.insert_display(MessageConst::REAL_QID, message.queue_id);
        Some(MessageInner {
            topic: SCHEDULE_TOPIC.to_owned(),
            queue_id,
            properties: properties.to_string(),
            ..message.clone()
        })
    }
}

/// The delay level that properties name, before it is moved below the highest; 0 for none.
#[must_use]
pub fn delay_level(properties: &str) -> usize {
    let level = PropertiesView::new(properties).get(MessageConst::DELAY);
    let level = level.and_then(|level| level.parse::<i32>().ok()).unwrap_or(0);
    usize::try_from(level).unwrap_or(0)
}

impl Default for DelayLevels {
    /// RocketMQ's eighteen levels from one second to two hours.
    fn default() -> Self {
        const MINUTE_MS: u64 = 60_000;
        let seconds = [1, 5, 10, 30].map(|seconds| seconds * 1_000);
        let minutes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 30, 60, 120];
        let minutes = minutes.map(|minutes| minutes * MINUTE_MS);
        DelayLevels { delays_ms: seconds.into_iter().chain(minutes).collect() }
    }
}
