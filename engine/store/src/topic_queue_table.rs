//! [`TopicQueueTable`]: the queue offset that each queue's next message gets.

use std::collections::BTreeMap;

use mq_env::collections::HashMap;

/// Next queue offsets by topic and queue (RocketMQ 4.9 `topicQueueTable`). Guarded by the put lock.
#[derive(Debug, Default)]
pub(crate) struct TopicQueueTable {
    topics: HashMap<String, BTreeMap<u32, u64>>,
}

impl TopicQueueTable {
    /// The queue offset of the queue's next message.
    pub(crate) fn next(&self, topic: &str, queue_id: u32) -> u64 {
        self.topics.get(topic).and_then(|queues| queues.get(&queue_id)).copied().unwrap_or(0)
    }

    /// Counts `messages` that were appended.
    pub(crate) fn advance(&mut self, topic: &str, queue_id: u32, messages: u64) {
        assert!(messages > 0, "who appended has appended something");
        match self.topics.get_mut(topic) {
            Some(queues) => *queues.entry(queue_id).or_default() += messages,
            None => self.set(topic, queue_id, messages),
        }
    }

    /// Sets the queue offset of the queue's next message.
    pub(crate) fn set(&mut self, topic: &str, queue_id: u32, next: u64) {
        self.topics.entry(topic.to_owned()).or_default().insert(queue_id, next);
    }

    /// Whether the queue was counted.
    pub(crate) fn knows(&self, topic: &str, queue_id: u32) -> bool {
        self.topics.get(topic).is_some_and(|queues| queues.contains_key(&queue_id))
    }

    /// Begins a topic's queues anew: it was deleted.
    pub(crate) fn forget(&mut self, topic: &str) {
        self.topics.remove(topic);
    }

    /// One line per queue: topic, id and next queue offset.
    pub(crate) fn to_text(&self) -> String {
        let mut lines = Vec::new();
        for (topic, queues) in &self.topics {
            lines.extend(queues.iter().map(|(id, next)| format!("{topic} {id} {next}\n")));
        }
        lines.sort();
        lines.concat()
    }

    /// Reads what [`TopicQueueTable::to_text`] wrote; passes over other lines.
    pub(crate) fn from_text(text: &str) -> Self {
        let mut table = TopicQueueTable::default();
        for line in text.lines() {
            let mut words = line.split(' ');
            if let (Some(topic), Some(Ok(id)), Some(Ok(next))) =
                (words.next(), words.next().map(str::parse), words.next().map(str::parse))
            {
                table.set(topic, id, next);
            }
        }
        table
    }
}
