//! What a read answers: [`GetMessageStatus`], [`GetMessageResult`], and [`MessageFilter`].

use std::collections::BTreeSet;

use mq_mapped_file::SelectedBuffer;

/// The outcome of a read (RocketMQ 4.9 `GetMessageStatus`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GetMessageStatus {
    /// At least one message.
    Found,
    /// Messages, but none passed the filter.
    NoMatchedMessage,
    /// The CommitLog no longer holds what the queue points at.
    MessageWasRemoving,
    /// The queue has no bytes at the offset although it should.
    OffsetFoundNull,
    /// Beyond the end by more than one.
    OffsetOverflowBadly,
    /// Exactly at the end.
    OffsetOverflowOne,
    /// Below the oldest message.
    OffsetTooSmall,
    /// There can be no such queue: no directory can be named after the topic.
    NoMatchedLogicQueue,
    /// The queue never had a message.
    NoMessageInQueue,
}

/// Messages of one queue, and where to read on.
#[derive(Clone, Debug)]
pub struct GetMessageResult {
    /// The outcome.
    pub status: GetMessageStatus,
    /// Queue offset to ask for next.
    pub next_begin_offset: u64,
    /// Oldest queue offset.
    pub min_offset: u64,
    /// Queue offset behind the newest message.
    pub max_offset: u64,
    /// The records, each as it lies in the CommitLog.
    pub messages: Vec<SelectedBuffer>,
    /// Sum of their lengths.
    pub buffer_total_bytes: usize,
    /// The reader is so far behind that a slave should serve it.
    pub suggest_pulling_from_slave: bool,
}

/// Which messages a reader wants, judged by their tags code alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum MessageFilter {
    /// Every message.
    #[default]
    All,
    /// Messages whose tag has one of these hash codes (Java `String.hashCode`). A hash collision
    /// passes; the client compares the tags.
    TagsCodes(BTreeSet<i32>),
}

impl MessageFilter {
    /// Whether a message with this tags code passes.
    #[must_use]
    pub fn matches(&self, tags_code: i64) -> bool {
        match self {
            MessageFilter::All => true,
            MessageFilter::TagsCodes(codes) => codes.contains(&Self::code_of(tags_code)),
        }
    }

    /// What of a tags code is compared: the low 32 bits, as in Java.
    #[must_use]
    pub fn code_of(tags_code: i64) -> i32 {
        tags_code as i32
    }
}
