//! What a read answers: [`GetMessageStatus`], [`GetMessageResult`], and what a
//! reader wants: [`MessageFilter`].

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use mq_mapped_file::SelectedBuffer;
use mq_protocol::message::PropertiesView;
use mq_protocol::message_codec::{RecordView, decode_record};

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

/// Which messages a reader wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum MessageFilter {
    /// Every message.
    #[default]
    All,
    /// Messages whose tag has one of these hash codes (Java `String.hashCode`). A hash collision
    /// passes; the client compares the tags.
    TagsCodes(BTreeSet<i32>),
    /// Messages whose properties pass; these lie in the CommitLog.
    Properties(PropertiesFilter),
}

/// What a reader wants of the properties of a message. Clones are the same one, and equal.
#[derive(Clone)]
pub struct PropertiesFilter {
    size: usize,
    passes: Arc<PassesProperties>,
}

type PassesProperties = dyn Fn(PropertiesView<'_>) -> bool + Send + Sync;

impl PropertiesFilter {
    /// A filter that lets pass what `passes` says. Its `size` is what asking it costs, in tags.
    pub fn new(
        size: usize,
        passes: impl Fn(PropertiesView<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        PropertiesFilter { size, passes: Arc::new(passes) }
    }

    /// What asking it costs, in tags.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether a message passes.
    #[must_use]
    pub fn passes(&self, record: &RecordView<'_>) -> bool {
        (self.passes)(PropertiesView::new(&record.properties()))
    }
}

impl fmt::Debug for PropertiesFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PropertiesFilter").field("size", &self.size).finish_non_exhaustive()
    }
}

impl PartialEq for PropertiesFilter {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.passes, &other.passes)
    }
}

impl Eq for PropertiesFilter {}

impl MessageFilter {
    /// Whether a message with this tags code may pass, as far as its unit tells.
    #[must_use]
    pub fn matches(&self, tags_code: i64) -> bool {
        match self {
            MessageFilter::All | MessageFilter::Properties(_) => true,
            MessageFilter::TagsCodes(codes) => codes.contains(&Self::code_of(tags_code)),
        }
    }

    /// Whether a message passes whose unit does. `record` is what lies in the CommitLog; what cannot be read
    /// is not held back.
    #[must_use]
    pub fn matches_record(&self, record: &[u8]) -> bool {
        match self {
            MessageFilter::All | MessageFilter::TagsCodes(_) => true,
            MessageFilter::Properties(filter) => {
                decode_record(record).map_or(true, |record| filter.passes(&record))
            }
        }
    }

    /// What of a tags code is compared: the low 32 bits, as in Java.
    #[must_use]
    pub fn code_of(tags_code: i64) -> i32 {
        tags_code as i32
    }
}
