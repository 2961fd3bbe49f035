//! ConsumeQueues against the units that the log gives.

use std::collections::BTreeMap;
use std::ops::Range;

use mq_protocol::consume_queue_unit::ConsumeQueueUnit;
use mq_protocol::message_codec::RecordView;
use mq_protocol::topic_deletion::is_topic_deletion;

use super::{LogEnd, Severity, Verdict};
use crate::commit_log::counts_in_queue;
use crate::dispatch::tags_code_of;
use crate::doctor::unit_reader::UnitReader;
use crate::doctor::{DoctorError, QueueDir, StoreDir};

/// So many units without a record are told apart by queue.
const UNCLAIMED_MAX: usize = 1_000;

/// The comparison under way.
pub(super) struct QueueCheck {
    queues: BTreeMap<(String, u32), Queue>,
    /// Physical offset of the last record that has its unit: those before it were dispatched, too.
    dispatched_to: u64,
    log_min: u64,
}

/// A queue, and what was found of it.
struct Queue {
    reader: UnitReader,
    /// Queue offset behind the last record that has its unit, or takes the place of one; `None` before the
    /// first one.
    next: Option<u64>,
    missing: Misses,
    wrong: Misses,
    /// Units that no record claims, for now: whether they lead into damage is known at the end.
    unclaimed: Vec<(u64, u64)>,
    unclaimed_more: u64,
    /// Units that point below are those of a topic that was deleted there.
    deleted_at: u64,
}

/// Queue offsets with the same trouble.
#[derive(Default)]
struct Misses {
    count: u64,
    first: u64,
    /// Physical offset of the first one's record.
    first_phy_offset: u64,
}

impl Misses {
    fn add(&mut self, queue_offset: u64, phy_offset: u64) {
        if self.count == 0 {
            (self.first, self.first_phy_offset) = (queue_offset, phy_offset);
        }
        self.count += 1;
    }
}

impl Queue {
    fn new(dir: &StoreDir, queue: QueueDir) -> Self {
        Queue {
            reader: UnitReader::new(dir, queue),
            next: None,
            missing: Misses::default(),
            wrong: Misses::default(),
            unclaimed: Vec::new(),
            unclaimed_more: 0,
            deleted_at: 0,
        }
    }

    /// Notes the units of `range`, up to the first place without one, that are no fillers.
    fn pass(&mut self, dir: &StoreDir, range: Range<u64>, log_min: u64) -> Result<(), DoctorError> {
        for at in range {
            let Some(unit) = self.reader.unit(dir, at)? else { break };
            // Units of records that expired are as they should be.
            if unit == ConsumeQueueUnit::FILLER || (unit.phy_offset as u64) < log_min {
                continue;
            }
            if self.unclaimed.len() < UNCLAIMED_MAX {
                self.unclaimed.push((at, unit.phy_offset as u64));
            } else {
                self.unclaimed_more += 1;
            }
        }
        Ok(())
    }

    /// Queue offset of the first unit that was ever written.
    fn first(&self) -> u64 {
        self.reader.first_file() * self.reader.units_per_file()
    }
}

impl QueueCheck {
    /// `log_min` is the first physical offset of the log.
    pub(super) fn open(dir: &StoreDir, log_min: u64) -> Result<Self, DoctorError> {
        let queues = dir.queues()?.into_iter();
        let queues = queues.map(|it| ((it.topic.clone(), it.queue_id), Queue::new(dir, it)));
        Ok(QueueCheck { queues: queues.collect(), dispatched_to: 0, log_min })
    }

    /// Compares a record with its unit.
    pub(super) fn record(
        &mut self,
        dir: &StoreDir,
        record: &RecordView<'_>,
        phy_offset: u64,
    ) -> Result<(), DoctorError> {
        if is_topic_deletion(record) {
            self.begin_anew(&record.topic(), phy_offset);
        }
        if !counts_in_queue(record.sys_flag()) {
            return Ok(());
        }
        let (topic, queue_id) = (record.topic(), record.queue_id() as u32);
        let queue_offset = record.queue_offset() as u64;
        let expected = ConsumeQueueUnit {
            phy_offset: phy_offset as i64,
            size: record.size() as i32,
            tags_code: tags_code_of(record, &topic, &dir.config.message_delay_level),
        };
        let queue = self.queues.entry((topic.into_owned(), queue_id)).or_insert_with_key(|key| {
            let files = Vec::new();
            Queue::new(dir, QueueDir { topic: key.0.clone(), queue_id, files })
        });
        let found = queue.reader.unit(dir, queue_offset)?;
        let is_right = found == Some(expected);
        match found {
            Some(_) if is_right => self.dispatched_to = phy_offset,
            // What a crash left of the topic that was.
            Some(unit) if (unit.phy_offset as u64) < queue.deleted_at => {
                queue.missing.add(queue_offset, phy_offset);
            }
            None => queue.missing.add(queue_offset, phy_offset),
            Some(_) => queue.wrong.add(queue_offset, phy_offset),
        }
        let next = queue.next.unwrap_or(queue_offset);
        if is_right && queue_offset > next {
            queue.pass(dir, next..queue_offset, self.log_min)?;
        }
        // A record that states another queue offset than its own does not lead the way.
        if is_right || queue_offset == next {
            queue.next = queue_offset.checked_add(1).or(queue.next);
        }
        Ok(())
    }

    /// The topic was deleted here: what was found of its queues so far is nobody's any more.
    fn begin_anew(&mut self, topic: &str, phy_offset: u64) {
        for (_, queue) in self.queues.iter_mut().filter(|((of, _), _)| of == topic) {
            queue.deleted_at = phy_offset;
            (queue.missing, queue.wrong) = (Misses::default(), Misses::default());
            queue.unclaimed.clear();
            (queue.unclaimed_more, queue.next) = (0, None);
        }
    }

    /// Says what does not agree. Above `log_end` and behind the last record there should be nothing.
    pub(super) fn finish(
        self,
        dir: &StoreDir,
        log_end: &LogEnd,
        verdict: &mut Verdict,
    ) -> Result<(), DoctorError> {
        let &LogEnd { was_aborted, is_rebuilt, .. } = log_end;
        for ((topic, queue_id), mut queue) in self.queues {
            let place = format!("consumequeue/{topic}/{queue_id}");
            if queue.missing.count > 0 {
                // A kill may come before the last records are dispatched.
                let is_tail = queue.missing.first_phy_offset > self.dispatched_to;
                let severity =
                    if was_aborted && is_tail { Severity::Note } else { Severity::Damage };
                let Misses { count, first, .. } = queue.missing;
                let repair = if is_rebuilt || is_tail {
                    "a start adds them"
                } else {
                    "a start does not add them"
                };
                let text = format!("{count} units are missing, the first at {first}; {repair}");
                verdict.add(severity, &place, text);
            }
            if queue.wrong.count > 0 {
                let Misses { count, first, .. } = queue.wrong;
                let text =
                    format!("{count} units do not point at their records, the first at {first}");
                verdict.add(Severity::Damage, &place, text);
            }
            let from = queue.next.unwrap_or(queue.first());
            queue.pass(dir, from..u64::MAX, log_end.min_phy_offset)?;
            say_unclaimed(&place, &queue, log_end, verdict);
        }
        Ok(())
    }
}

/// Sorts the units that no record claims by where they point.
fn say_unclaimed(place: &str, queue: &Queue, log_end: &LogEnd, verdict: &mut Verdict) {
    let (mut behind, mut damaged, mut known, mut strange) =
        (Misses::default(), Misses::default(), Misses::default(), Misses::default());
    let mut deleted = Misses::default();
    for (at, points) in queue.unclaimed.iter().copied() {
        if points >= log_end.phy_offset {
            behind.add(at, points);
        } else if points < queue.deleted_at {
            deleted.add(at, points);
        } else if log_end.is_known(points) {
            known.add(at, points);
        } else if log_end.is_damaged(points) {
            damaged.add(at, points);
        } else {
            strange.add(at, points);
        }
    }
    if behind.count > 0 {
        behind.count += queue.unclaimed_more;
        let Misses { count, first, first_phy_offset: points } = behind;
        let text = format!(
            "{count} units from {first} on point behind the end of the log ({points}); a start cuts them"
        );
        let severity = if log_end.was_aborted { Severity::Note } else { Severity::Damage };
        verdict.add(severity, place, text);
    }
    for (misses, severity, what) in [
        (&deleted, Severity::Note, "are of the topic before it was deleted; a start removes them"),
        (&known, Severity::Note, "point into damage that is known"),
        (&damaged, Severity::Damage, "point into damage"),
        (&strange, Severity::Damage, "have no record"),
    ] {
        let Misses { count, first, first_phy_offset: points } = misses;
        if *count > 0 {
            let text = format!("{count} units {what}, the first at {first} ({points})");
            verdict.add(severity, place, text);
        }
    }
}
