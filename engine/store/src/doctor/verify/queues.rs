//! ConsumeQueues against the units that the log gives.

use std::collections::BTreeMap;

use mq_protocol::consume_queue_unit::ConsumeQueueUnit;
use mq_protocol::message_codec::RecordView;

use super::{LogEnd, Severity, Verdict};
use crate::commit_log::counts_in_queue;
use crate::consume_queue::last_end;
use crate::dispatch::tags_code_of;
use crate::doctor::unit_reader::UnitReader;
use crate::doctor::{DoctorError, QueueDir, StoreDir};

/// The comparison under way.
pub(super) struct QueueCheck {
    queues: BTreeMap<(String, u32), Queue>,
    /// Physical offset of the last record that has its unit: those before it were dispatched, too.
    dispatched_to: u64,
}

/// A queue, and what was found of it.
struct Queue {
    reader: UnitReader,
    /// Queue offset behind the last record; `None` before the first one.
    end: Option<u64>,
    missing: Misses,
    wrong: Misses,
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
            end: None,
            missing: Misses::default(),
            wrong: Misses::default(),
        }
    }
}

impl QueueCheck {
    pub(super) fn open(dir: &StoreDir) -> Result<Self, DoctorError> {
        let queues = dir.queues()?.into_iter();
        let queues = queues.map(|it| ((it.topic.clone(), it.queue_id), Queue::new(dir, it)));
        Ok(QueueCheck { queues: queues.collect(), dispatched_to: 0 })
    }

    /// Compares a record with its unit.
    pub(super) fn record(
        &mut self,
        dir: &StoreDir,
        record: &RecordView<'_>,
        phy_offset: u64,
    ) -> Result<(), DoctorError> {
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
        match queue.reader.unit(dir, queue_offset)? {
            Some(unit) if unit == expected => self.dispatched_to = phy_offset,
            None => queue.missing.add(queue_offset, phy_offset),
            Some(_) => queue.wrong.add(queue_offset, phy_offset),
        }
        queue.end = Some(queue.end.unwrap_or(0).max(queue_offset + 1));
        Ok(())
    }

    /// Says what does not agree. Above `log_end` and behind the last record there should be nothing.
    pub(super) fn finish(
        self,
        dir: &StoreDir,
        log_end: &LogEnd,
        verdict: &mut Verdict,
    ) -> Result<(), DoctorError> {
        let &LogEnd { phy_offset: log_end, was_aborted, is_rebuilt } = log_end;
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
            let end = queue.end.unwrap_or(0);
            if let Some(unit) = queue.reader.unit(dir, end)?
                && queue.end.is_some()
                && unit != ConsumeQueueUnit::FILLER
            {
                let points = unit.phy_offset;
                let (severity, text) = if points as u64 >= log_end {
                    let text = format!(
                        "units from {end} on point behind the end of the log ({points}); a start cuts them"
                    );
                    (if was_aborted { Severity::Note } else { Severity::Damage }, text)
                } else {
                    let text = format!("a unit at {end} has no record ({points})");
                    (Severity::Damage, text)
                };
                verdict.add(severity, &place, text);
            }
        }
        Ok(())
    }
}

/// End of the last record that any queue points at.
pub(super) fn claimed_end(dir: &StoreDir) -> Result<u64, DoctorError> {
    let mut claimed = 0;
    for queue in dir.queues()? {
        for file in queue.files.iter().rev() {
            let end = last_end(&dir.disk.read(&file.path).map_err(DoctorError::io(&file.path))?);
            claimed = claimed.max(end);
            if end > 0 {
                break;
            }
        }
    }
    Ok(claimed)
}
