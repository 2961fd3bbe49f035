//! [`RunningFlags`]: whether the store takes writes (RocketMQ 4.9 `RunningFlags`).
//!
//! Kept in memory only. What Java latches until a restart (a ConsumeQueue error) ends here with its
//! cause; only a failed sync is final.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// A reason to refuse writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Refusal {
    /// The store is shutting down.
    Shutdown = 1,
    /// A sync of the CommitLog failed.
    SyncFailed = 2,
    /// The ConsumeQueues cannot be written at the moment.
    LogicsError = 4,
    /// An operator said so.
    Operator = 8,
    /// The disk is full.
    DiskFull = 16,
}

/// The reasons that hold at the moment.
#[derive(Debug, Default)]
pub(crate) struct RunningFlags {
    bits: AtomicU32,
    /// What made the refusal final, since when, and how it ends.
    sync_failure: OnceLock<String>,
}

impl RunningFlags {
    /// Adds a reason; whether it is new.
    pub(crate) fn set(&self, refusal: Refusal) -> bool {
        self.bits.fetch_or(refusal as u32, Ordering::AcqRel) & refusal as u32 == 0
    }

    /// Adds the reason that only a restart takes away, in a sentence; whether it is new.
    pub(crate) fn set_sync_failed(&self, sentence: String) -> bool {
        let is_new = self.sync_failure.set(sentence).is_ok();
        self.set(Refusal::SyncFailed);
        is_new
    }

    /// The sentence of [`RunningFlags::set_sync_failed`].
    pub(crate) fn sync_failure(&self) -> Option<&str> {
        // The flag first: the sentence is there before it.
        let has_failed = self.has(Refusal::SyncFailed);
        let sentence = self.sync_failure.get().map(String::as_str);
        assert!(!has_failed || sentence.is_some(), "what is final has its reason");
        sentence
    }

    /// Takes a reason away; whether it held.
    pub(crate) fn clear(&self, refusal: Refusal) -> bool {
        let is_final = matches!(refusal, Refusal::SyncFailed | Refusal::Shutdown);
        assert!(!is_final, "only a restart ends {refusal:?}");
        self.bits.fetch_and(!(refusal as u32), Ordering::AcqRel) & refusal as u32 != 0
    }

    /// Whether a reason holds.
    pub(crate) fn has(&self, refusal: Refusal) -> bool {
        self.bits.load(Ordering::Acquire) & refusal as u32 != 0
    }

    /// Whether no reason holds.
    pub(crate) fn is_writeable(&self) -> bool {
        self.bits.load(Ordering::Acquire) == 0
    }
}
