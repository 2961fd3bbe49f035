//! The page cache's copy of one file: zeroed memory and three bitmaps over its pages.
//!
//! The memory is reserved but not backed where the target can do that: a file of 1 GiB costs address
//! space and 96 KiB of bitmaps until its pages are touched (see [`ZeroedMemory`]). *Dirty* pages are those a flush would write. *Unsynced* pages
//! are those that may differ from the platter; a failed flush leaves pages unsynced that are no longer
//! dirty, which is why power loss looks at the second map and never at the first. *Used* pages are those
//! that may hold something: readers pass over the rest without touching it.
//!
//! Marking is lock-free, because it lies on the append path of the engine.

use std::io;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mq_env::disk::{PAGE_SIZE, ZeroedMemory};

/// The bytes of one page.
pub(super) type Page = [u8; PAGE_SIZE];

/// What a page holds that was never written.
pub(super) static ZERO_PAGE: Page = [0; PAGE_SIZE];

/// Live bytes of a file with their bitmaps.
pub(super) struct Memory {
    live: ZeroedMemory,
    dirty: Bitmap,
    unsynced: Bitmap,
    used: Bitmap,
}

impl Memory {
    /// Zeroed memory for `len` bytes, rounded up to whole pages, at least one.
    pub(super) fn new(len: usize) -> io::Result<Self> {
        let pages = len.div_ceil(PAGE_SIZE).max(1);
        let live = ZeroedMemory::new(pages * PAGE_SIZE)?;
        let [dirty, unsynced, used] = [(); 3].map(|()| Bitmap::new(pages));
        Ok(Memory { live, dirty, unsynced, used })
    }

    /// Bytes that fit.
    pub(super) fn capacity(&self) -> usize {
        self.live.len()
    }

    /// First byte.
    pub(super) fn base(&self) -> NonNull<u8> {
        self.live.base()
    }

    /// Notes that `len > 0` bytes at `offset` were written.
    pub(super) fn mark_written(&self, offset: usize, len: usize) {
        let (first, last) = (offset / PAGE_SIZE, (offset + len - 1) / PAGE_SIZE);
        self.unsynced.set_range(first, last);
        self.dirty.set_range(first, last);
        self.used.set_range(first, last);
    }

    /// Copies `data` to `offset` without marking anything.
    #[expect(unsafe_code, reason = "a copy into live memory")]
    pub(super) fn fill(&self, offset: usize, data: &[u8]) {
        assert!(offset + data.len() <= self.capacity(), "fill beyond the memory");
        if !data.is_empty() {
            self.used.set_range(offset / PAGE_SIZE, (offset + data.len() - 1) / PAGE_SIZE);
        }
        // SAFETY: the range was checked and `data` is not part of this memory. The engine holds no
        // view of the target: it is filled before the region exists, or under a reader whom a real
        // page cache would surprise as well (a file rewritten or reverted while mapped).
        unsafe {
            let target = self.base().as_ptr().add(offset);
            std::ptr::copy_nonoverlapping(data.as_ptr(), target, data.len());
        }
    }

    /// The bytes of `range`, which must not be kept across a write.
    #[expect(unsafe_code, reason = "a view of live memory")]
    pub(super) fn bytes(&self, range: Range<usize>) -> &[u8] {
        assert!(range.start <= range.end && range.end <= self.capacity(), "beyond the memory");
        // SAFETY: the range was checked and lives as long as `self`; the callers in this module
        // compare or copy it at once, before the world's only thread can write again.
        unsafe {
            let start = self.base().as_ptr().add(range.start);
            std::slice::from_raw_parts(start, range.end - range.start)
        }
    }

    /// The bytes of page `page`, zeros behind the end.
    pub(super) fn page(&self, page: u32) -> &Page {
        let start = page as usize * PAGE_SIZE;
        if start >= self.capacity() {
            return &ZERO_PAGE;
        }
        self.bytes(start..start + PAGE_SIZE).first_chunk().unwrap_or(&ZERO_PAGE)
    }

    /// The first byte at or behind `from` in a page that was ever filled or written, else the capacity.
    pub(super) fn next_used(&self, from: usize) -> usize {
        let first = u32::try_from(from / PAGE_SIZE).unwrap_or(u32::MAX);
        let page = self.used.ones(first..u32::MAX).next();
        page.map_or(self.capacity(), |page| from.max(page as usize * PAGE_SIZE))
    }

    /// A copy of page `page`.
    pub(super) fn snapshot(&self, page: u32) -> Arc<Page> {
        Arc::new(*self.page(page))
    }

    /// The dirty pages of `pages`, ascending.
    pub(super) fn dirty_pages(&self, pages: Range<u32>) -> impl Iterator<Item = u32> + '_ {
        self.dirty.ones(pages)
    }

    /// The pages that may differ from the platter, ascending.
    pub(super) fn unsynced_pages(&self) -> impl Iterator<Item = u32> + '_ {
        self.unsynced_pages_in(0..u32::MAX)
    }

    /// Those of `pages` that may differ from the platter, ascending.
    pub(super) fn unsynced_pages_in(&self, pages: Range<u32>) -> impl Iterator<Item = u32> + '_ {
        self.unsynced.ones(pages)
    }

    /// Whether a flush would write `page`.
    pub(super) fn is_dirty(&self, page: u32) -> bool {
        self.dirty.contains(page)
    }

    /// Makes `page` a page that a flush would write.
    pub(super) fn set_dirty(&self, page: u32) {
        self.unsynced.set_range(page as usize, page as usize);
        self.dirty.set_range(page as usize, page as usize);
    }

    /// Makes `page` a page that may differ from the platter without being dirty.
    pub(super) fn set_unsynced(&self, page: u32) {
        self.unsynced.set_range(page as usize, page as usize);
    }

    /// Takes the dirty mark off `page`.
    pub(super) fn clear_dirty(&self, page: u32) {
        self.dirty.clear(page);
    }

    /// Notes that `page` equals the platter.
    pub(super) fn clear_unsynced(&self, page: u32) {
        self.unsynced.clear(page);
    }
}

/// One bit per page.
pub(super) struct Bitmap(Box<[AtomicU64]>);

impl Bitmap {
    pub(super) fn new(bits: usize) -> Self {
        Bitmap((0..bits.div_ceil(64)).map(|_| AtomicU64::new(0)).collect())
    }

    pub(super) fn set_range(&self, first: usize, last: usize) {
        for index in first / 64..=last / 64 {
            let mut mask = u64::MAX;
            if index == first / 64 {
                mask &= u64::MAX << (first % 64);
            }
            if index == last / 64 {
                mask &= u64::MAX >> (63 - last % 64);
            }
            let word = &self.0[index];
            // A locked OR costs ten times a load, and an appender stays in one page for long.
            if word.load(Ordering::Relaxed) & mask != mask {
                word.fetch_or(mask, Ordering::Relaxed);
            }
        }
    }

    fn clear(&self, bit: u32) {
        self.0[bit as usize / 64].fetch_and(!(1 << (bit % 64)), Ordering::Relaxed);
    }

    pub(super) fn contains(&self, bit: u32) -> bool {
        self.0
            .get(bit as usize / 64)
            .is_some_and(|word| word.load(Ordering::Relaxed) & (1 << (bit % 64)) != 0)
    }

    /// Each word is read once, when the walk reaches it.
    pub(super) fn ones(&self, bits: Range<u32>) -> impl Iterator<Item = u32> + '_ {
        let first_word = bits.start as usize / 64;
        let end_word = (bits.end as usize).div_ceil(64).min(self.0.len());
        (first_word..end_word)
            .flat_map(move |index| {
                let mut word = self.0[index].load(Ordering::Relaxed);
                std::iter::from_fn(move || {
                    let bit = (word != 0).then(|| word.trailing_zeros())?;
                    word &= word - 1;
                    Some(index as u32 * 64 + bit)
                })
            })
            .filter(move |bit| bits.contains(bit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_reach_across_words() {
        let memory = Memory::new(200 * PAGE_SIZE).unwrap();
        memory.mark_written(62 * PAGE_SIZE + 4000, 3 * PAGE_SIZE);
        assert_eq!(memory.dirty_pages(0..200).collect::<Vec<_>>(), [62, 63, 64, 65]);
        assert_eq!(memory.dirty_pages(63..65).collect::<Vec<_>>(), [63, 64]);
        memory.clear_dirty(64);
        assert!(!memory.is_dirty(64) && memory.is_dirty(65));
        memory.mark_written(199 * PAGE_SIZE, PAGE_SIZE);
        memory.mark_written(0, 1);
        assert_eq!(memory.unsynced_pages().collect::<Vec<_>>(), [0, 62, 63, 64, 65, 199]);
    }

    #[test]
    fn holes_are_passed_over() {
        let memory = Memory::new(1000 * PAGE_SIZE).unwrap();
        assert_eq!(memory.next_used(5), 1000 * PAGE_SIZE);
        memory.fill(70 * PAGE_SIZE + 9, b"abc");
        memory.mark_written(300 * PAGE_SIZE - 1, 2);
        memory.clear_dirty(300);
        assert_eq!(memory.next_used(5), 70 * PAGE_SIZE);
        assert_eq!(memory.next_used(70 * PAGE_SIZE + 50), 70 * PAGE_SIZE + 50);
        assert_eq!(memory.next_used(71 * PAGE_SIZE), 299 * PAGE_SIZE);
        assert_eq!(memory.next_used(300 * PAGE_SIZE), 300 * PAGE_SIZE);
        assert_eq!(memory.next_used(2000 * PAGE_SIZE), 1000 * PAGE_SIZE);
    }

    #[test]
    fn memory_is_zero_until_filled_and_zero_behind_its_end() {
        let memory = Memory::new(10).unwrap();
        memory.fill(4, b"abc");
        assert_eq!(memory.bytes(3..8), b"\0abc\0");
        assert_eq!(memory.page(7), &ZERO_PAGE);
        assert_eq!(memory.snapshot(0)[4..7], *b"abc");
    }
}
