//! A store against a model of it, step by step: whatever is put, killed, cut off, expired and asked, the
//! store answers what the model says.
//!
//! The model knows each record, where it lies, and whether it is owed. Under SYNC_FLUSH it is exact;
//! under ASYNC_FLUSH a power loss may cost an end of the log that was never called synced, and the model
//! follows the store, once it has seen that what is left is a beginning. A failing list of steps shrinks
//! to a short one ([`find`]).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use mq_env::rng::Rng;
use mq_protocol::message_codec::decode_record;
use mq_store::config::{FlushDiskType, StoreConfig};
use mq_store::{GetMessageStatus, MessageFilter, PutMessageStatus};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use staticfire_world::disk::SimDisk;

use super::known::{Knowledge, Known, Violation, violation};
use super::stage::{
    BETWEEN_LIVES_MS, DELETION, HandClock, LOG_FILE, Stage, keys, message, new_disk_by, number_of,
    plant_on_this_thread, small_config,
};
use super::state::inspect;
use super::tables;

/// Something that happens to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// So many messages are put, each once the one before is answered.
    Put(u8),
    /// So many messages are put and nobody waits for the answers.
    PutAndGo(u8),
    /// A message is put that no file has room for.
    PutTooLarge,
    /// So many milliseconds pass: the flush services have their turns.
    Pass(u16),
    /// The process dies and starts again.
    Kill,
    /// The machine loses power and starts again.
    PowerLoss(u8),
    /// The process ends in order and starts again.
    Restart,
    /// Files expire.
    Expire,
    /// The log is cut where one of its records starts, or at its end.
    Truncate(u8),
    /// The topic is deleted.
    DeleteTopic,
    /// A metadata file is replaced.
    ReplaceTable(u8),
    /// A message is looked up by its key.
    Query(u8),
    /// A queue is read from an offset on.
    Get(u8, u8),
}

/// Steps as they come.
pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1..8_u8).prop_map(Step::Put),
        3 => (1..6_u8).prop_map(Step::PutAndGo),
        1 => Just(Step::PutTooLarge),
        3 => (1..1_200_u16).prop_map(Step::Pass),
        2 => Just(Step::Kill),
        3 => any::<u8>().prop_map(Step::PowerLoss),
        1 => Just(Step::Restart),
        1 => Just(Step::Expire),
        1 => any::<u8>().prop_map(Step::Truncate),
        1 => Just(Step::DeleteTopic),
        1 => (0..2_u8).prop_map(Step::ReplaceTable),
        2 => any::<u8>().prop_map(Step::Query),
        2 => (0..2_u8, any::<u8>()).prop_map(|(queue_id, offset)| Step::Get(queue_id, offset)),
    ];
    proptest::collection::vec(step, 1..24)
}

/// Steps that broke a promise, as few as shrinking came to.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What they are.
    pub steps: Vec<Step>,
    /// The promise.
    pub violation: Violation,
    /// Cases until they were found.
    pub cases: u32,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut steps = String::new();
        for step in &self.steps {
            write!(steps, "{step:?}, ")?;
        }
        write!(f, "{} ← {}", self.violation, steps.trim_end_matches(", "))
    }
}

/// Plays `cases` seeded lists of steps under planted bugs, if any; the shortest that breaks something.
///
/// # Panics
/// On a plant that this build does not have.
#[must_use]
pub fn find(mode: FlushDiskType, cases: u32, plants: &[String]) -> Option<Finding> {
    let mut config = small_config(mode);
    config.plant(plants).expect("plants of this build");
    plant_on_this_thread(&config);
    let settings = ProptestConfig {
        cases,
        max_shrink_iters: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(settings, rng);
    let played = std::cell::Cell::new(0);
    let failing = std::cell::Cell::new(None);
    let outcome = runner.run(&steps(), |steps| {
        played.set(played.get() + 1);
        play(&steps, &config).map_err(|broken| {
            failing.set(failing.get().or(Some(played.get())));
            TestCaseError::fail(broken.to_string())
        })
    });
    match outcome {
        Ok(()) => None,
        Err(TestError::Fail(_, steps)) => {
            let violation = play(&steps, &config).expect_err("it failed before");
            Some(Finding { steps, violation, cases: failing.get().unwrap_or(0) })
        }
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}

/// Plays steps on a new store.
///
/// # Errors
/// The first answer that is not the model's.
pub fn play(steps: &[Step], config: &StoreConfig) -> Result<(), Violation> {
    let (clock, knowledge) = (HandClock::of_life(0), Knowledge::default());
    let disk = new_disk_by(1, Arc::clone(&clock));
    let mut model = Model { clock: Some(clock), owed_to: u64::MAX, ..Model::default() };
    let mut rest = steps;
    let mut life = 0;
    loop {
        let end = Stage::live(&disk, config, life, &knowledge, async |stage| {
            model.adopt(stage)?;
            model.live(stage, &mut rest).await
        })?;
        let Some(end) = end else { return Ok(()) };
        if let Step::PowerLoss(seed) = end {
            model.lose_power(&disk, seed, &knowledge, config);
        }
        life += 1;
    }
}

/// What the store should have.
#[derive(Default)]
struct Model {
    /// By physical offset: number, end, queue, queue offset.
    records: BTreeMap<u64, Record>,
    /// First byte of the log.
    min_offset: u64,
    /// From here on records may be missing after a power loss.
    owed_to: u64,
    next_number: u32,
    /// Everything below was acknowledged.
    acked_to: u64,
    /// Hours that passed for retention.
    hours_ms: u64,
    /// The clock of the disk.
    clock: Option<Arc<HandClock>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Record {
    number: u32,
    end: u64,
    queue_id: u32,
    queue_offset: u64,
}

impl Model {
    /// After a start: what is there is a beginning of what was, with all that is owed.
    fn adopt(&mut self, stage: &Stage) -> Result<(), Violation> {
        stage.clock.advance(self.hours_ms);
        self.tell_disk(BETWEEN_LIVES_MS);
        let end = stage.store.commit_log().max_offset();
        stage.knowledge.learn(|known| known.appended.split_off(&end));
        let lost = self.records.range(end..).next();
        if let Some((phy_offset, lost)) = lost.filter(|(_, lost)| lost.end <= self.owed_to) {
            let what = format!("message {} at {phy_offset}; the log ends at {end}", lost.number);
            return violation("model: owed", what);
        }
        let _ = self.records.split_off(&end);
        self.owed_to = u64::MAX;
        self.compare(stage)
    }

    fn tell_disk(&self, passed_ms: u64) {
        if let Some(clock) = &self.clock {
            clock.advance(passed_ms);
        }
    }

    /// Plays steps until the life ends; how it does.
    async fn live(&mut self, stage: &Stage, rest: &mut &[Step]) -> Result<Option<Step>, Violation> {
        while let Some((step, later)) = rest.split_first() {
            *rest = later;
            match *step {
                Step::Kill | Step::PowerLoss(_) => return Ok(Some(*step)),
                Step::Restart => {
                    stage.store.shutdown().await;
                    return Ok(Some(*step));
                }
                Step::Put(count) => {
                    for _ in 0..count {
                        self.put(stage).await?;
                    }
                }
                Step::PutAndGo(count) => {
                    for _ in 0..count {
                        let number = self.next_number;
                        self.next_number += 1;
                        let put = stage.store.put_message(&message(number));
                        let last = |known: &mut Known| {
                            known.appended.last_key_value().map(|(at, it)| (*at, *it))
                        };
                        let placed = stage.knowledge.learn(last);
                        drop(put);
                        let Some((phy_offset, (end, placed))) = placed else { continue };
                        if placed != number {
                            return violation("model: put", format!("{placed} for {number}"));
                        }
                        self.add(phy_offset, end, number);
                    }
                }
                Step::PutTooLarge => stage.put_too_large().await,
                Step::Pass(duration_ms) => stage.pass(u64::from(duration_ms)).await,
                Step::Expire => self.expire(stage).await,
                Step::Truncate(which) => self.truncate(stage, which).await?,
                Step::DeleteTopic => self.delete_topic(stage).await,
                Step::ReplaceTable(which) => {
                    stage.replace_table(tables::NAMES[usize::from(which)]).await;
                }
                Step::Query(which) => self.query(stage, which).await?,
                Step::Get(queue_id, offset) => self.get(stage, queue_id, offset).await?,
            }
        }
        stage.dispatched().await;
        self.compare(stage)?;
        Ok(None)
    }

    async fn put(&mut self, stage: &Stage) -> Result<(), Violation> {
        let number = self.next_number;
        self.next_number += 1;
        let result = stage.store.put_message(&message(number)).await;
        let (PutMessageStatus::PutOk, Some(placed)) = (result.status, result.append) else {
            return violation("model: put", format!("{:?} for {number}", result.status));
        };
        let record = self.add(placed.phy_offset, placed.end_offset(), number);
        self.acked_to = record.end;
        if placed.queue_offset != record.queue_offset {
            let what = format!("{number} got {}, not {}", placed.queue_offset, record.queue_offset);
            return violation("model: queue offset", what);
        }
        Ok(())
    }

    fn add(&mut self, phy_offset: u64, end: u64, number: u32) -> Record {
        let queue_id = number % 2;
        let last = self.of_topic().rev().find(|(_, record)| record.queue_id == queue_id);
        let last = last.map(|(_, record)| record);
        let queue_offset = last.map_or(0, |record| record.queue_offset + 1);
        let record = Record { number, end, queue_id, queue_offset };
        self.records.insert(phy_offset, record);
        record
    }

    /// Those of the topic as it is, from where it was deleted last on.
    fn of_topic(&self) -> impl DoubleEndedIterator<Item = (&u64, &Record)> {
        let mut deletions = self.records.iter().rev().filter(|(_, it)| it.number == DELETION);
        let from = deletions.next().map_or(0, |(_, deletion)| deletion.end);
        self.records.range(from..)
    }

    async fn delete_topic(&mut self, stage: &Stage) {
        stage.delete_topic().await;
        let (phy_offset, end) = stage.knowledge.learn(|known| {
            let newest = known.appended.iter().rev().find(|(_, (_, number))| *number == DELETION);
            newest.map_or((0, 0), |(phy_offset, (end, _))| (*phy_offset, *end))
        });
        let deletion = Record { number: DELETION, end, queue_id: u32::MAX, queue_offset: 0 };
        self.records.insert(phy_offset, deletion);
        self.acked_to = end;
    }

    /// All files but the last go.
    async fn expire(&mut self, stage: &Stage) {
        const HOURS_MS: u64 = 3 * 3_600_000;
        // Only what is durable goes.
        stage.pass(1_200).await;
        self.hours_ms += HOURS_MS;
        stage.clock.advance(HOURS_MS);
        self.tell_disk(HOURS_MS);
        stage.store.execute_delete_files_manually();
        stage.pass(4_000).await;
        let log = stage.store.commit_log();
        let (end, size) = (log.max_offset(), LOG_FILE as u64);
        // A log that ends with a full file may have an empty one behind it, which is then the last.
        let is_empty_last = end.is_multiple_of(size) && log.min_offset() == end;
        self.min_offset = if is_empty_last { end } else { end.saturating_sub(1) / size * size };
    }

    /// Everything from one of the records on goes, for good.
    async fn truncate(&mut self, stage: &Stage, which: u8) -> Result<(), Violation> {
        let mut starts: Vec<u64> = self.live_records().map(|(at, _)| *at).collect();
        starts.push(stage.store.commit_log().max_offset());
        let cut = starts[usize::from(which) % starts.len()];
        if let Err(error) = stage.store.truncate_to(cut, "the model").await {
            return violation("model: truncate", error.to_string());
        }
        self.records.split_off(&cut);
        self.acked_to = self.acked_to.min(cut);
        stage.dispatched().await;
        self.compare(stage)
    }

    /// Those of the log, from its minimum on.
    fn live_records(&self) -> impl Iterator<Item = (&u64, &Record)> {
        self.records.range(self.min_offset..)
    }

    async fn query(&self, stage: &Stage, which: u8) -> Result<(), Violation> {
        stage.dispatched().await;
        let number = u32::from(which) % self.next_number.max(1);
        let key = &keys(number)[0];
        let found = stage.store.query_message("T", key, 32, 0, i64::MAX);
        let found: Vec<u32> = found
            .messages
            .iter()
            .filter_map(|bytes| decode_record(bytes).ok().map(|record| number_of(record.body())))
            .collect();
        let expected: Vec<u32> =
            self.live_records().map(|(_, it)| it.number).filter(|it| *it == number).collect();
        if found != expected {
            return violation("model: query", format!("{key}: {found:?}, not {expected:?}"));
        }
        Ok(())
    }

    async fn get(&self, stage: &Stage, queue_id: u8, offset: u8) -> Result<(), Violation> {
        stage.dispatched().await;
        let queue_id = u32::from(queue_id);
        let of_queue =
            || self.of_topic().map(|(_, it)| it).filter(|record| record.queue_id == queue_id);
        let end = of_queue().next_back().map_or(0, |record| record.queue_offset + 1);
        let mut live = self.of_topic().filter(|(_, record)| record.queue_id == queue_id);
        let first = live.find(|(at, _)| **at >= self.min_offset);
        let min = first.map_or(end, |(_, record)| record.queue_offset);
        let offset = u64::from(offset) % (end + 2);
        let result = stage.store.get_message("T", queue_id, offset, 32, &MessageFilter::All);
        if end == 0 && result.messages.is_empty() {
            return Ok(());
        }
        let status = if offset < min {
            GetMessageStatus::OffsetTooSmall
        } else if offset == end {
            GetMessageStatus::OffsetOverflowOne
        } else if offset > end {
            GetMessageStatus::OffsetOverflowBadly
        } else {
            GetMessageStatus::Found
        };
        let numbers =
            result.messages.iter().map(|bytes| decode_record(bytes).map(|it| number_of(it.body())));
        let numbers: Vec<u32> = numbers.filter_map(Result::ok).collect();
        let expected: Vec<u32> =
            of_queue().filter(|it| it.queue_offset >= offset).map(|it| it.number).collect();
        let is_run = status != GetMessageStatus::Found || !numbers.is_empty();
        if result.status != status || !is_run || !expected.starts_with(&numbers) {
            let what = format!(
                "{queue_id} at {offset}: {:?} {numbers:?}, not {status:?} of {expected:?}",
                result.status
            );
            return violation("model: get", what);
        }
        Ok(())
    }

    /// Log, queues, index and metadata files are the model's.
    fn compare(&self, stage: &Stage) -> Result<(), Violation> {
        let found = inspect(stage)?;
        stage.knowledge.now().check_tables(&found)?;
        let found: Vec<(u64, u32)> =
            found.records.iter().map(|(at, (_, number))| (*at, *number)).collect();
        let expected: Vec<(u64, u32)> =
            self.live_records().map(|(at, record)| (*at, record.number)).collect();
        if found != expected {
            return violation("model: log", format!("{found:?}, not {expected:?}"));
        }
        Ok(())
    }

    /// Under SYNC_FLUSH what was acknowledged is owed, under ASYNC_FLUSH what was called synced.
    fn lose_power(
        &mut self,
        disk: &Arc<SimDisk>,
        seed: u8,
        knowledge: &Knowledge,
        config: &StoreConfig,
    ) {
        disk.power_loss(&mut Rng::from_seed(u64::from(seed)).stream("model"));
        let synced = knowledge.now().synced;
        self.owed_to = match config.flush_disk_type {
            FlushDiskType::SyncFlush => synced.max(self.acked_to),
            FlushDiskType::AsyncFlush => synced,
        };
        self.acked_to = 0;
    }
}
