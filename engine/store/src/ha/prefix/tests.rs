//! The question and its answer over real stores: what is a prefix, what diverged, and from where.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const FILE: u64 = 1 << 20;

/// A log of records: 4 bytes of length, then content that depends on the offset and on the history.
#[derive(Clone)]
struct Log {
    min: u64,
    bytes: Vec<u8>,
    /// Where a record begins that its disk has damaged.
    damaged: Option<u64>,
}

impl Log {
    fn at(min: u64) -> Self {
        Log { min, bytes: Vec::new(), damaged: None }
    }

    fn end(&self) -> u64 {
        self.min + self.bytes.len() as u64
    }

    /// Appends records of `history` until the log ends at or above `end`.
    fn grow(mut self, history: u8, end: u64) -> Self {
        while self.end() < end {
            let start = self.end();
            let len = (91 + start % 400).min(FILE - start % FILE) as u32;
            if len < 8 {
                self.bytes.extend(vec![0xff; len as usize]);
                continue;
            }
            self.bytes.extend(len.to_be_bytes());
            let content = (4..len).map(|at| history ^ (start as u8).wrapping_mul(at as u8 | 1));
            self.bytes.extend(content);
        }
        self
    }

    fn cut(mut self, end: u64) -> Self {
        self.bytes.truncate((end - self.min) as usize);
        self
    }

    fn from(mut self, min: u64) -> Self {
        self.bytes.drain(..(min - self.min) as usize);
        self.min = min;
        self
    }

    fn crc(&self, range: Range<u64>) -> Option<u32> {
        let start = usize::try_from(range.start.checked_sub(self.min)?).ok()?;
        let end = usize::try_from(range.end.checked_sub(self.min)?).ok()?;
        self.bytes.get(start..end).map(crc32fast::hash)
    }

    fn boundaries(&self, range: Range<u64>) -> Vec<u64> {
        let mut at = (range.start - range.start % FILE).max(self.min);
        let mut boundaries = Vec::new();
        while at <= range.end {
            boundaries.push(at);
            let start = (at - self.min) as usize;
            let Some(word) = self.bytes.get(start..start + 4) else { break };
            at += match u32::from_be_bytes(word.try_into().unwrap()) {
                u32::MAX => FILE - at % FILE,
                len => u64::from(len),
            };
        }
        boundaries
    }

    fn sound_record_end(&self, start: u64) -> Option<u64> {
        let end = *self.boundaries(start..self.end()).iter().find(|boundary| **boundary > start)?;
        (self.damaged != Some(start)).then_some(end)
    }

    fn answer(&self, query: &PrefixQuery) -> PrefixAnswer {
        let verdict = |sample: &LogSample| match self.crc(sample.from..sample.end()) {
            None => SampleVerdict::NotHeld,
            Some(crc) if crc == sample.crc => SampleVerdict::Same,
            Some(_) if self.damaged == Some(sample.from) => SampleVerdict::Damaged,
            Some(_) => SampleVerdict::Differs,
        };
        let verdicts = query.samples.iter().map(verdict).collect();
        PrefixAnswer { min_offset: self.min, max_offset: self.end(), verdicts }
    }
}

/// Compares through an oracle over `master`; also how many questions it took.
async fn relation(slave: &Log, master: &Log, diverged_bytes_max: u64) -> (Relation, usize) {
    let asked = Arc::new(AtomicUsize::new(0));
    let (master, count) = (master.clone(), Arc::clone(&asked));
    let oracle: PrefixOracle = Arc::new(move |query| {
        count.fetch_add(1, Ordering::Relaxed);
        let answer = master.answer(&query);
        Box::pin(async move { Ok(answer) })
    });
    let own = OwnLog {
        min_offset: slave.min,
        end_offset: slave.end(),
        crc: &|range| slave.crc(range),
        boundaries: &|range| slave.boundaries(range),
        sound_record_end: &|at| slave.sound_record_end(at),
        file_start: &|offset| offset - offset % FILE,
    };
    let relation = compare(own, &oracle, diverged_bytes_max).await.unwrap();
    (relation, asked.load(Ordering::Relaxed))
}

#[tokio::test]
async fn a_prefix_takes_one_question() {
    let master = Log::at(0).grow(1, 20 * FILE);
    for end in [1, 90, 70_000, FILE, 5 * FILE + 17, master.end()] {
        let slave = master.clone().cut(end);
        assert_eq!(relation(&slave, &master, FILE).await, (Relation::Prefix, 1), "end {end}");
    }
    // A blank one asks where it may begin.
    assert_eq!(relation(&Log::at(0), &master, FILE).await, (Relation::Prefix, 1));
}

#[tokio::test]
async fn a_tail_is_cut_at_the_last_common_record() {
    for parting in [3 * FILE + 100, 4 * FILE - 300, 4 * FILE, 4 * FILE + 500_000] {
        let common = Log::at(0).grow(1, parting);
        for (slave_more, master_more) in [(1, 0), (200_000, 0), (200_000, 3 * FILE), (300, 1)] {
            let slave = common.clone().grow(2, common.end() + slave_more);
            let master = common.clone().grow(1, common.end() + master_more);
            let (relation, asked) = relation(&slave, &master, FILE).await;
            assert_eq!(relation, Relation::Diverged { common: common.end() });
            assert!(asked <= 7, "{asked} questions");
        }
    }
}

#[tokio::test]
async fn a_tail_in_a_long_log_is_found() {
    let common = Log::at(0).grow(1, 40 * FILE);
    let slave = common.clone().grow(2, 40 * FILE + 900_000);
    let master = common.clone().grow(3, 45 * FILE);
    let (found, asked) = relation(&slave, &master, FILE).await;
    assert_eq!(found, Relation::Diverged { common: common.end() });
    assert!(asked <= 6, "{asked} questions");
}

#[tokio::test]
async fn a_record_cut_in_the_middle_goes_with_the_tail() {
    let common = Log::at(0).grow(1, 2 * FILE);
    let slave = common.clone().grow(2, common.end() + 5_000);
    let slave = slave.clone().cut(slave.end() - 3);
    let master = common.clone().grow(1, 3 * FILE);
    let (found, _) = relation(&slave, &master, FILE).await;
    assert_eq!(found, Relation::Diverged { common: common.end() });
}

#[tokio::test]
async fn a_splice_below_an_equal_tail_is_seen() {
    // What 4.9 leaves behind: old records in the middle, the master's bytes around them.
    let master = Log::at(0).grow(1, 4 * FILE);
    let mut slave = master.clone();
    let common = *master.boundaries(0..4 * FILE - 200_000).last().unwrap();
    slave.bytes[common as usize + 4..][..30_000].fill(7);
    let (found, _) = relation(&slave, &master, FILE).await;
    assert_eq!(found, Relation::Diverged { common });
}

/// The relation to a master whose record number `record` differs in a byte, which may fail its checks or those
/// of the slave.
async fn with_a_damaged_record(record: usize, fails: bool, slaves_fails: bool) -> (Relation, u64) {
    let mut slave = Log::at(0).grow(1, 4 * FILE);
    let mut master = slave.clone().grow(1, 5 * FILE);
    let phy_offset = slave.boundaries(0..slave.end())[record];
    master.bytes[phy_offset as usize + 10] ^= 1;
    master.damaged = fails.then_some(phy_offset);
    slave.damaged = slaves_fails.then_some(phy_offset);
    (relation(&slave, &master, 9 * FILE).await.0, phy_offset)
}

#[tokio::test]
async fn a_sound_record_does_not_give_way_to_a_damaged_one() {
    let records = Log::at(0).grow(1, 4 * FILE).boundaries(0..4 * FILE).len() - 1;
    let (first, _) = with_a_damaged_record(0, true, false).await;
    assert!(matches!(first, Relation::Foreign(Foreign::NoCommonHistory { .. })), "{first:?}");
    for record in [1, records / 2, records - 2] {
        for (fails, slaves_fails) in [(true, false), (false, false), (false, true), (true, true)] {
            let (found, phy_offset) = with_a_damaged_record(record, fails, slaves_fails).await;
            let expected = if slaves_fails {
                Relation::Diverged { common: phy_offset }
            } else {
                Relation::Foreign(Foreign::DamagedRecord { phy_offset })
            };
            assert_eq!(found, expected, "{record} of {records}, {fails}");
        }
    }
    // Nothing is behind the last one that could be the same.
    let (last, phy_offset) = with_a_damaged_record(records - 1, false, false).await;
    assert_eq!(last, Relation::Diverged { common: phy_offset });
    let (last, phy_offset) = with_a_damaged_record(records - 1, true, false).await;
    assert_eq!(last, Relation::Foreign(Foreign::DamagedRecord { phy_offset }));
}

#[tokio::test]
async fn records_may_be_longer_than_a_sample() {
    let mut slave = Log::at(0).grow(1, 1_000);
    let phy_offset = slave.end();
    slave.bytes.extend(200_000_u32.to_be_bytes());
    slave.bytes.extend(vec![5; 200_000 - 4]);
    let slave = slave.clone().grow(1, slave.end() + 1_000);
    for at in [100, 150_000, 199_999] {
        let mut master = slave.clone();
        master.bytes[(phy_offset + at) as usize] ^= 1;
        let (found, _) = relation(&slave, &master, FILE).await;
        assert_eq!(found, Relation::Foreign(Foreign::DamagedRecord { phy_offset }), "{at}");
    }
}

#[tokio::test]
async fn logs_need_not_start_at_the_same_offset() {
    let master = Log::at(0).grow(1, 6 * FILE);
    let slave = master.clone().cut(4 * FILE);
    for (slave_min, master_min) in [(2 * FILE, 0), (0, 2 * FILE), (FILE, 3 * FILE)] {
        let (slave, master) = (slave.clone().from(slave_min), master.clone().from(master_min));
        assert_eq!(relation(&slave, &master, FILE).await.0, Relation::Prefix);
    }
    let (found, _) = relation(&slave, &master.from(4 * FILE), FILE).await;
    assert_eq!(found, Relation::Elsewhere { master_min: 4 * FILE });
}

#[tokio::test]
async fn a_blank_log_may_begin_anywhere_in_the_masters() {
    let master = Log::at(2 * FILE).grow(1, 5 * FILE);
    for min in [2 * FILE, 3 * FILE, master.end()] {
        assert_eq!(relation(&Log::at(min), &master, FILE).await, (Relation::Prefix, 1));
    }
    for min in [FILE, 9 * FILE] {
        let (found, _) = relation(&Log::at(min), &master, FILE).await;
        assert_eq!(found, Relation::Elsewhere { master_min: 2 * FILE });
    }
}

#[tokio::test]
async fn foreign_masters_are_not_followed() {
    let slave = Log::at(FILE).grow(1, 4 * FILE);
    let check =
        async |master: Log, diverged_bytes_max| match relation(&slave, &master, diverged_bytes_max)
            .await
            .0
        {
            Relation::Foreign(foreign) => foreign,
            other => panic!("{other:?}"),
        };
    for blank in [Log::at(0), Log::at(4 * FILE)] {
        assert!(matches!(check(blank, FILE).await, Foreign::BlankMaster { .. }));
    }
    let other = Log::at(FILE).grow(2, 4 * FILE);
    assert!(matches!(check(other.clone(), 9 * FILE).await, Foreign::NoCommonHistory { .. }));
    assert!(matches!(check(other, FILE).await, Foreign::TailTooLong { .. }));
    let lower = Log::at(0).grow(1, FILE);
    let lower = lower.clone().cut(lower.end().min(FILE));
    assert!(matches!(check(lower, 9 * FILE).await, Foreign::NoCommonHistory { .. }));
    // The tail is longer than allowed by a few records.
    let shorter = Log::at(FILE).grow(1, 2 * FILE + 400_000);
    let shorter = shorter.clone().grow(3, 4 * FILE);
    let tail = slave.end() - Log::at(FILE).grow(1, 2 * FILE + 400_000).end();
    assert!(matches!(check(shorter.clone(), tail - 1).await, Foreign::TailTooLong { .. }));
    let (found, _) = relation(&slave, &shorter, tail).await;
    assert_eq!(found, Relation::Diverged { common: slave.end() - tail });
}

#[tokio::test]
async fn a_nonsensical_answer_is_an_error() {
    let slave = Log::at(0).grow(1, 1_000);
    let oracle: PrefixOracle = Arc::new(|_| {
        let answer = PrefixAnswer { min_offset: 0, max_offset: 9, verdicts: Vec::new() };
        Box::pin(async move { Ok(answer) })
    });
    let own = OwnLog {
        min_offset: 0,
        end_offset: slave.end(),
        crc: &|range| slave.crc(range),
        boundaries: &|range| slave.boundaries(range),
        sound_record_end: &|at| slave.sound_record_end(at),
        file_start: &|_| 0,
    };
    assert!(matches!(compare(own, &oracle, FILE).await, Err(PrefixError::Unreachable(_))));
}

#[test]
fn a_proof_covers_the_tail_and_reaches_the_floor() {
    let whole = proof_ranges(10..10 + WHOLE_SAMPLES * SAMPLE_BYTES);
    assert!(whole.windows(2).all(|pair| pair[0].end == pair[1].start));
    assert_eq!((whole[0].start, whole.len() as u64), (10, WHOLE_SAMPLES));
    for pieces in [129, 130, 1_000, 1 << 24] {
        let end = 77 + pieces * SAMPLE_BYTES;
        let ranges = proof_ranges(77..end);
        assert!(ranges.len() <= mq_protocol::header::log_prefix::LOG_SAMPLES_MAX);
        assert!(ranges.windows(2).all(|pair| pair[0].end <= pair[1].start));
        assert_eq!((ranges[0].start, ranges[ranges.len() - 1].end), (77, end));
        let tail = &ranges[ranges.len() - TAIL_SAMPLES as usize..];
        assert_eq!(tail[0].start, end - TAIL_SAMPLES * SAMPLE_BYTES);
    }
    assert_eq!(spread(3..10, 64), [3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(spread(0..1000, 4), [249, 499, 749, 999]);
}
