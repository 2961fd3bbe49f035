//! A log that ends earlier than it did, or begins anew.

use std::io;
use std::ops::Range;
use std::path::Path;

use mq_mapped_file::{Cut, FlushError};

use super::CommitLog;
use crate::config::UpstreamSwitch;
use crate::error::StoreError;
use crate::plant::Plant;

impl CommitLog {
    /// Ends the log at `phy_offset` in memory and, unless told otherwise, zeroes what lies behind.
    /// The caller holds the put lock and the flushing lock and settles the cut.
    pub(crate) fn cut(&self, phy_offset: u64) -> Cut {
        let erase = !self.truncates_in_memory();
        let cut = self.without_commits(|| {
            let cut = self.queue.cut(phy_offset, erase);
            self.max_offset.cut_to(phy_offset);
            cut
        });
        self.flushed_offset.cut_to(phy_offset.min(self.flushed_offset()));
        let range = cut.range();
        assert!(range.is_empty() || range.start >= phy_offset, "a cut to {phy_offset}: {range:?}");
        self.assert_positions();
        cut
    }

    /// Takes everything out of the log; under the same conditions as [`CommitLog::cut`].
    pub(crate) fn cut_all(&self) -> Cut {
        let cut = self.without_commits(|| {
            let cut = self.queue.cut_all();
            self.max_offset.cut_to(0);
            cut
        });
        self.flushed_offset.cut_to(0);
        assert!(self.queue.is_empty(), "a log without its files is empty");
        cut
    }

    /// Begins an empty log with the file that starts at `phy_offset`, durably.
    pub(crate) async fn begin_at(&self, phy_offset: u64) -> Result<(), StoreError> {
        assert!(self.queue.is_empty(), "only an empty log begins anew");
        assert_eq!(self.queue.position(phy_offset), 0, "a log begins with a file");
        self.queue.last_or_create(phy_offset).map_err(StoreError::io("create a file"))?;
        self.queue.rewrite(phy_offset..phy_offset, |_| ()).await?;
        self.max_offset.advance_to(phy_offset);
        self.flushed_offset.advance_to(phy_offset);
        assert_eq!(self.min_offset(), phy_offset, "the log begins where it was told to");
        Ok(())
    }

    /// Makes a cut durable. A failure is as final as that of any other sync.
    pub(crate) async fn settle(&self, cut: Cut) -> Result<(), StoreError> {
        let range = cut.range();
        self.assert_unsettled(&range);
        let settled = self.queue.settle(cut).await;
        self.settled(range, settled)
    }

    /// Makes a cut durable, with the files that it removes in `aside`.
    pub(crate) async fn settle_aside(&self, cut: Cut, aside: &Path) -> Result<(), StoreError> {
        let range = cut.range();
        self.assert_unsettled(&range);
        let settled = self.queue.settle_aside(cut, aside).await;
        self.settled(range, settled)
    }

    /// Nothing is appended between a cut and its settling: it would be removed or erased with the rest.
    fn assert_unsettled(&self, range: &Range<u64>) {
        let max = self.queue.max_offset();
        assert!(range.is_empty() || max <= range.start, "{max} was appended before {range:?} went");
    }

    fn settled(&self, range: Range<u64>, settled: io::Result<()>) -> Result<(), StoreError> {
        if let Err(source) = settled {
            let error = FlushError { from: range.start, to: range.end, source };
            self.poison(&error);
            return Err(error.into());
        }
        self.ahead_trigger.fire();
        Ok(())
    }

    fn truncates_in_memory(&self) -> bool {
        self.config.upstream(UpstreamSwitch::TruncateInMemory)
            || self.config.planted(Plant::TruncateInMemoryOnly)
    }
}
