//! Replicas hold the same bytes, derived files equal a rebuild from the CommitLog, and recovering
//! twice changes nothing.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::{Checker, Violation};

/// Bytes compared at a time.
const CHUNK_BYTES: u64 = 64 << 10;

/// One copy of a log.
pub struct LogCopy<'a> {
    /// The process that keeps it.
    pub name: &'a str,
    /// First byte.
    pub min: u64,
    /// End.
    pub max: u64,
    /// Reads a range that lies inside.
    pub read: &'a dyn Fn(std::ops::Range<u64>) -> Vec<u8>,
}

/// Compares the part that both copies hold; with `whole`, where `other` begins and where they end,
/// too: a copy may begin earlier (its owner removes old files by itself), never later.
#[must_use]
pub fn check_logs(one: &LogCopy<'_>, other: &LogCopy<'_>, whole: bool) -> Option<Violation> {
    let end = one.max.min(other.max);
    let mut at = one.min.max(other.min);
    while at < end {
        let to = end.min(at + CHUNK_BYTES);
        let (left, right) = ((one.read)(at..to), (other.read)(at..to));
        if let Some(offset) = first_difference(&left, &right) {
            let text = format!(
                "the logs of {} and {} differ at {}",
                one.name,
                other.name,
                at + offset as u64
            );
            return Some(Violation::new(Checker::Replicas, text));
        }
        at = to;
    }
    if whole && other.min > one.min {
        let text =
            format!("{} begins at {}, {} only at {}", one.name, one.min, other.name, other.min);
        return Some(Violation::new(Checker::Replicas, text));
    }
    (whole && one.max != other.max).then(|| {
        let text =
            format!("{} ends at {}, {} ends at {}", one.name, one.max, other.name, other.max);
        Violation::new(Checker::Replicas, text)
    })
}

fn first_difference(left: &[u8], right: &[u8]) -> Option<usize> {
    if left == right {
        return None;
    }
    let differing = left.iter().zip(right).position(|(a, b)| a != b);
    Some(differing.unwrap_or(left.len().min(right.len())))
}

/// One record of a CommitLog as far as its queue entry is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexedRecord {
    /// Topic.
    pub topic: Arc<str>,
    /// Queue.
    pub queue_id: u32,
    /// Index in the queue, as the record says.
    pub queue_offset: u64,
    /// The unit that a rebuild would write.
    pub unit: Unit,
}

/// A ConsumeQueue unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    /// First byte of the record.
    pub phy_offset: u64,
    /// Length of the record.
    pub size_bytes: u32,
    /// Tag hash or delivery time.
    pub tags_code: i64,
}

impl Unit {
    /// A place in the middle of a queue that no record fills.
    pub const HOLE: Unit = Unit { phy_offset: u64::MAX, size_bytes: 0, tags_code: 0 };
}

/// The units of one ConsumeQueue from its first readable offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueUnits {
    /// Offset of the first unit.
    pub min_offset: u64,
    /// The units.
    pub units: Vec<Unit>,
}

/// Compares ConsumeQueues with a rebuild from the records of the same store, in log order. Of `gaps`,
/// ranges of the log that a device damaged, a queue may have entries or none.
#[must_use]
pub fn check_queues(
    store: &str,
    records: &[IndexedRecord],
    gaps: &[Range<u64>],
    queues: &BTreeMap<(Arc<str>, u32), QueueUnits>,
) -> Option<Violation> {
    if !gaps.is_empty() {
        return check_queues_outside(store, records, gaps, queues);
    }
    let mut rebuilt: BTreeMap<(Arc<str>, u32), QueueUnits> = BTreeMap::new();
    for record in records {
        let key = (Arc::clone(&record.topic), record.queue_id);
        let queue = rebuilt
            .entry(key)
            .or_insert_with(|| QueueUnits { min_offset: record.queue_offset, units: Vec::new() });
        let expected = queue.min_offset + queue.units.len() as u64;
        if record.queue_offset != expected {
            let text = format!(
                "{store}: the record at {} says it is {} of {} queue {}, but it is {expected}",
                record.unit.phy_offset, record.queue_offset, record.topic, record.queue_id
            );
            return Some(Violation::new(Checker::Replicas, text));
        }
        queue.units.push(record.unit);
    }
    let kept = queues.iter().filter(|(_, queue)| !queue.units.is_empty());
    for (key, queue) in kept {
        if rebuilt.get(key) != Some(queue) {
            return Some(queue_differs(store, key, queue, rebuilt.get(key)));
        }
    }
    let missing = rebuilt.keys().find(|key| queues.get(*key).is_none_or(|q| q.units.is_empty()));
    missing.map(|(topic, queue_id)| {
        let text = format!("{store}: {topic} queue {queue_id} has records but no queue entries");
        Violation::new(Checker::Replicas, text)
    })
}

/// As [`check_queues`], entry by entry: the records of the gaps are not known.
fn check_queues_outside(
    store: &str,
    records: &[IndexedRecord],
    gaps: &[Range<u64>],
    queues: &BTreeMap<(Arc<str>, u32), QueueUnits>,
) -> Option<Violation> {
    let mut known = BTreeMap::new();
    for record in records {
        let queue = queues.get(&(Arc::clone(&record.topic), record.queue_id));
        let index = queue.and_then(|queue| record.queue_offset.checked_sub(queue.min_offset));
        let unit = queue.zip(index).and_then(|(queue, index)| queue.units.get(index as usize));
        if unit != Some(&record.unit) {
            let text = format!(
                "{store}: {} queue {} has no entry {} for the record at {}",
                record.topic, record.queue_id, record.queue_offset, record.unit.phy_offset
            );
            return Some(Violation::new(Checker::Replicas, text));
        }
        known.insert(record.unit.phy_offset, record.unit);
    }
    let strange = |unit: &&Unit| {
        **unit != Unit::HOLE
            && known.get(&unit.phy_offset) != Some(*unit)
            && !gaps.iter().any(|gap| gap.contains(&unit.phy_offset))
    };
    queues.iter().find_map(|((topic, queue_id), queue)| {
        let unit = queue.units.iter().find(strange)?;
        let at = unit.phy_offset;
        let text = format!("{store}: {topic} queue {queue_id} points at {at}, where no record is");
        Some(Violation::new(Checker::Replicas, text))
    })
}

fn queue_differs(
    store: &str,
    (topic, queue_id): &(Arc<str>, u32),
    found: &QueueUnits,
    rebuilt: Option<&QueueUnits>,
) -> Violation {
    let empty = QueueUnits::default();
    let rebuilt = rebuilt.unwrap_or(&empty);
    let at = found.units.iter().zip(&rebuilt.units).position(|(a, b)| a != b);
    let text = format!(
        "{store}: {topic} queue {queue_id} has {} entries from {}, a rebuild gives {} from {}{}",
        found.units.len(),
        found.min_offset,
        rebuilt.units.len(),
        rebuilt.min_offset,
        at.map(|at| format!("; they differ at entry {at}")).unwrap_or_default()
    );
    Violation::new(Checker::Replicas, text)
}

/// Digests of a store's files after one recovery and after a second one.
#[must_use]
pub fn check_idempotent(
    store: &str,
    once: &BTreeMap<String, u64>,
    twice: &BTreeMap<String, u64>,
) -> Option<Violation> {
    let path = once.keys().chain(twice.keys()).find(|path| once.get(*path) != twice.get(*path))?;
    let text = format!("{store}: recovering a second time changes {path}");
    Some(Violation::new(Checker::Replicas, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logs(one: &[u8], other: &[u8], whole: bool) -> Option<String> {
        let read = |bytes: &[u8], range: std::ops::Range<u64>| {
            bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()]
                .to_vec()
        };
        let (read_one, read_other) = (|range| read(one, range), |range| read(other, range));
        let one = LogCopy { name: "a", min: 0, max: one.len() as u64, read: &read_one };
        let other = LogCopy { name: "a-s", min: 0, max: other.len() as u64, read: &read_other };
        check_logs(&one, &other, whole).map(|violation| violation.text)
    }

    /// A copy that begins at `min`, compared with a whole one.
    fn begins_at(min: u64) -> Option<String> {
        let read = |range: std::ops::Range<u64>| vec![1; (range.end - range.start) as usize];
        let one = LogCopy { name: "a", min: 0, max: 9, read: &read };
        let other = LogCopy { name: "a-s", min, max: 9, read: &read };
        check_logs(&one, &other, true).map(|violation| violation.text)
    }

    #[test]
    fn logs_must_agree_where_both_have_bytes() {
        assert_eq!(logs(b"abcdef", b"abcdef", true), None);
        assert_eq!(logs(b"abcdef", b"abc", false), None);
        assert!(logs(b"abcdef", b"abc", true).unwrap().contains("a-s ends at 3"));
        assert!(logs(b"abcdef", b"abXdef", false).unwrap().contains("differ at 2"));
        assert!(begins_at(3).unwrap().contains("a-s only at 3"));
        assert_eq!(begins_at(0), None);
        let (mut long, same) = (vec![7; 200_000], vec![7; 200_000]);
        long[150_000] = 8;
        assert!(logs(&long, &same, true).unwrap().contains("differ at 150000"));
    }

    fn record(queue_offset: u64) -> IndexedRecord {
        IndexedRecord {
            topic: "T".into(),
            queue_id: 1,
            queue_offset,
            unit: Unit { phy_offset: queue_offset * 100, size_bytes: 100, tags_code: 0 },
        }
    }

    fn queues(units: &[u64]) -> BTreeMap<(Arc<str>, u32), QueueUnits> {
        let units = units.iter().map(|n| record(*n).unit).collect();
        [(("T".into(), 1), QueueUnits { min_offset: 0, units })].into()
    }

    #[test]
    fn queues_must_equal_a_rebuild() {
        let records = [record(0), record(1), record(2)];
        assert_eq!(check_queues("a", &records, &[], &queues(&[0, 1, 2])), None);
        let text = |records: &[IndexedRecord], units: &[u64]| {
            check_queues("a", records, &[], &queues(units)).unwrap().text
        };
        assert!(text(&records, &[0, 1]).contains("has 2 entries"));
        assert!(text(&records, &[0, 2, 1]).contains("differ at entry 1"));
        assert!(text(&records, &[]).contains("no queue entries"));
        assert!(text(&records[..2], &[0, 1, 2]).contains("a rebuild gives 2"));
        assert!(text(&[record(0), record(2)], &[0, 2]).contains("but it is 1"));
    }

    #[test]
    fn gaps_excuse_only_what_lies_in_them() {
        let (records, gap) = ([record(0), record(2)], 100..200);
        let check =
            |units: &[u64]| check_queues("a", &records, std::slice::from_ref(&gap), &queues(units));
        assert_eq!(check(&[0, 1, 2]), None);
        assert!(check(&[0, 2]).unwrap().text.contains("no entry 2 for the record at 200"));
        assert!(check(&[0, 1, 2, 3]).unwrap().text.contains("points at 300"));
    }

    #[test]
    fn recovery_must_be_idempotent() {
        let once: BTreeMap<_, _> = [("commitlog/0".to_owned(), 1), ("lock".to_owned(), 2)].into();
        assert_eq!(check_idempotent("a", &once, &once.clone()), None);
        let mut twice = once.clone();
        twice.insert("commitlog/0".to_owned(), 3);
        assert!(check_idempotent("a", &once, &twice).unwrap().text.contains("commitlog/0"));
        twice = once.clone();
        twice.insert("extra".to_owned(), 1);
        assert!(check_idempotent("a", &once, &twice).is_some());
    }
}
