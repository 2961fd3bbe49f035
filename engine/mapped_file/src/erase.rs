//! Zeroing what lies behind the end of something in a mapped file.

use std::ops::Range;

use mq_env::disk::{MappedRegion, PAGE_SIZE};

/// Bytes that were zeroed.
#[derive(Debug)]
pub struct Erased {
    position: usize,
    bytes: Vec<u8>,
}

impl Erased {
    /// Nothing, at `position`.
    #[must_use]
    pub fn nothing(position: usize) -> Self {
        Erased { position, bytes: Vec::new() }
    }

    /// From where to the last byte that was not zero.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.position..self.position + self.bytes.len()
    }

    /// Undoes it. What was zero before may be a hole and is left alone.
    pub(crate) fn put_back(&self, region: &MappedRegion) {
        for (index, bytes) in self.bytes.chunks(PAGE_SIZE).enumerate() {
            let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
            let end = bytes.iter().rposition(|byte| *byte != 0).map_or(start, |last| last + 1);
            region.write(self.position + index * PAGE_SIZE + start, &bytes[start..end]);
        }
    }
}

/// Zeroes what is not zero from `position` on, up to the region's end or to `stops_after_bytes` of
/// zeros. Not durable before a flush of that range.
pub fn erase_behind(region: &MappedRegion, position: usize, stops_after_bytes: usize) -> Erased {
    let zeros = [0_u8; PAGE_SIZE];
    let mut erased = Erased::nothing(position);
    let mut at = position;
    loop {
        at = region.next_data(at);
        if at >= region.len() || at - erased.range().end >= stops_after_bytes {
            return erased;
        }
        let end = (at / PAGE_SIZE + 1) * PAGE_SIZE;
        let end = end.min(region.len());
        let page = region.slice(at..end);
        if let Some(last) = page.iter().rposition(|byte| *byte != 0) {
            erased.bytes.resize(at - position, 0);
            erased.bytes.extend_from_slice(&page[..=last]);
            region.write(at, &zeros[..=last]);
        }
        at = end;
    }
}
