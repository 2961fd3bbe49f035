//! Zeroing what lies behind the end of something in a mapped file.

use std::ops::Range;

use mq_env::disk::{MappedRegion, PAGE_SIZE};

/// Zeroes what is not zero from `position` on, up to the region's end or to `stops_after_bytes` of
/// zeros, and returns the range from `position` to the last byte that was not zero. Not durable before a
/// flush of that range.
pub fn erase_behind(
    region: &MappedRegion,
    position: usize,
    stops_after_bytes: usize,
) -> Range<usize> {
    let zeros = [0_u8; PAGE_SIZE];
    let mut erased_to = position;
    let mut at = position;
    loop {
        at = region.next_data(at);
        if at >= region.len() || at - erased_to >= stops_after_bytes {
            return position..erased_to;
        }
        let end = (at / PAGE_SIZE + 1) * PAGE_SIZE;
        let end = end.min(region.len());
        let used = region.slice(at..end).iter().rposition(|byte| *byte != 0);
        if let Some(last) = used {
            region.write(at, &zeros[..=last]);
            erased_to = at + last + 1;
        }
        at = end;
    }
}
