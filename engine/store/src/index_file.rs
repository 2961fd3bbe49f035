//! [`IndexFile`]: one file of the index, mapped: entries behind one another, chained by slots.
//!
//! Entries are only ever added. Slots and the header change in place and follow from the entries, so
//! that a file of which only the entries are trusted can be set right.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use mq_env::disk::{Disk, MappedRegion, PAGE_SIZE};
use mq_mapped_file::erase_behind;

use crate::index_layout::{
    INDEX_ENTRY_BYTES, INDEX_SLOT_BYTES, IndexEntry, IndexHeader, IndexLayout,
};

/// A mapped index file. Its owner keeps readers and the writer apart.
pub(crate) struct IndexFile {
    path: PathBuf,
    number: u64,
    layout: IndexLayout,
    region: MappedRegion,
    header: IndexHeader,
    /// Whether something was written since the last sync began.
    is_dirty: bool,
    /// What is written up to here finds blocks.
    reserved_to: usize,
}

/// Blocks for so many bytes of entries are reserved at once.
const RESERVED_BYTES: usize = 1 << 20;

impl IndexFile {
    /// Maps the file, which is created if it is missing. `number` is its name. It takes disk for
    /// header and slots, which are written in no order, before the first change, and for entries as
    /// they come.
    pub(crate) fn open(
        disk: &dyn Disk,
        dir: &Path,
        number: u64,
        layout: IndexLayout,
    ) -> io::Result<Self> {
        let path = Self::path_in(dir, number);
        let region = disk.map_sparse(&path, layout.file_bytes())?;
        let header = IndexHeader::decode(region.slice(0..region.len()))
            .ok_or_else(|| io::Error::other("shorter than its header"))?;
        Ok(IndexFile { path, number, layout, region, header, is_dirty: false, reserved_to: 0 })
    }

    /// Sees to it that header and slots have blocks.
    pub(crate) fn reserve_slots(&mut self, disk: &dyn Disk) -> io::Result<()> {
        if self.reserved_to == 0 {
            let end = self.layout.entry_position(0);
            disk.reserve(&self.region, 0..end)?;
            self.reserved_to = end;
        }
        Ok(())
    }

    /// Sees to it that the next entry has blocks, too.
    pub(crate) fn make_room(&mut self, disk: &dyn Disk) -> io::Result<()> {
        self.reserve_slots(disk)?;
        let start = self.layout.entry_position(self.header.index_count as usize);
        let end = start + INDEX_ENTRY_BYTES;
        if end <= self.reserved_to {
            return Ok(());
        }
        let ahead = (start + RESERVED_BYTES).min(self.layout.file_bytes()).max(end);
        assert!(ahead >= end && ahead <= self.layout.file_bytes(), "entries lie in their file");
        disk.reserve(&self.region, start..ahead)?;
        self.reserved_to = ahead;
        Ok(())
    }

    /// Where the file of that number is.
    pub(crate) fn path_in(dir: &Path, number: u64) -> PathBuf {
        dir.join(format!("{number:017}"))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The name as a number: local time of creation as `yyyyMMddHHmmssSSS`.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn header(&self) -> &IndexHeader {
        &self.header
    }

    pub(crate) fn is_full(&self) -> bool {
        self.layout.is_full(&self.header)
    }

    /// Sets the header of a new file.
    pub(crate) fn begin(&mut self, header: IndexHeader) {
        self.header = header;
    }

    /// Adds an entry. The file is not full; [`IndexFile::publish`] follows before anything is read.
    pub(crate) fn put(&mut self, key_hash: i32, phy_offset: i64, store_timestamp: i64) {
        assert!(!self.is_full(), "a file that is full takes no entry");
        let number = self.header.index_count;
        let slot = self.layout.slot_of(key_hash);
        let end = self.layout.entry_position(number as usize) + INDEX_ENTRY_BYTES;
        assert!(number > 0 && slot < self.layout.hash_slot_num, "entries are counted from 1");
        assert!(end <= self.reserved_to, "an entry has its blocks before it is written");
        let prev = self.valid(self.slot(slot));
        let time_diff = self.header.time_diff(store_timestamp);
        self.write_entry(number as usize, &IndexEntry { key_hash, phy_offset, time_diff, prev });
        self.write_slot(slot, number);
        if number <= 1 {
            self.header.begin_phy_offset = phy_offset;
            self.header.begin_timestamp = store_timestamp;
        }
        if prev == 0 {
            self.header.hash_slot_count += 1;
        }
        self.header.index_count += 1;
        self.header.end_phy_offset = phy_offset;
        self.header.end_timestamp = store_timestamp;
    }

    /// Writes the header.
    pub(crate) fn publish(&mut self) {
        self.region.write(0, &self.header.encode());
        self.is_dirty = true;
    }

    /// The region if it has to be synced; it counts as synced from now on.
    pub(crate) fn take_dirty(&mut self) -> Option<MappedRegion> {
        std::mem::take(&mut self.is_dirty).then(|| self.region.clone())
    }

    /// Has the next sync include the file.
    pub(crate) fn set_dirty(&mut self) {
        self.is_dirty = true;
    }

    /// Whether the file may hold records stored between the times, in ms (RocketMQ 4.9
    /// `isTimeMatched`).
    pub(crate) fn is_time_matched(&self, begin_ms: i64, end_ms: i64) -> bool {
        let own = self.header.begin_timestamp..=self.header.end_timestamp;
        (begin_ms < *own.start() && end_ms > *own.end())
            || own.contains(&begin_ms)
            || own.contains(&end_ms)
    }

    /// Adds the physical offsets of entries with that hash and time, newest first, until there are
    /// `max` in all (RocketMQ 4.9 `selectPhyOffset`).
    pub(crate) fn select_phy_offset(
        &self,
        key_hash: i32,
        max: usize,
        begin_ms: i64,
        end_ms: i64,
        found: &mut Vec<u64>,
    ) {
        let mut number = self.valid(self.slot(self.layout.slot_of(key_hash)));
        while number > 0 && found.len() < max {
            let Some(entry) = self.entry(number as usize).filter(|entry| entry.time_diff >= 0)
            else {
                return;
            };
            let time = self.header.begin_timestamp + i64::from(entry.time_diff) * 1000;
            if entry.key_hash == key_hash
                && (begin_ms..=end_ms).contains(&time)
                && let Ok(phy_offset) = u64::try_from(entry.phy_offset)
            {
                found.push(phy_offset);
            }
            // Links lead to older entries. A damaged one could lead in a circle.
            let prev = self.valid(entry.prev);
            if time < begin_ms || prev >= number {
                return;
            }
            number = prev;
        }
    }

    /// The entry of that number, from 1.
    pub(crate) fn entry(&self, number: usize) -> Option<IndexEntry> {
        let at = self.layout.entry_position(number);
        (number < self.layout.index_num)
            .then(|| IndexEntry::decode(self.region.slice(at..at + INDEX_ENTRY_BYTES)))
            .flatten()
    }

    /// How many of the first `known` entries are of records below `phy_offset`.
    pub(crate) fn entries_below(&self, phy_offset: u64, known: usize) -> usize {
        let is_below = |number: usize| {
            self.entry(number).is_some_and(|entry| {
                u64::try_from(entry.phy_offset).is_ok_and(|offset| offset < phy_offset)
            })
        };
        // Entries ascend.
        let (mut low, mut high) = (0, known.min(self.layout.index_num.saturating_sub(1)));
        while low < high {
            let middle = high - (high - low) / 2;
            assert!((low + 1..=high).contains(&middle), "the search narrows");
            if is_below(middle) {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        assert!(low <= known, "{low} of {known} entries");
        low
    }

    /// Keeps the first `kept` entries and makes slots and header follow from them. The last one's
    /// record was stored at `end_timestamp`.
    pub(crate) fn keep(&mut self, kept: usize, end_timestamp: i64) {
        assert!(kept < self.layout.index_num, "a file has no more entries than fit: {kept}");
        let mut newest: BTreeMap<usize, i32> = BTreeMap::new();
        let (mut begin, mut end) = (None, 0);
        for number in 1..=kept {
            let Some(mut entry) = self.entry(number) else { break };
            let slot = self.layout.slot_of(entry.key_hash);
            let prev = newest.insert(slot, number as i32).unwrap_or(0);
            if entry.prev != prev {
                entry.prev = prev;
                self.write_entry(number, &entry);
            }
            begin = begin.or(Some(entry.phy_offset));
            end = entry.phy_offset;
        }
        self.set_slots(&newest);
        self.erase_entries(kept + 1);
        self.header.begin_phy_offset = begin.unwrap_or(self.header.begin_phy_offset);
        self.header.end_phy_offset = end;
        self.header.end_timestamp = end_timestamp;
        self.header.hash_slot_count = newest.len() as i32;
        self.header.index_count = kept as i32 + 1;
        assert_eq!(self.header.entries(), kept, "what is kept is what is counted");
        assert!(newest.len() <= kept, "each slot that is used has an entry");
        self.publish();
    }

    /// Makes every slot hold what `newest` says, or 0. Pages that nobody touched stay untouched.
    fn set_slots(&self, newest: &BTreeMap<usize, i32>) {
        const SLOTS_PER_PAGE: usize = PAGE_SIZE / INDEX_SLOT_BYTES;
        for first in (0..self.layout.hash_slot_num).step_by(SLOTS_PER_PAGE) {
            let slots = first..(first + SLOTS_PER_PAGE).min(self.layout.hash_slot_num);
            let at = self.layout.slot_position(first);
            let mut used = newest.range(slots.clone()).peekable();
            let is_hole = self.region.next_data(at) >= at + INDEX_SLOT_BYTES * slots.len();
            if used.peek().is_none() && is_hole {
                continue;
            }
            let mut page = [0; PAGE_SIZE];
            for (slot, number) in used {
                let at = INDEX_SLOT_BYTES * (slot - first);
                page[at..at + INDEX_SLOT_BYTES].copy_from_slice(&number.to_be_bytes());
            }
            let page = &page[..INDEX_SLOT_BYTES * slots.len()];
            if self.region.slice(at..at + page.len()) != page {
                self.region.write(at, page);
            }
        }
    }

    /// Zeroes the entries from `number` on, up to where a mebibyte is zero.
    fn erase_entries(&self, number: usize) {
        const STOPS_AFTER_BYTES: usize = 1 << 20;
        erase_behind(&self.region, self.layout.entry_position(number), STOPS_AFTER_BYTES);
    }

    fn slot(&self, slot: usize) -> i32 {
        assert!(slot < self.layout.hash_slot_num, "slot {slot} lies before the entries");
        let at = self.layout.slot_position(slot);
        let bytes = self.region.slice(at..at + INDEX_SLOT_BYTES);
        bytes.try_into().map(i32::from_be_bytes).unwrap_or_default()
    }

    /// The number of an entry that exists, or 0.
    fn valid(&self, number: i32) -> i32 {
        if (1..self.header.index_count).contains(&number) { number } else { 0 }
    }

    fn write_slot(&self, slot: usize, number: i32) {
        assert!(slot < self.layout.hash_slot_num, "slot {slot} lies before the entries");
        self.region.write(self.layout.slot_position(slot), &number.to_be_bytes());
    }

    fn write_entry(&self, number: usize, entry: &IndexEntry) {
        assert!((1..self.layout.index_num).contains(&number), "entry {number} lies in its file");
        assert!((0..number as i32).contains(&entry.prev), "links lead to older entries: {entry:?}");
        self.region.write(self.layout.entry_position(number), &entry.encode());
    }
}
