//! Planted bugs: single lines that are wrong on purpose, to prove that the simulator finds them.
//!
//! They exist only with the feature `plants`, which no shipped build turns on. Without it
//! [`StoreConfig::planted`] is a constant `false`, the lines vanish, and the names of the plants exist
//! in no binary: a shipped one can be searched for them.

#[cfg(feature = "plants")]
use std::cell::RefCell;
#[cfg(feature = "plants")]
use std::collections::BTreeSet;
#[cfg(feature = "plants")]
use std::fmt;
#[cfg(feature = "plants")]
use std::str::FromStr;

use crate::config::StoreConfig;

/// A bug that can be planted into one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Plant {
    /// Under SYNC_FLUSH a put is answered PUT_OK without waiting for the sync.
    SendOkBeforeFlush,
    /// A failed sync counts as one that succeeded.
    SyncedOnFlushError,
    /// Records are dispatched before they are synced.
    DispatchAboveSynced,
    /// Truncation moves positions and leaves the bytes.
    TruncateInMemoryOnly,
    /// A slave's report beyond the log's end counts as an acknowledgement. A slave that has proven
    /// its log a prefix never makes such a report, so this plant takes the proof away as well:
    /// either defence alone keeps the promise.
    AckBeyondLogEnd,
    /// A promoted slave goes on with the queue offsets of the day it became a slave.
    StaleQueueOffsetsOnPromotion,
    /// A SYNC_MASTER answers PUT_OK without waiting for its slave.
    SendOkBeforeReplica,
    /// Units of a ConsumeQueue carry a wrong hash of the tag.
    GarbledTagsCode,
    /// A queue offset is taken before the append that may fail.
    QueueOffsetBeforeAppend,
    /// Watermark and checkpoint speak of ConsumeQueues that were not synced.
    MarksBeforeSync,
    /// A start dispatches from the log's end on, not from the queues' end.
    DispatchFromLogEnd,
    /// A start keeps the units that point beyond what is known to be sound.
    QueuesNotCut,
    /// A log whose last file begins without a record is refused as damaged.
    EmptyFileRefused,
    /// Queues keep their minimum when the log's beginning goes.
    QueueMinimumNotMoved,
    /// A metadata file is renamed into place before it is synced.
    MetadataRenamedBeforeSync,
    /// A metadata file is removed before its successor is renamed into place.
    MetadataRemovedFirst,
}

#[cfg(feature = "plants")]
impl Plant {
    /// Every plant of the store.
    pub const ALL: [Plant; 16] = [
        Plant::SendOkBeforeFlush,
        Plant::SyncedOnFlushError,
        Plant::DispatchAboveSynced,
        Plant::TruncateInMemoryOnly,
        Plant::AckBeyondLogEnd,
        Plant::StaleQueueOffsetsOnPromotion,
        Plant::SendOkBeforeReplica,
        Plant::GarbledTagsCode,
        Plant::QueueOffsetBeforeAppend,
        Plant::MarksBeforeSync,
        Plant::DispatchFromLogEnd,
        Plant::QueuesNotCut,
        Plant::EmptyFileRefused,
        Plant::QueueMinimumNotMoved,
        Plant::MetadataRenamedBeforeSync,
        Plant::MetadataRemovedFirst,
    ];

    /// The name used in plans and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Plant::SendOkBeforeFlush => "send-ok-before-flush",
            Plant::SyncedOnFlushError => "synced-on-flush-error",
            Plant::DispatchAboveSynced => "dispatch-above-synced",
            Plant::TruncateInMemoryOnly => "truncate-in-memory-only",
            Plant::AckBeyondLogEnd => "ack-beyond-log-end",
            Plant::StaleQueueOffsetsOnPromotion => "stale-queue-offsets-on-promotion",
            Plant::SendOkBeforeReplica => "send-ok-before-replica",
            Plant::GarbledTagsCode => "garbled-tags-code",
            Plant::QueueOffsetBeforeAppend => "queue-offset-before-append",
            Plant::MarksBeforeSync => "marks-before-sync",
            Plant::DispatchFromLogEnd => "dispatch-from-log-end",
            Plant::QueuesNotCut => "queues-not-cut",
            Plant::EmptyFileRefused => "empty-file-refused",
            Plant::QueueMinimumNotMoved => "queue-minimum-not-moved",
            Plant::MetadataRenamedBeforeSync => "metadata-renamed-before-sync",
            Plant::MetadataRemovedFirst => "metadata-removed-first",
        }
    }
}

#[cfg(feature = "plants")]
impl fmt::Display for Plant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(feature = "plants")]
impl FromStr for Plant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Plant::ALL
            .into_iter()
            .find(|plant| plant.name() == text)
            .ok_or_else(|| format!("the store has no plant called {text:?}"))
    }
}

#[cfg(feature = "plants")]
thread_local! {
    static OF_THIS_THREAD: RefCell<BTreeSet<Plant>> = const { RefCell::new(BTreeSet::new()) };
}

/// Plants bugs into whatever runs on this thread, for code that has no store's settings; takes those away
/// that were planted before.
#[cfg(feature = "plants")]
pub fn plant_on_this_thread(plants: &BTreeSet<Plant>) {
    OF_THIS_THREAD.with(|planted| planted.borrow_mut().clone_from(plants));
}

/// Whether a bug is planted on this thread.
#[cfg(feature = "plants")]
pub(crate) fn planted_on_this_thread(plant: Plant) -> bool {
    OF_THIS_THREAD.with(|planted| planted.borrow().contains(&plant))
}

/// Whether a bug is planted on this thread: never, without the feature `plants`.
#[cfg(not(feature = "plants"))]
pub(crate) const fn planted_on_this_thread(_plant: Plant) -> bool {
    false
}

impl StoreConfig {
    /// Whether a bug is planted in this store.
    #[cfg(feature = "plants")]
    #[must_use]
    pub fn planted(&self, plant: Plant) -> bool {
        self.plants.contains(&plant)
    }

    /// Whether a bug is planted in this store: never, without the feature `plants`.
    #[cfg(not(feature = "plants"))]
    #[must_use]
    pub const fn planted(&self, _plant: Plant) -> bool {
        false
    }

    /// Plants bugs by name.
    ///
    /// # Errors
    /// A name that is no plant's.
    #[cfg(feature = "plants")]
    pub fn plant(&mut self, names: &[String]) -> Result<(), String> {
        for name in names {
            self.plants.insert(name.parse()?);
        }
        Ok(())
    }

    /// Plants bugs by name.
    ///
    /// # Errors
    /// Any name: this build has no planted bugs.
    #[cfg(not(feature = "plants"))]
    pub fn plant(&mut self, names: &[String]) -> Result<(), String> {
        match names.first() {
            Some(name) => Err(format!("this build has no planted bugs, so none called {name:?}")),
            None => Ok(()),
        }
    }
}
