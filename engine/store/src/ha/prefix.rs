//! The proof that a slave's log is a prefix of its master's, and the search for where they part.
//!
//! The slave asks with checksums of pieces of its log ([`PrefixQuery`]); how the question travels is
//! the broker's business ([`PrefixOracle`]). A log of up to 8 MiB is compared whole; of a longer one
//! the last 4 MiB, and samples below at doubling and at even distances. Where a piece differs, both
//! sides narrow down to the last record boundary below which their logs agree, and prove that one
//! anew. Every search ends after a bounded number of questions.
//!
//! RocketMQ 4.9 has nothing like it: there a slave appends behind whatever it has.

use std::ops::Range;
use std::sync::Arc;

use mq_env::BoxFuture;
use mq_protocol::header::log_prefix::{
    LOG_SAMPLE_BYTES_MAX, LOG_SAMPLES_MAX, LogSample, SampleVerdict,
};

use crate::commit_log::CommitLog;
pub use mq_protocol::header::log_prefix::{PrefixAnswer, PrefixQuery};

/// Asks the master about the slave's log. The broker implements it with
/// [`CHECK_LOG_PREFIX`](mq_protocol::header::log_prefix::CHECK_LOG_PREFIX); every call ends within a
/// bounded time.
pub type PrefixOracle =
    Arc<dyn Fn(PrefixQuery) -> BoxFuture<'static, Result<PrefixAnswer, PrefixError>> + Send + Sync>;

/// Why a master gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// It does not know the request: a Java peer (response code 3).
    #[error("the master does not know the request")]
    Unsupported {
        /// The end of its log, if it could be asked for that.
        log_end: Option<u64>,
    },
    /// It could not be asked, or answered nonsense.
    #[error("the master gave no answer: {0}")]
    Unreachable(String),
}

/// Piece of a log that is compared as one.
const SAMPLE_BYTES: u64 = LOG_SAMPLE_BYTES_MAX as u64;

/// A log of so many pieces is compared whole.
const WHOLE_SAMPLES: u64 = 128;

/// Pieces at the end of a longer log that are compared without a gap.
const TAIL_SAMPLES: u64 = 64;

/// Pieces of a longer log that are spread evenly below the tail.
const EVEN_SAMPLES: u64 = 32;

/// Record boundaries tried per question of the search.
const CANDIDATES: usize = 64;

/// Questions after which a search gives up.
const QUESTIONS_MAX: usize = 40;

/// Pieces of a proof: the tail, at doubling distances, and those spread evenly.
const PROOF_SAMPLES_MAX: u64 = TAIL_SAMPLES + u64::BITS as u64 + EVEN_SAMPLES;
// Whatever is asked fits one question.
const _: () = assert!(WHOLE_SAMPLES <= LOG_SAMPLES_MAX as u64);
const _: () = assert!(PROOF_SAMPLES_MAX <= LOG_SAMPLES_MAX as u64);
const _: () = assert!(TAIL_SAMPLES < WHOLE_SAMPLES && CANDIDATES <= LOG_SAMPLES_MAX);

/// What the proof needs to know of the slave's log. Nothing appends while it lasts.
#[derive(Clone, Copy)]
pub(crate) struct OwnLog<'a> {
    /// First byte.
    pub(crate) min_offset: u64,
    /// End.
    pub(crate) end_offset: u64,
    /// CRC-32 of a range, if it lies inside.
    pub(crate) crc: &'a (dyn Fn(Range<u64>) -> Option<u32> + Sync),
    /// Ascending starts of the sound records from the file that contains the range's start, up to
    /// and including the range's end.
    pub(crate) boundaries: &'a (dyn Fn(Range<u64>) -> Vec<u64> + Sync),
    /// End of the record that begins at an offset, if it passes all its checks.
    pub(crate) sound_record_end: &'a (dyn Fn(u64) -> Option<u64> + Sync),
    /// First byte of the file that contains an offset.
    pub(crate) file_start: &'a (dyn Fn(u64) -> u64 + Sync),
}

/// How the slave's log relates to its master's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    /// It is a prefix, as far as samples tell.
    Prefix,
    /// It is one up to the record boundary `common`, and different behind it.
    Diverged {
        /// End of the common part.
        common: u64,
    },
    /// It ends at or below the master's first byte, or is blank and begins outside the master's:
    /// nothing can be compared, and nothing of it can be continued.
    Elsewhere {
        /// The master's first byte.
        master_min: u64,
    },
    /// The master must not be followed.
    Foreign(Foreign),
}

/// Why a master must not be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Foreign {
    #[error("the master's log is blank while this slave's has bytes {min_offset} to {end_offset}")]
    BlankMaster { min_offset: u64, end_offset: u64 },
    #[error(
        "this slave's log ({min_offset} to {end_offset}) and its master's ({master_min} to \
         {master_max}) have no common history"
    )]
    NoCommonHistory { min_offset: u64, end_offset: u64, master_min: u64, master_max: u64 },
    #[error(
        "this slave's log leaves its master's at or below {common_max} and ends at {end_offset}: \
         more than the {diverged_bytes_max} bytes of haMaxDivergedBytes"
    )]
    TailTooLong { common_max: u64, end_offset: u64, diverged_bytes_max: u64 },
    #[error(
        "of the record at {phy_offset} the master has other bytes than this slave, whose copy passes its \
         checks: a disk has damaged it"
    )]
    DamagedRecord { phy_offset: u64 },
    #[error("no common end of both logs was found with {QUESTIONS_MAX} questions")]
    Undecided,
}

/// Compares a slave's samples with this master's log.
#[must_use]
pub fn answer_prefix_query(log: &CommitLog, query: &PrefixQuery) -> PrefixAnswer {
    // Read before the samples: what is held then is held by the answer's limit, too.
    let max_offset = log.max_offset();
    let verdict = |sample: &LogSample| match log.crc_of(sample.from..sample.end()) {
        None => SampleVerdict::NotHeld,
        Some(crc) if crc == sample.crc => SampleVerdict::Same,
        Some(_) if log.is_newly_damaged(sample.from) => SampleVerdict::Damaged,
        Some(_) => SampleVerdict::Differs,
    };
    let verdicts = query.samples.iter().map(verdict).collect();
    // Read behind them: what expired meanwhile is below it, and so no difference.
    PrefixAnswer { min_offset: log.min_offset(), max_offset, verdicts }
}

/// Whether the log behind `ask` is the beginning of `log`, or the other way round, as far as both ends of what
/// they share tell. Logs that share nothing are different ones.
///
/// # Errors
/// Those of `ask`.
pub async fn shares_log<'a, E>(
    log: &CommitLog,
    ask: impl Fn(PrefixQuery) -> BoxFuture<'a, Result<PrefixAnswer, E>>,
) -> Result<bool, E> {
    let ask = |samples| ask(PrefixQuery { end_offset: log.max_offset(), samples });
    let there = ask(Vec::new()).await?;
    let from = there.min_offset.max(log.min_offset());
    let to = there.max_offset.min(log.max_offset());
    if from >= to {
        return Ok(false);
    }
    let ends = [from..to.min(from + SAMPLE_BYTES), from.max(to.saturating_sub(SAMPLE_BYTES))..to];
    let samples = ends.into_iter().map(|range| sample(range, &|range| log.crc_of(range)));
    let Some(samples) = samples.collect::<Option<Vec<_>>>() else { return Ok(false) };
    Ok(ask(samples).await?.verdicts == [SampleVerdict::Same; 2])
}

/// The sample of a log at `range`, of which `crc` tells the checksum; `None` if not all of it is there.
pub(crate) fn sample(
    range: Range<u64>,
    crc: &(dyn Fn(Range<u64>) -> Option<u32> + Sync),
) -> Option<LogSample> {
    let is_piece = !range.is_empty() && range.end - range.start <= SAMPLE_BYTES;
    assert!(is_piece, "{range:?} is compared as one");
    let size_bytes = u32::try_from(range.end - range.start).ok()?;
    Some(LogSample { from: range.start, size_bytes, crc: crc(range)? })
}

/// Finds out how `own` relates to the log of the master behind `oracle`. A tail of more than
/// `diverged_bytes_max` bytes counts as foreign.
pub(crate) async fn compare(
    own: OwnLog<'_>,
    oracle: &PrefixOracle,
    diverged_bytes_max: u64,
) -> Result<Relation, PrefixError> {
    let mut questions = Questions { own, oracle, left: QUESTIONS_MAX };
    match questions.compare(diverged_bytes_max).await {
        Ok(relation) => Ok(relation),
        Err(Stop::Foreign(foreign)) => Ok(Relation::Foreign(foreign)),
        Err(Stop::Error(error)) => Err(error),
    }
}

/// A comparison under way.
struct Questions<'a> {
    own: OwnLog<'a>,
    oracle: &'a PrefixOracle,
    left: usize,
}

/// What ends a comparison early.
enum Stop {
    Foreign(Foreign),
    Error(PrefixError),
}

impl Questions<'_> {
    async fn compare(&mut self, diverged_bytes_max: u64) -> Result<Relation, Stop> {
        let OwnLog { min_offset, end_offset, .. } = self.own;
        if min_offset >= end_offset {
            return self.place_blank(end_offset).await;
        }
        // Below `floor` one of the logs has nothing; `common` is the end to be proven.
        let (mut floor, mut common) = (min_offset, end_offset);
        loop {
            assert!(
                min_offset <= floor && floor < common && common <= end_offset,
                "{floor}..{common}"
            );
            let samples = self.samples(proof_ranges(floor..common))?;
            let answer = self.ask(&samples).await?;
            let PrefixAnswer { min_offset: master_min, max_offset: master_max, verdicts } = answer;
            if master_min >= master_max {
                return Err(Stop::Foreign(Foreign::BlankMaster { min_offset, end_offset }));
            }
            if end_offset <= master_min {
                return Ok(Relation::Elsewhere { master_min });
            }
            let foreign =
                Foreign::NoCommonHistory { min_offset, end_offset, master_min, master_max };
            if min_offset >= master_max || common <= master_min {
                return Err(Stop::Foreign(foreign));
            }
            if master_min > floor {
                floor = master_min;
                continue;
            }
            let Some(limit) = lowest_difference(&samples, &verdicts, master_max) else {
                return self.settle(common).await;
            };
            let lowest = (self.own.file_start)(end_offset.saturating_sub(diverged_bytes_max));
            assert!(lowest <= end_offset, "a file begins at or before what lies in it");
            let start = lowest.max(floor);
            let found = self.narrow(floor, start, limit).await?;
            if found.unwrap_or(start) == floor {
                return Err(Stop::Foreign(foreign));
            }
            common = found.unwrap_or(limit);
            if found.is_none() || end_offset - common > diverged_bytes_max {
                return Err(Stop::Foreign(Foreign::TailTooLong {
                    common_max: common,
                    end_offset,
                    diverged_bytes_max,
                }));
            }
        }
    }

    /// What it means that the logs are the same up to the record boundary `common`, and no further. Where
    /// they part because a disk has damaged a record, the slave's sound one must not give way: that of the
    /// master fails its checks, or it is the only one that differs (checksums cover bodies alone).
    async fn settle(&mut self, common: u64) -> Result<Relation, Stop> {
        if common == self.own.end_offset {
            return Ok(Relation::Prefix);
        }
        let sound_record_end = self.own.sound_record_end;
        let Some(next) = sound_record_end(common) else {
            return Ok(Relation::Diverged { common });
        };
        let piece = |record: Range<u64>| record.start..record.end.min(record.start + SAMPLE_BYTES);
        let behind = sound_record_end(next).map(|end| piece(next..end));
        let samples = std::iter::once(piece(common..next)).chain(behind).collect();
        let samples = self.samples(samples)?;
        match self.ask(&samples).await?.verdicts[..] {
            [SampleVerdict::Damaged, ..] | [_, SampleVerdict::Same] => {
                Err(Stop::Foreign(Foreign::DamagedRecord { phy_offset: common }))
            }
            _ => Ok(Relation::Diverged { common }),
        }
    }

    /// A blank log is a prefix of any, as long as the other one has its beginning.
    async fn place_blank(&mut self, end_offset: u64) -> Result<Relation, Stop> {
        let PrefixAnswer { min_offset: master_min, max_offset, .. } = self.ask(&[]).await?;
        // One that ends at 0 is filled from the master's minimum, wherever that is.
        Ok(if end_offset == 0 || (master_min..=max_offset).contains(&end_offset) {
            Relation::Prefix
        } else {
            Relation::Elsewhere { master_min }
        })
    }

    /// The highest record boundary in `start..=limit` up to which the logs seem to agree, or nothing
    /// when they part below `start`.
    async fn narrow(&mut self, floor: u64, start: u64, limit: u64) -> Result<Option<u64>, Stop> {
        if limit < start {
            return Ok(None);
        }
        let mut boundaries = (self.own.boundaries)(start..limit);
        boundaries.retain(|boundary| (start..=limit).contains(boundary));
        if boundaries.first() != Some(&start) {
            boundaries.insert(0, start);
        }
        let below = start.saturating_sub(SAMPLE_BYTES).max(floor)..start;
        if !below.is_empty() && self.first_differing(vec![below]).await?.is_some() {
            return Ok(None);
        }
        // Boundary `same` is common, boundary `differs` (or the end of the list) is not.
        let (mut same, mut differs) = (0, boundaries.len());
        let ascending = |pair: &[u64]| pair[0] < pair[1];
        assert!(boundaries.windows(2).all(ascending), "records end in their order");
        while differs - same > 1 {
            let before = differs - same;
            let tried = spread(same + 1..differs, CANDIDATES);
            let ranges = tried.iter().map(|index| {
                let end = boundaries[*index];
                end.saturating_sub(SAMPLE_BYTES).max(boundaries[same])..end
            });
            match self.first_differing(ranges.collect()).await? {
                None => same = tried.last().copied().unwrap_or(same),
                Some(first) => {
                    differs = tried[first];
                    same = first.checked_sub(1).map_or(same, |before| tried[before]);
                }
            }
            assert!(same < differs && differs - same < before, "every question narrows the search");
        }
        let found = boundaries[same];
        assert!((start..=limit).contains(&found), "{found} was looked for in {start}..={limit}");
        Ok(Some(found))
    }

    /// Index of the first range whose bytes are not the master's.
    async fn first_differing(&mut self, ranges: Vec<Range<u64>>) -> Result<Option<usize>, Stop> {
        let samples = self.samples(ranges)?;
        let answer = self.ask(&samples).await?;
        Ok(answer.verdicts.iter().position(|verdict| *verdict != SampleVerdict::Same))
    }

    fn samples(&self, ranges: Vec<Range<u64>>) -> Result<Vec<LogSample>, Stop> {
        let samples: Option<Vec<_>> =
            ranges.into_iter().map(|range| sample(range, self.own.crc)).collect();
        samples.ok_or_else(|| {
            let text = "the slave's own log changed while it was compared";
            Stop::Error(PrefixError::Unreachable(text.to_owned()))
        })
    }

    async fn ask(&mut self, samples: &[LogSample]) -> Result<PrefixAnswer, Stop> {
        self.left = self.left.checked_sub(1).ok_or(Stop::Foreign(Foreign::Undecided))?;
        let end_offset = self.own.end_offset;
        let query = PrefixQuery { end_offset, samples: samples.to_vec() };
        let answer = (self.oracle)(query).await.map_err(Stop::Error)?;
        if answer.verdicts.len() != samples.len() {
            let (got, asked) = (answer.verdicts.len(), samples.len());
            let text = format!("{got} verdicts on {asked} samples");
            return Err(Stop::Error(PrefixError::Unreachable(text)));
        }
        Ok(answer)
    }
}

/// Everything that the common part may end at: not above this offset. Nothing when all samples are
/// the same.
fn lowest_difference(
    samples: &[LogSample],
    verdicts: &[SampleVerdict],
    master_max: u64,
) -> Option<u64> {
    let mut pairs = samples.iter().zip(verdicts);
    let (sample, verdict) = pairs.find(|(_, verdict)| **verdict != SampleVerdict::Same)?;
    Some(match verdict {
        SampleVerdict::NotHeld => sample.end().min(master_max),
        // One byte of it differs, so the common part ends before the sample does.
        _ => sample.end() - 1,
    })
}

/// The pieces of `log` that prove it, ascending.
fn proof_ranges(log: Range<u64>) -> Vec<Range<u64>> {
    let count = (log.end - log.start).div_ceil(SAMPLE_BYTES);
    // Piece 0 is the last one.
    let mut pieces: Vec<u64> = if count <= WHOLE_SAMPLES {
        (0..count).collect()
    } else {
        let mut pieces: Vec<u64> = (0..TAIL_SAMPLES).collect();
        let doubling = std::iter::successors(Some(TAIL_SAMPLES), |piece| piece.checked_mul(2));
        pieces.extend(doubling.take_while(|piece| *piece < count));
        let below = count - 1 - TAIL_SAMPLES;
        pieces.extend((1..=EVEN_SAMPLES).map(|step| {
            let far = u128::from(below) * u128::from(step) / u128::from(EVEN_SAMPLES);
            // A part of `below`, which is a u64.
            TAIL_SAMPLES + far as u64
        }));
        pieces
    };
    pieces.sort_unstable_by(|a, b| b.cmp(a));
    pieces.dedup();
    assert!(pieces.last() == Some(&0), "the end is proven");
    let most = WHOLE_SAMPLES.max(PROOF_SAMPLES_MAX);
    assert!(pieces.len() as u64 <= most, "{} pieces prove a log", pieces.len());
    let range = |piece: u64| {
        let end = log.end - piece * SAMPLE_BYTES;
        end.saturating_sub(SAMPLE_BYTES).max(log.start)..end
    };
    pieces.into_iter().map(range).collect()
}

/// Up to `count` indices spread evenly over `range`, its last one among them.
fn spread(range: Range<usize>, count: usize) -> Vec<usize> {
    let count = count.min(range.len());
    let spread: Vec<usize> =
        (1..=count).map(|step| range.start + range.len() * step / count - 1).collect();
    assert!(spread.last().is_none_or(|last| *last + 1 == range.end), "the last one is among them");
    spread
}

#[cfg(test)]
mod tests;
