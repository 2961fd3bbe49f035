//! [`Blocks`]: which pages of a sparse file have their place on the device.

use std::sync::Arc;

use super::memory::Bitmap;

/// One bit per page of a sparse file. Regions share it; a clone, as an image has one, is a copy.
pub(super) struct Blocks {
    pages: u32,
    allocated: Arc<Bitmap>,
}

impl Blocks {
    /// None of `pages` pages but those of `allocated`.
    pub(super) fn new(pages: u64, allocated: impl Iterator<Item = u32>) -> Self {
        let pages = u32::try_from(pages).unwrap_or(u32::MAX);
        let blocks = Blocks { pages, allocated: Arc::new(Bitmap::new(pages as usize)) };
        for page in allocated.filter(|page| *page < pages) {
            blocks.allocate(page);
        }
        blocks
    }

    /// How many pages have a place.
    pub(super) fn count(&self) -> u64 {
        self.allocated().count() as u64
    }

    /// The pages that have one.
    pub(super) fn allocated(&self) -> impl Iterator<Item = u32> + '_ {
        self.allocated.ones(0..self.pages)
    }

    pub(super) fn contains(&self, page: u32) -> bool {
        self.allocated.contains(page)
    }

    pub(super) fn allocate(&self, page: u32) {
        self.allocated.set_range(page as usize, page as usize);
    }

    /// Gives every page a place, also in the eyes of regions.
    pub(super) fn allocate_all(&self) {
        if let Some(last) = self.pages.checked_sub(1) {
            self.allocated.set_range(0, last as usize);
        }
    }

    /// The same bits, for a region.
    pub(super) fn share(&self) -> Self {
        Blocks { pages: self.pages, allocated: Arc::clone(&self.allocated) }
    }
}

impl Clone for Blocks {
    fn clone(&self) -> Self {
        Blocks::new(u64::from(self.pages), self.allocated())
    }
}

impl PartialEq for Blocks {
    fn eq(&self, other: &Self) -> bool {
        self.pages == other.pages && self.allocated().eq(other.allocated())
    }
}
