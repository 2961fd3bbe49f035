//! [`Damage`]: ranges of the CommitLog that are known to be damaged and are passed over.
//!
//! The bytes stay where they are; readers leave them out. The list is the file `damaged.json`, ours,
//! written before anything relies on it:
//!
//! ```json
//! [{"from":1123929,"to":1124140,"reason":"the body's CRC is 0x1, the record says 0x2"}]
//! ```

use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use mq_env::disk::Disk;
use serde::{Deserialize, Serialize};

use crate::metadata_file::{MetadataError, load_metadata, store_metadata};
use crate::sync::lock;

/// A damaged range of the CommitLog; physical offsets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedRange {
    /// First byte: where a record should begin.
    pub from: u64,
    /// Where the next sound record begins.
    pub to: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// The damaged ranges of a store, in order.
pub(crate) struct Damage {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    ranges: Mutex<Vec<DamagedRange>>,
    /// Saves readers of sound stores the lock.
    is_any: AtomicBool,
}

impl Damage {
    /// An empty list that is kept at `path`.
    pub(crate) fn new(disk: Arc<dyn Disk>, path: PathBuf) -> Self {
        Damage { disk, path, ranges: Mutex::default(), is_any: AtomicBool::new(false) }
    }

    /// Reads the list; a missing one is empty.
    ///
    /// # Errors
    /// When nothing sound is left of it.
    pub(crate) fn load(&self) -> Result<(), MetadataError> {
        let parse = |bytes: &[u8]| serde_json::from_slice(bytes);
        let ranges = load_metadata(&*self.disk, &self.path, parse)?;
        self.change(|present| *present = ranges.unwrap_or_default());
        Ok(())
    }

    /// Replaces the list, in memory.
    pub(crate) fn set(&self, ranges: Vec<DamagedRange>) {
        self.change(|present| *present = ranges);
    }

    pub(crate) fn ranges(&self) -> Vec<DamagedRange> {
        lock(&self.ranges).clone()
    }

    /// Whether there is damage anywhere.
    pub(crate) fn is_any(&self) -> bool {
        self.is_any.load(Ordering::Acquire)
    }

    /// The end of the damaged range that holds `phy_offset`.
    pub(crate) fn end_of(&self, phy_offset: u64) -> Option<u64> {
        if !self.is_any() {
            return None;
        }
        // What an operator put into the list may be in no order.
        let holds = |range: &&DamagedRange| (range.from..range.to).contains(&phy_offset);
        lock(&self.ranges).iter().filter(holds).map(|range| range.to).max()
    }

    /// Adds a range, in memory.
    pub(crate) fn add(&self, range: Range<u64>, reason: &str) {
        assert!(range.start < range.end, "damage in {range:?}");
        let (from, to, reason) = (range.start, range.end, reason.to_owned());
        self.change(|ranges| {
            let index = ranges.partition_point(|present| present.from < from);
            ranges.insert(index, DamagedRange { from, to, reason });
        });
    }

    /// Adds files of `file_bytes` that begin at `missing` and are made of zeros, in memory.
    pub(crate) fn add_missing(&self, missing: &[u64], file_bytes: u64) {
        for from in missing.iter().filter(|from| self.end_of(**from).is_none()) {
            self.add(*from..from + file_bytes, "the file is missing");
        }
    }

    /// Forgets what lies behind `phy_offset`, which is about to be cut, durably.
    pub(crate) async fn cut(&self, phy_offset: u64) -> io::Result<()> {
        let before = lock(&self.ranges).len();
        self.change(|ranges| ranges.retain(|range| range.from < phy_offset));
        if before == lock(&self.ranges).len() { Ok(()) } else { self.store().await }
    }

    /// Writes the list durably.
    pub(crate) async fn store(&self) -> io::Result<()> {
        let text = serde_json::to_vec(&self.ranges()).map_err(io::Error::other)?;
        store_metadata(&*self.disk, &self.path, &text).await
    }

    fn change(&self, change: impl FnOnce(&mut Vec<DamagedRange>)) {
        let mut ranges = lock(&self.ranges);
        change(&mut ranges);
        self.is_any.store(!ranges.is_empty(), Ordering::Release);
    }
}
