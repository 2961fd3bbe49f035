//! What the core knows of the log: which term stands where, how long recent entries are, what is safe.
//!
//! Terms are kept as runs (term, first index), so that memory grows with elections and not with entries.

use std::collections::VecDeque;

use crate::types::{EntryMeta, LedgerIndex, NO_TERM, Term};

/// Lengths of so many of the last entries are kept, to make batches of; older ones are pushed one by one.
const SIZES_MAX: usize = 16_384;

/// What an entry of forgotten length is taken for.
const FORGOTTEN_BYTES: u64 = 64 << 10;

/// A log without its entries.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogView {
    begin_index: LedgerIndex,
    end_index: LedgerIndex,
    runs: Vec<Run>,
    /// Of the entries that end at `end_index`.
    sizes_bytes: VecDeque<u32>,
    written_index: LedgerIndex,
    synced_index: LedgerIndex,
    generation: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Run {
    term: Term,
    first_index: LedgerIndex,
}

impl LogView {
    /// A log that holds nothing and begins at `begin_index`.
    #[must_use]
    pub fn empty(begin_index: LedgerIndex) -> Self {
        assert!(begin_index >= 0, "indexes begin at 0, not at {begin_index}");
        LogView {
            begin_index,
            end_index: begin_index - 1,
            runs: Vec::new(),
            sizes_bytes: VecDeque::new(),
            written_index: begin_index - 1,
            synced_index: begin_index - 1,
            generation: 0,
        }
    }

    /// The log that a start found on its disk, of terms in order, made durable before.
    ///
    /// # Panics
    /// When a term is smaller than the one before it.
    #[must_use]
    pub fn recovered(
        begin_index: LedgerIndex,
        entries: impl IntoIterator<Item = EntryMeta>,
    ) -> Self {
        let mut log = LogView::empty(begin_index);
        for entry in entries {
            log.append(&[entry]);
        }
        log.written_index = log.end_index;
        log.synced_index = log.end_index;
        log
    }

    /// As [`LogView::recovered`], of a log whose entries can be looked up. Terms do not fall along it, so that
    /// bisection finds where each begins; only the last entries are asked for their lengths.
    ///
    /// # Errors
    /// What `entry` says.
    pub fn looked_up<E>(
        begin_index: LedgerIndex,
        end_index: LedgerIndex,
        mut entry: impl FnMut(LedgerIndex) -> Result<EntryMeta, E>,
    ) -> Result<Self, E> {
        let mut log = LogView::empty(begin_index);
        let mut first_index = begin_index;
        while first_index <= end_index {
            let term = entry(first_index)?.term;
            log.runs.push(Run { term, first_index });
            let (mut same, mut larger) = (first_index, end_index + 1);
            while larger - same > 1 {
                let middle = same + (larger - same) / 2;
                if entry(middle)?.term > term { larger = middle } else { same = middle }
            }
            first_index = larger;
        }
        for index in begin_index.max(end_index + 1 - SIZES_MAX as LedgerIndex)..=end_index {
            log.sizes_bytes.push_back(entry(index)?.size_bytes);
        }
        log.end_index = end_index.max(begin_index - 1);
        log.written_index = log.end_index;
        log.synced_index = log.end_index;
        Ok(log)
    }

    /// `ledgerBeginIndex`: of the first entry that is there.
    #[must_use]
    pub fn begin_index(&self) -> LedgerIndex {
        self.begin_index
    }

    /// `ledgerEndIndex`: of the last entry.
    #[must_use]
    pub fn end_index(&self) -> LedgerIndex {
        self.end_index
    }

    /// `ledgerEndTerm`: the term of the last entry, never a node's current term.
    #[must_use]
    pub fn end_term(&self) -> Term {
        self.runs.last().map_or(NO_TERM, |run| run.term)
    }

    /// Whether nothing is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.end_index < self.begin_index
    }

    /// The term of an entry that is there.
    #[must_use]
    pub fn term_of(&self, index: LedgerIndex) -> Option<Term> {
        let is_there = (self.begin_index..=self.end_index).contains(&index);
        is_there.then(|| self.runs[self.run_of(index)].term)
    }

    /// The last index up to `index` whose term is at most `term`; before the first if there is none.
    #[must_use]
    pub fn last_index_of_term_up_to(&self, term: Term, index: LedgerIndex) -> LedgerIndex {
        let larger = self.runs.iter().find(|run| run.term > term);
        larger.map_or(index, |run| index.min(run.first_index - 1)).max(self.begin_index - 1)
    }

    /// Up to where entries are written.
    #[must_use]
    pub fn written_index(&self) -> LedgerIndex {
        self.written_index
    }

    /// Up to where entries are synced.
    #[must_use]
    pub fn synced_index(&self) -> LedgerIndex {
        self.synced_index
    }

    /// Counts cuts.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The entry at `index` if it is there; of an older one the length is unknown, and 0.
    #[must_use]
    pub fn entry(&self, index: LedgerIndex) -> Option<EntryMeta> {
        let term = self.term_of(index)?;
        let from_end = usize::try_from(self.end_index - index).ok()?;
        let at = self.sizes_bytes.len().checked_sub(from_end + 1);
        Some(EntryMeta { term, size_bytes: at.map_or(0, |at| self.sizes_bytes[at]) })
    }

    /// The entries from `first` on that make a batch of at most `count` entries and `bytes` bytes: one at
    /// least where one is there, and no second one of unknown length.
    #[must_use]
    pub fn batch(&self, first: LedgerIndex, count: u64, bytes: u64) -> Vec<EntryMeta> {
        let mut batch = Vec::new();
        let mut left = bytes;
        for index in first.. {
            let Some(entry) = self.entry(index) else { break };
            let size = u64::from(entry.size_bytes);
            let fits = size > 0 && size <= left;
            if batch.len() as u64 >= count || !(fits || batch.is_empty()) {
                break;
            }
            left = if fits { left - size } else { 0 };
            batch.push(entry);
        }
        batch
    }

    /// The bytes of the entries from `first` up to, without, `behind`; guessed where lengths are forgotten.
    #[must_use]
    pub fn bytes_of(&self, first: LedgerIndex, behind: LedgerIndex) -> u64 {
        let entries = (first..behind).filter_map(|index| self.entry(index));
        entries
            .map(
                |entry| {
                    if entry.size_bytes == 0 { FORGOTTEN_BYTES } else { entry.size_bytes.into() }
                },
            )
            .sum()
    }

    pub(crate) fn append(&mut self, entries: &[EntryMeta]) {
        for entry in entries {
            self.end_index += 1;
            let end_term = self.end_term();
            assert!(entry.term >= end_term, "term {} behind term {end_term}", entry.term);
            if entry.term > end_term {
                self.runs.push(Run { term: entry.term, first_index: self.end_index });
            }
            self.sizes_bytes.push_back(entry.size_bytes);
        }
        let surplus = self.sizes_bytes.len().saturating_sub(SIZES_MAX);
        self.sizes_bytes.drain(..surplus);
    }

    /// Cuts behind `keep_through`, and begins a generation.
    pub(crate) fn cut(&mut self, keep_through: LedgerIndex) {
        assert!(
            (self.begin_index - 1..=self.end_index).contains(&keep_through),
            "a cut at {keep_through} of {}..={}",
            self.begin_index,
            self.end_index
        );
        let cut = usize::try_from(self.end_index - keep_through).unwrap_or(usize::MAX);
        self.sizes_bytes.truncate(self.sizes_bytes.len().saturating_sub(cut));
        self.end_index = keep_through;
        self.runs.retain(|run| run.first_index <= keep_through);
        self.written_index = self.written_index.min(keep_through);
        self.synced_index = self.synced_index.min(keep_through);
        self.generation += 1;
    }

    /// Forgets everything: the log begins anew at `begin_index`, in a generation of its own.
    pub(crate) fn start_over(&mut self, begin_index: LedgerIndex) {
        let generation = self.generation + 1;
        *self = LogView { generation, ..LogView::empty(begin_index) };
    }

    /// Retention removed what is below `index`. The last entry stays.
    pub(crate) fn drop_below(&mut self, index: LedgerIndex) {
        let index = index.min(self.end_index);
        if index <= self.begin_index {
            return;
        }
        let run = self.run_of(index);
        self.runs.drain(..run);
        self.runs[0].first_index = index;
        self.begin_index = index;
        self.written_index = self.written_index.max(index - 1);
        self.synced_index = self.synced_index.max(index - 1);
    }

    pub(crate) fn mark_written(&mut self, generation: u64, index: LedgerIndex) {
        if generation == self.generation {
            assert!(index <= self.end_index, "{index} is written of {}", self.end_index);
            self.written_index = self.written_index.max(index);
        }
    }

    pub(crate) fn mark_synced(&mut self, generation: u64, index: LedgerIndex) {
        if generation == self.generation {
            self.mark_written(generation, index);
            self.synced_index = self.synced_index.max(index);
            assert!(self.synced_index <= self.written_index, "what is synced is written");
        }
    }

    /// The run that holds an entry which is there.
    fn run_of(&self, index: LedgerIndex) -> usize {
        let behind = self.runs.partition_point(|run| run.first_index <= index);
        assert!(behind > 0, "every entry is in a run");
        behind - 1
    }
}
