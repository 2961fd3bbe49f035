//! The log at start-up: its end is found, its files are mapped, what lies behind the end is erased, what
//! was not known to be synced is. Whatever refuses the start does so before a file changes.

use std::ops::Range;
use std::sync::Arc;

use mq_env::probe::Event;
use mq_mapped_file::{LoadPlan, MappedFile};

use super::CommitLog;
use super::log_bytes::MappedLog;
use super::walk::{RecoverFrom, Walk, WalkEnd, report_dropped};
use crate::error::StoreError;
use crate::plant::Plant;
use crate::preflight::Preflight;
use crate::recovery::RecoveryReport;

/// What a start found of the log.
pub(crate) struct RecoveredLog {
    /// Where the walk began.
    pub(crate) walked_from: u64,
    /// Readable, but not known to be synced: [`CommitLog::sync_unsure`].
    pub(crate) unsure: Range<u64>,
    pub(crate) report: RecoveryReport,
}

/// What a start is going to make of the log, before anything is changed.
pub(crate) struct LookedLog {
    from: RecoverFrom,
    plan: LoadPlan,
    files: Vec<Arc<MappedFile>>,
    /// So many damaged ranges were known before.
    known: usize,
    walked_from: u64,
    end: WalkEnd,
}

impl CommitLog {
    /// Finds the end of the log. Changes nothing, but that whole files with holes get their blocks.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when durable bytes are gone, and what the disk says.
    pub(crate) fn look(&self, found: &Preflight) -> Result<LookedLog, StoreError> {
        let (from, plan) = (found.from, found.log.clone());
        let files = self.queue.look(&plan)?;
        match self.damage.load() {
            Err(_) if self.config.salvage => {}
            loaded => loaded?,
        }
        let known = self.damage.ranges().len();
        self.damage.add_missing(&plan.missing, self.file_size() as u64);
        let (walked_from, end) = self.walk(from, &files);
        let begins_last = |end| files.last().is_some_and(|last| last.file_from_offset() == end);
        let is_refused = end.phy_offset < from.durable_end() && !self.config.salvage
            || self.config.planted(Plant::EmptyFileRefused) && begins_last(end.phy_offset);
        if is_refused {
            let is_there = |file: &Arc<MappedFile>| {
                (file.file_from_offset()..file.file_end_offset()).contains(&end.phy_offset)
            };
            let file = files.iter().find(|file| is_there(file)).map(|file| file.path());
            return Err(end.refusal(file.unwrap_or(self.dir()), from.durable_end()));
        }
        Ok(LookedLog { from, plan, files, known, walked_from, end })
    }

    /// Maps the files, ends the log where it was found to end, and erases durably what lies behind.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) async fn recover(&self, looked: LookedLog) -> Result<RecoveredLog, StoreError> {
        let LookedLog { from, plan, files, known, walked_from, end } = looked;
        let removed = self.queue.load(&plan, &files)?;
        drop(files);
        let files = self.queue.files();
        assert_as_planned(&files, &plan);
        self.keep_damage(known).await?;
        let unsure_from = match from {
            RecoverFrom::Durable(mark) => mark.log_end.min(end.phy_offset),
            RecoverFrom::CleanJava { .. } => end.phy_offset,
            RecoverFrom::AbortedJava { .. } => walked_from,
        };
        let mut found = MappedLog::new(files.into_iter().chain(removed).collect());
        let Ok(mut report) = report_dropped(&mut found, &end);
        report.damaged = self.damage.ranges();
        report.dropped_bytes = self.end_at(end.phy_offset, unsure_from).await?;
        self.env.probe.emit(&Event::Recovered {
            min_phy_offset: self.min_offset(),
            max_phy_offset: end.phy_offset,
            dropped_bytes: report.dropped_bytes,
            reason: &end.reason,
        });
        let dropped_bytes = report.dropped_bytes;
        tracing::info!(end = end.phy_offset, dropped_bytes, reason = end.reason, "log recovered");
        Ok(RecoveredLog { walked_from, unsure: unsure_from..end.phy_offset, report })
    }

    /// Syncs what of `unsure` lies in files before the one of its end; the flushed end follows file by
    /// file.
    pub(crate) async fn sync_unsure(&self, unsure: Range<u64>) -> Result<(), StoreError> {
        assert_eq!(unsure.end, self.max_offset(), "all that is unsure of is synced");
        assert!(self.flushed_offset() <= unsure.end, "and only what is in the log");
        let last_file = self.file_start(unsure.end);
        if unsure.start < last_file {
            self.queue.rewrite(unsure.start..last_file, |end| self.set_flushed(end)).await?;
        }
        self.set_flushed(unsure.end);
        self.assert_positions();
        Ok(())
    }

    /// Where the walk began, and where it ended.
    fn walk(&self, from: RecoverFrom, files: &[Arc<MappedFile>]) -> (u64, WalkEnd) {
        let mut log = MappedLog::new(files.to_vec());
        let Ok(start) = from.start(&mut log);
        let Some(start) = start else { return (0, WalkEnd::of_nothing()) };
        let walk = Walk {
            from,
            check_crc: self.config.check_crc_on_recover,
            sound_end: from.sound_end(self.config.salvage),
            damage: &self.damage,
        };
        let Ok(end) = walk.run(&mut log, start..u64::MAX, &mut |_, _| Ok(()));
        assert!(start <= end.phy_offset, "a walk from {start} ends at {}", end.phy_offset);
        (start, end)
    }

    /// Writes down the damage that the walk passed over beyond the `known` ranges.
    async fn keep_damage(&self, known: usize) -> Result<(), StoreError> {
        let ranges = self.damage.ranges();
        assert!(ranges.len() >= known, "a walk forgets no damage");
        if ranges.len() == known {
            return Ok(());
        }
        tracing::error!(?ranges, "damage in the CommitLog is passed over");
        let written = self.damage.store().await;
        written.map_err(StoreError::io("write the list of damaged ranges"))
    }

    /// Makes `end` the end of the log, durably: what lies behind it is erased, and its file synced from
    /// `unsure_from` on. Returns how many bytes behind it were not zero.
    async fn end_at(&self, end: u64, unsure_from: u64) -> Result<u64, StoreError> {
        assert!(unsure_from <= end, "what is synced, {unsure_from}, is in the log, {end}");
        self.damage.cut(end).await.map_err(StoreError::io("write the list of damaged ranges"))?;
        self.max_offset.advance_to(end);
        let cut = self.cut(end);
        assert_eq!(self.max_offset(), end, "the log ends where it was found to end");
        let dropped_bytes = cut.dropped_bytes();
        self.settle(cut).await?;
        let from = unsure_from.max(self.file_start(end));
        self.queue.rewrite(from..end, |_| ()).await?;
        self.set_flushed(unsure_from);
        self.assert_positions();
        Ok(dropped_bytes)
    }
}

/// The log has the files that the look before the start said it would keep; an empty last one that the full
/// disk has no room for is left out.
fn assert_as_planned(files: &[Arc<MappedFile>], plan: &LoadPlan) {
    let (had, planned) = (files.len(), plan.kept.len());
    let is_short = had < planned && had + 1 == planned && plan.kept[had].1 == 0;
    assert!(had == planned || is_short, "{had} files of {planned}");
    for (file, (from, _)) in files.iter().zip(&plan.kept) {
        assert_eq!(file.file_from_offset(), *from, "the files are those that were looked at");
    }
}
