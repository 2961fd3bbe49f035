//! [`State`]: what a start finds, held against a rebuild of everything that is derived from the log.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use mq_env::disk::Disk;
use mq_protocol::message::tags_code;
use mq_protocol::message_codec::{RecordCheck, RecordRules, check_record, decode_record};
use mq_protocol::topic_deletion::is_topic_deletion;
use mq_store::{ConsumeQueue, MessageFilter, MessageStore};

use super::known::{Violation, violation};
use super::stage::{self, DELETION, ROOT, Stage, number_of};
use super::tables;

/// What a start found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    /// First byte of the log.
    pub min_offset: u64,
    /// End of the log.
    pub max_offset: u64,
    /// The log's records: physical offset, end, number.
    pub records: BTreeMap<u64, (u64, u32)>,
    /// Topic, queue id, minimum and maximum of the queues.
    pub queues: Vec<(String, u32, u64, u64)>,
    /// What is in quarantine: offset of the first byte, bytes.
    pub quarantined: BTreeSet<(u64, Vec<u8>)>,
    /// Metadata files: versions read.
    pub tables: BTreeMap<&'static str, u32>,
}

impl State {
    /// Whether a store has the same as another one. What is being set aside is not the store's yet.
    #[must_use]
    pub fn is_as(&self, other: &State) -> bool {
        let outside = |state: &State| State { quarantined: BTreeSet::new(), ..state.clone() };
        outside(self) == outside(other)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<u32> = self.records.values().map(|(_, number)| *number).collect();
        let State { min_offset, max_offset, queues, tables, .. } = self;
        write!(f, "{min_offset}..{max_offset} with {numbers:?}, queues {queues:?}, {tables:?}")
    }
}

/// A queue as the log says that it must be: units by queue offset.
type Rebuilt = BTreeMap<u64, Unit>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Unit {
    phy_offset: u64,
    size: usize,
    tags_code: i64,
}

/// What the store of `stage` has, once all of it is consumable.
///
/// # Errors
/// When log, queues and index do not agree, or hold what nobody can have put there.
pub fn inspect(stage: &Stage) -> Result<State, Violation> {
    let store = &stage.store;
    let mut queues: BTreeMap<(String, u32), Rebuilt> = BTreeMap::new();
    let mut keys: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let records = walk(store, &mut queues, &mut keys)?;
    check_queues(store, &queues)?;
    check_index(store, &keys)?;
    let mut state = State {
        min_offset: store.commit_log().min_offset(),
        max_offset: store.commit_log().max_offset(),
        records,
        ..State::default()
    };
    for queue in store.consume_queues().all() {
        let (min, max) = (queue.min_offset_in_queue(), queue.max_offset_in_queue());
        state.queues.push((queue.topic().to_owned(), queue.queue_id(), min, max));
    }
    state.quarantined = quarantined(&*stage.env.disk);
    let read = tables::NAMES.map(|name| (name, tables::read(&*stage.env.disk, name)));
    state.tables.extend(read);
    Ok(state)
}

/// Walks the whole log as a rebuild does.
fn walk(
    store: &MessageStore,
    queues: &mut BTreeMap<(String, u32), Rebuilt>,
    keys: &mut BTreeMap<String, Vec<u64>>,
) -> Result<BTreeMap<u64, (u64, u32)>, Violation> {
    let log = store.commit_log();
    let mut records = BTreeMap::new();
    let (mut at, end) = (log.min_offset(), log.max_offset());
    while at < end {
        let Some(data) = log.data(at) else {
            return violation("log", format!("nothing at {at}, below the end {end}"));
        };
        let (start, mut position) = (at, 0);
        while position < data.len() {
            at = start + position as u64;
            let record = match check_record(&data[position..], &RecordRules::strict(at as i64)) {
                RecordCheck::Valid(record) => record,
                RecordCheck::Blank { .. } => {
                    at = log.roll_next_file(at);
                    break;
                }
                bad => return violation("log", format!("{bad:?} at {at}, below the end {end}")),
            };
            if is_topic_deletion(&record) {
                queues.retain(|(topic, _), _| *topic != record.topic());
                position += record.size();
                records.insert(at, (start + position as u64, DELETION));
                at = start + position as u64;
                continue;
            }
            let number = number_of(record.body());
            if record.body() != stage::body(number) {
                return violation("log", format!("the body of {number} at {at} is another"));
            }
            let queue = queues.entry((record.topic().into_owned(), record.queue_id() as u32));
            let unit = Unit {
                phy_offset: at,
                size: record.size(),
                tags_code: tags_code(Some(&format!("tag{}", number % 5))),
            };
            let queue_offset = record.queue_offset() as u64;
            if queue.or_default().insert(queue_offset, unit).is_some() {
                return violation("dense-offsets", format!("{queue_offset} comes twice: {number}"));
            }
            for key in stage::keys(number) {
                keys.entry(key).or_default().push(at);
            }
            position += record.size();
            records.insert(at, (start + position as u64, number));
            at = start + position as u64;
        }
    }
    Ok(records)
}

/// Each queue is the one that a rebuild from the log makes, and can be read from end to end.
fn check_queues(
    store: &MessageStore,
    rebuilt: &BTreeMap<(String, u32), Rebuilt>,
) -> Result<(), Violation> {
    for (topic, queue_id) in rebuilt.keys() {
        if store.consume_queues().find(topic, *queue_id).is_none() {
            return violation("queues-like-a-rebuild", format!("{topic}/{queue_id} is missing"));
        }
    }
    for queue in store.consume_queues().all() {
        let rebuilt = rebuilt.get(&(queue.topic().to_owned(), queue.queue_id()));
        check_queue(store, &queue, rebuilt.unwrap_or(&BTreeMap::new()))?;
    }
    Ok(())
}

fn check_queue(
    store: &MessageStore,
    queue: &ConsumeQueue,
    rebuilt: &Rebuilt,
) -> Result<(), Violation> {
    let name = format!("{}/{}", queue.topic(), queue.queue_id());
    let (min, max) = (queue.min_offset_in_queue(), queue.max_offset_in_queue());
    let first = rebuilt.keys().next().copied().unwrap_or(max);
    let end = rebuilt.keys().next_back().map_or(max, |last| last + 1);
    if end - first != rebuilt.len() as u64 {
        let offsets: Vec<u64> = rebuilt.keys().copied().collect();
        return violation("dense-offsets", format!("{name}: the log has {offsets:?}"));
    }
    if (min, max) != (first, end) {
        let what = format!("{name} has {min}..{max}, a rebuild {first}..{end}");
        return violation("queues-like-a-rebuild", what);
    }
    for (queue_offset, expected) in rebuilt {
        let unit = queue.unit(*queue_offset).map(|unit| Unit {
            phy_offset: unit.phy_offset as u64,
            size: unit.size as usize,
            tags_code: unit.tags_code,
        });
        if unit != Some(*expected) {
            let what = format!("{name} at {queue_offset}: {unit:?}, a rebuild {expected:?}");
            return violation("queues-like-a-rebuild", what);
        }
    }
    check_readable(store, queue, min..max)
}

fn check_readable(
    store: &MessageStore,
    queue: &ConsumeQueue,
    offsets: std::ops::Range<u64>,
) -> Result<(), Violation> {
    let mut at = offsets.start;
    while at < offsets.end {
        let all = MessageFilter::All;
        let read = store.get_message(queue.topic(), queue.queue_id(), at, 32, &all);
        for record in &read.messages {
            let offset = decode_record(record).map(|record| record.queue_offset() as u64);
            if offset.as_ref().ok() != Some(&at) {
                return violation("readable", format!("{offset:?} where {at} was asked for"));
            }
            at += 1;
        }
        if read.messages.is_empty() {
            let what = format!("{}/{} at {at}: {:?}", queue.topic(), queue.queue_id(), read.status);
            return violation("readable", what);
        }
    }
    Ok(())
}

/// Each key leads to the records that have it, and to no other.
fn check_index(store: &MessageStore, keys: &BTreeMap<String, Vec<u64>>) -> Result<(), Violation> {
    for (key, expected) in keys {
        let found = store.query_offset("T", key, 64, 0, i64::MAX).phy_offsets;
        let min = store.commit_log().min_offset();
        let mut live: Vec<u64> = found.into_iter().filter(|at| *at >= min).collect();
        live.reverse();
        if live != *expected {
            let what = format!("key {key} leads to {live:?}, a rebuild to {expected:?}");
            return violation("index-like-a-rebuild", what);
        }
    }
    Ok(())
}

/// What lies in quarantine with a description, each directory's files joined.
fn quarantined(disk: &dyn Disk) -> BTreeSet<(u64, Vec<u8>)> {
    let root = Path::new(ROOT).join("quarantine");
    let mut found = BTreeSet::new();
    for dir in disk.list(&root).unwrap_or_default() {
        let dir = root.join(dir.name);
        let mut whole: Option<(u64, Vec<u8>)> = None;
        for file in disk.list(&dir).unwrap_or_default() {
            let Ok(from) = file.name.parse::<u64>() else { continue };
            let bytes = disk.read(&dir.join(&file.name)).unwrap_or_default();
            whole.get_or_insert((from, Vec::new())).1.extend(bytes);
        }
        found.extend(whole.filter(|_| disk.stat(&dir.join("quarantine.json")).is_ok()));
    }
    found
}
