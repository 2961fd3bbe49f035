//! What a start makes of a store: whether it refuses, where it ends the log, and what it does to the
//! ConsumeQueues. Everything is decided by the code of the start (`preflight`, `commit_log::walk`), or by
//! the same rules over units that are read.

use std::collections::BTreeMap;
use std::ops::Range;

use mq_mapped_file::{LoadPlan, file_name};
use mq_protocol::consume_queue_unit::{CQ_STORE_UNIT_BYTES, ConsumeQueueUnit};
use mq_protocol::message_codec::{
    RecordCheck, RecordError, RecordRules, RecordView, TornReason, decode_record,
};
use mq_protocol::topic_deletion::is_topic_deletion;

use super::log_reader::LogReader;
use super::unit_reader::UnitReader;
use super::{DoctorError, Progress, QueueDir, StoreDir};
use crate::commit_log::log_bytes::{LogBytes as _, check_at, file_of, record_bytes};
use crate::commit_log::walk::{Walk, WalkEnd};
use crate::commit_log::{RecoverFrom, counts_in_queue};
use crate::config::StoreConfig;
use crate::consume_queue::{is_below, is_possible_offset};
use crate::consume_queue_store::is_directory_name;
use crate::damage::{Damage, DamagedRange};
use crate::durable_mark::Mark;
use crate::error::StoreError;
use crate::preflight::Preflight;

/// A start, foretold.
pub(super) struct Start {
    /// Why it is refused; what follows is then what it does when it is told to salvage.
    pub(super) refusal: Option<String>,
    /// It is refused whatever it is told: nothing is known of what it would do.
    pub(super) is_refused_anyway: bool,
    pub(super) was_aborted: bool,
    pub(super) from: RecoverFrom,
    pub(super) log: LoadPlan,
    /// Damage that was known before.
    pub(super) known: Vec<DamagedRange>,
    /// Damage that it passes over, known or not.
    pub(super) damaged: Vec<DamagedRange>,
    /// Where its walk begins.
    pub(super) walked_from: u64,
    pub(super) end: WalkEnd,
    pub(super) queues: Queues,
    /// Why all queues are made again.
    pub(super) rebuilt: Option<String>,
}

/// The queues of a store, by topic and id.
pub(super) type Queues = BTreeMap<(String, u32), QueueModel>;

/// A queue as a start leaves it. Offsets are queue offsets.
pub(super) struct QueueModel {
    reader: UnitReader,
    /// First one of the first file; `None` without files.
    first: Option<u64>,
    /// Those below are units that were there before.
    kept: u64,
    end: u64,
    max_physic_offset: u64,
    /// Where fillers stand behind `kept`.
    fillers: Vec<Range<u64>>,
}

impl Start {
    /// Foretells a start on `dir`.
    pub(super) fn foretell(dir: &StoreDir, progress: Progress<'_>) -> Result<Self, DoctorError> {
        let mut config = dir.start_config();
        let (start, refusal) = match Self::look(dir, &config, &mut *progress)? {
            Ok(start) => (Some(start), None),
            Err(error) => {
                config.salvage = true;
                (Self::look(dir, &config, &mut *progress)?.ok(), Some(error.to_string()))
            }
        };
        let mut start = start.map_or_else(|| Self::without_rules(dir), Ok)?;
        start.refusal = refusal;
        if !start.is_refused_anyway {
            start.foretell_queues(dir, progress)?;
        }
        Ok(start)
    }

    /// The look of a start, or why it refuses.
    fn look(
        dir: &StoreDir,
        config: &StoreConfig,
        progress: Progress<'_>,
    ) -> Result<Result<Self, StoreError>, DoctorError> {
        let found = match Preflight::look(&dir.disk, config) {
            Err(error) => return DoctorError::unless_refusal(error).map(Err),
            Ok(found) => found,
        };
        let damage = dir.known_damage();
        let known = damage.ranges();
        damage.add_missing(&found.log.missing, config.mapped_file_size_commit_log as u64);
        let kept = found.log.kept.iter().map(|file| file.0);
        let mut log = LogReader::filled_up(dir, kept, progress);
        let (mut walked_from, mut end) = (0, WalkEnd::of_nothing());
        if let Some(start) = found.from.start(&mut log)? {
            let sound_end = found.from.sound_end(config.salvage);
            let check_crc = config.check_crc_on_recover;
            let walk = Walk { from: found.from, check_crc, sound_end, damage: &damage };
            walked_from = start;
            end = walk.run(&mut log, start..u64::MAX, &mut |_, _| Ok(()))?;
            assert!(start <= end.phy_offset, "a walk from {start} ends at {}", end.phy_offset);
        }
        let durable_end = found.from.durable_end();
        if end.phy_offset < durable_end && !config.salvage {
            let file = file_of(log.files(), end.phy_offset).map_or(dir.log_dir.clone(), |file| {
                dir.log_dir.join(file_name(log.files()[file].start))
            });
            return Ok(Err(end.refusal(&file, durable_end)));
        }
        let queue = |plan: crate::preflight::QueuePlan| {
            ((plan.topic.clone(), plan.queue_id), QueueModel::of(dir, plan))
        };
        Ok(Ok(Start {
            refusal: None,
            is_refused_anyway: false,
            was_aborted: found.was_aborted,
            from: found.from,
            log: found.log,
            known,
            damaged: damage.ranges(),
            walked_from,
            end,
            queues: found.queues.into_iter().map(queue).collect(),
            rebuilt: None,
        }))
    }

    /// The files as they are, where no start takes them.
    fn without_rules(dir: &StoreDir) -> Result<Self, DoctorError> {
        let files = dir.log_files()?;
        let kept = files.iter().filter_map(|file| Some((file.offset()?, file.len)));
        let log = LoadPlan { kept: kept.collect(), ..LoadPlan::default() };
        let first = log.kept.first().map_or(0, |file| file.0);
        let damage = dir.known_damage();
        Ok(Start {
            refusal: None,
            is_refused_anyway: true,
            was_aborted: dir.has("abort"),
            from: RecoverFrom::CleanJava { claimed_end: u64::MAX },
            known: damage.ranges(),
            damaged: damage.ranges(),
            walked_from: first,
            end: WalkEnd::of_nothing(),
            queues: Queues::new(),
            rebuilt: None,
            log,
        })
    }

    fn foretell_queues(
        &mut self,
        dir: &StoreDir,
        progress: Progress<'_>,
    ) -> Result<(), DoctorError> {
        let end = self.end.phy_offset;
        let damage = dir.known_damage();
        damage.set(self.damaged.clone());
        let kept = self.log.kept.iter().map(|file| file.0);
        let mut log = LogReader::filled_up(dir, kept, progress);
        let min = log.files().first().map_or(0, |file| file.start);
        let trusted = match self.from {
            RecoverFrom::Durable(mark) => mark.logics_end.min(end),
            RecoverFrom::CleanJava { .. } => end,
            RecoverFrom::AbortedJava { .. } => self.walked_from.min(end),
        };
        for queue in self.queues.values_mut() {
            queue.cut(dir, trusted)?;
        }
        let is_whole = match self.from {
            RecoverFrom::Durable(Mark { units: Some(units), logics_end, .. }) => {
                let sum: u64 = self.queues.values().map(|queue| queue.end).sum();
                logics_end > trusted || sum == units
            }
            RecoverFrom::Durable(_) => true,
            _ => self.cover(dir, &mut log, min..trusted)?,
        };
        let reached = self.queues.values().map(|queue| queue.max_physic_offset).max().unwrap_or(0);
        let mut reput_from = trusted.min(reached);
        if !is_whole || !is_boundary(&mut log, &damage, min..end, reput_from)? {
            self.rebuilt = Some(format!("units of records below {trusted} are missing or wrong"));
            reput_from = 0;
            let is_cleared = |queue: &&mut QueueModel| {
                queue.max_physic_offset == 0 || queue.max_physic_offset > min
            };
            self.queues.values_mut().filter(is_cleared).for_each(QueueModel::clear);
        }
        assert!(reput_from <= end, "queues that are kept end in the log: {reput_from} of {end}");
        self.dispatch(dir, &mut log, &damage, reput_from.max(min)..end)
    }

    /// As `ConsumeQueueStore::cover`.
    fn cover(
        &mut self,
        dir: &StoreDir,
        log: &mut LogReader<'_>,
        range: Range<u64>,
    ) -> Result<bool, DoctorError> {
        let file_bytes = dir.shape.commit_log_file_bytes as u64;
        let files = range.end.saturating_sub(range.start).div_ceil(file_bytes);
        let mut sizes = vec![0_u64; files as usize];
        for queue in self.queues.values_mut() {
            for at in queue.first.unwrap_or(0)..queue.kept {
                let unit = queue.reader.unit(dir, at)?;
                let unit = unit.filter(|unit| *unit != ConsumeQueueUnit::FILLER);
                let Some(unit) = unit.filter(|it| range.contains(&(it.phy_offset as u64))) else {
                    continue;
                };
                let file = (unit.phy_offset as u64 - range.start) / file_bytes;
                sizes[file as usize] += unit.size as u64;
            }
        }
        for (index, size) in sizes.into_iter().enumerate() {
            let at = range.start + index as u64 * file_bytes + size;
            if at != range.end && !is_blank(log, at)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// As the dispatcher does with what is readable.
    fn dispatch(
        &mut self,
        dir: &StoreDir,
        log: &mut LogReader<'_>,
        damage: &Damage,
        range: Range<u64>,
    ) -> Result<(), DoctorError> {
        let mut at = range.start;
        while at < range.end {
            let Some(file) = file_of(log.files(), at) else { break };
            let file_end = log.files()[file].end;
            let is_last = file_end >= range.end;
            let next = match check_at(log, at, &RecordRules::own(at))? {
                RecordCheck::Valid(record) => {
                    self.add_unit(dir, &record, at);
                    at + record.size() as u64
                }
                RecordCheck::Blank { .. } => file_end,
                _ if let Some(end) = damage.end_of(at) => end,
                RecordCheck::Torn(TornReason::PhyOffset(_)) => {
                    at + decode_record(record_bytes(log, at)?).map_or(1, |it| it.size() as u64)
                }
                RecordCheck::Torn(
                    TornReason::NoRoom | TornReason::Layout(RecordError::TotalSize { .. }),
                ) if is_last => break,
                _ if is_last => break,
                _ => file_end,
            };
            assert!(next > at, "what lies at {at} leads to {next}");
            at = next;
        }
        Ok(())
    }

    fn add_unit(&mut self, dir: &StoreDir, record: &RecordView<'_>, phy_offset: u64) {
        let topic = record.topic();
        if is_topic_deletion(record) {
            self.queues.retain(|(of, _), _| *of != topic);
        }
        if !counts_in_queue(record.sys_flag()) || !is_directory_name(&topic) {
            return;
        }
        let queue_id = record.queue_id() as u32;
        let queue = self
            .queues
            .entry((topic.into_owned(), queue_id))
            .or_insert_with_key(|key| QueueModel::empty(dir, &key.0, queue_id));
        queue.add(record.queue_offset() as u64, phy_offset, record.size() as u64);
    }
}

impl QueueModel {
    fn of(dir: &StoreDir, plan: crate::preflight::QueuePlan) -> Self {
        let mut queue = Self::empty(dir, &plan.topic, plan.queue_id);
        let files = plan.files.kept;
        queue.first = files.first().map(|file| file.0 / CQ_STORE_UNIT_BYTES as u64);
        queue.end = files.last().map_or(0, |file| file.0 / CQ_STORE_UNIT_BYTES as u64);
        queue.end += if files.is_empty() { 0 } else { queue.reader.units_per_file() };
        queue.kept = queue.end;
        queue
    }

    fn empty(dir: &StoreDir, topic: &str, queue_id: u32) -> Self {
        let files = dir.queue_files(topic, queue_id);
        let queue = QueueDir { topic: topic.to_owned(), queue_id, files };
        QueueModel {
            reader: UnitReader::new(dir, queue),
            first: None,
            kept: 0,
            end: 0,
            max_physic_offset: 0,
            fillers: Vec::new(),
        }
    }

    fn clear(&mut self) {
        (self.first, self.kept, self.end, self.max_physic_offset) = (None, 0, 0, 0);
    }

    /// As `ConsumeQueue::truncate`.
    fn cut(&mut self, dir: &StoreDir, phy_offset: u64) -> Result<(), DoctorError> {
        let Some(first) = self.first else { return Ok(()) };
        let per_file = self.reader.units_per_file();
        let files = (self.end - first) / per_file;
        for file in (0..files).rev().map(|file| first + file * per_file) {
            let mut at = file;
            while at < file + per_file
                && let Some(unit) = self.reader.unit(dir, at)?
                && is_below(&unit, phy_offset)
            {
                at += 1;
                if unit != ConsumeQueueUnit::FILLER {
                    self.max_physic_offset = unit.phy_offset as u64 + unit.size as u64;
                }
            }
            assert!(at <= file + per_file, "a file has {per_file} units");
            if at > file {
                (self.kept, self.end) = (at, at);
                return Ok(());
            }
        }
        match first {
            0 => self.clear(),
            _ => (self.kept, self.end) = (first, first),
        }
        Ok(())
    }

    /// As `ConsumeQueue::put_message_position_info`.
    fn add(&mut self, queue_offset: u64, phy_offset: u64, size: u64) {
        let end_offset = phy_offset + size;
        if end_offset <= self.max_physic_offset
            || !is_possible_offset(queue_offset, self.end, phy_offset, self.max_physic_offset)
        {
            return;
        }
        if self.first.is_none() {
            let first = queue_offset - queue_offset % self.reader.units_per_file();
            (self.first, self.kept, self.end) = (Some(first), first, first);
        }
        if queue_offset < self.end {
            return;
        }
        if queue_offset > self.end {
            self.fillers.push(self.end..queue_offset);
        }
        assert!(end_offset > self.max_physic_offset, "units ascend");
        (self.end, self.max_physic_offset) = (queue_offset + 1, end_offset);
        assert!(self.first.is_some_and(|first| first < self.end), "a queue begins before it ends");
        assert!(self.kept <= self.end, "what is added lies behind what is kept");
    }

    /// First queue offset, as `ConsumeQueue::correct_min_offset` has it, and the one behind the last.
    pub(super) fn range(
        &mut self,
        dir: &StoreDir,
        log_min: u64,
    ) -> Result<(u64, u64), DoctorError> {
        let per_file = self.reader.units_per_file();
        let mut file = self.first.unwrap_or(self.end);
        while file < self.end {
            let end = (file + per_file).min(self.end);
            if self.last_points_into_log(dir, file..end, log_min)? {
                for at in file..end {
                    if self.points_into_log(dir, at, log_min)? {
                        return Ok((at, self.end));
                    }
                }
            }
            file += per_file;
        }
        Ok((self.end, self.end))
    }

    /// Whether the last unit of a range that is no filler points into the log.
    fn last_points_into_log(
        &mut self,
        dir: &StoreDir,
        units: Range<u64>,
        log_min: u64,
    ) -> Result<bool, DoctorError> {
        for at in units.rev() {
            if !self.is_filler(dir, at)? {
                return self.points_into_log(dir, at, log_min);
            }
        }
        Ok(false)
    }

    fn is_filler(&mut self, dir: &StoreDir, at: u64) -> Result<bool, DoctorError> {
        if at >= self.kept {
            return Ok(self.fillers.iter().any(|fillers| fillers.contains(&at)));
        }
        Ok(self.reader.raw_unit(dir, at)?.is_none_or(|unit| unit == ConsumeQueueUnit::FILLER))
    }

    fn points_into_log(
        &mut self,
        dir: &StoreDir,
        at: u64,
        log_min: u64,
    ) -> Result<bool, DoctorError> {
        if at >= self.kept {
            return Ok(!self.fillers.iter().any(|fillers| fillers.contains(&at)));
        }
        let unit = self.reader.raw_unit(dir, at)?;
        Ok(unit.is_some_and(|unit| {
            unit != ConsumeQueueUnit::FILLER && unit.phy_offset as u64 >= log_min
        }))
    }
}

/// As `CommitLog::is_blank`.
fn is_blank(log: &mut LogReader<'_>, at: u64) -> Result<bool, DoctorError> {
    let Some(file) = file_of(log.files(), at) else { return Ok(false) };
    let rest = log.files()[file].end - at;
    let found = check_at(log, at, &RecordRules::upstream(false))?;
    Ok(matches!(found, RecordCheck::Blank { size } if size as u64 == rest))
}

/// As `CommitLog::is_boundary` of a log that reaches over `range`.
fn is_boundary(
    log: &mut LogReader<'_>,
    damage: &Damage,
    range: Range<u64>,
    at: u64,
) -> Result<bool, DoctorError> {
    if at <= range.start || at >= range.end {
        return Ok(true);
    }
    let found = check_at(log, at, &RecordRules::own(at))?;
    let is_whole = matches!(found, RecordCheck::Valid(_) | RecordCheck::Blank { .. });
    Ok(is_whole || damage.end_of(at).is_some())
}
