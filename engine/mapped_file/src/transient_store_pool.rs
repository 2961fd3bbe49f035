//! [`TransientStorePool`]: memory of the process in which records wait for their commit.
//!
//! A file with a [`WriteBuffer`] takes its appends there; nobody reads them before
//! [`crate::MappedFile::commit`] has copied them into the mapping. The death of the process takes what
//! was not committed. Once a file is committed to its end its buffer is the pool's again.
//!
//! Java origin: `TransientStorePool` of RocketMQ 4.9, which makes and locks all buffers at the start;
//! here one is made when it is first wanted, and takes up memory as it is written.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mq_env::disk::MappedRegion;

/// Lends buffers of one file's size.
#[derive(Debug)]
pub struct TransientStorePool {
    pool_size: usize,
    file_size: usize,
    buffers: Mutex<Buffers>,
}

#[derive(Debug, Default)]
struct Buffers {
    /// Buffers that were lent and came back: used last, lent first.
    free: Vec<MappedRegion>,
    lent: usize,
}

impl TransientStorePool {
    /// A pool of `pool_size` buffers (`transientStorePoolSize`) of `file_size` bytes each.
    #[must_use]
    pub fn new(pool_size: usize, file_size: usize) -> Arc<Self> {
        Arc::new(TransientStorePool { pool_size, file_size, buffers: Mutex::default() })
    }

    /// How many buffers may still be borrowed (RocketMQ 4.9 `availableBufferNums`).
    #[must_use]
    pub fn available_buffer_nums(&self) -> usize {
        self.pool_size - self.buffers().lent
    }

    /// A buffer for a new file; nothing when all are lent, or when there is no memory for another.
    #[must_use]
    pub fn borrow_buffer(self: &Arc<Self>) -> Option<WriteBuffer> {
        let mut buffers = self.buffers();
        if buffers.lent == self.pool_size {
            return None;
        }
        let region = match buffers.free.pop() {
            Some(region) => region,
            None => MappedRegion::anonymous(self.file_size)
                .inspect_err(|error| tracing::warn!(%error, "no memory for a write buffer"))
                .ok()?,
        };
        buffers.lent += 1;
        assert!(buffers.lent <= self.pool_size, "no more is lent than there is");
        Some(WriteBuffer {
            region,
            pool: Arc::clone(self),
            filled: AtomicUsize::new(0),
            is_lent: AtomicBool::new(true),
        })
    }

    fn take_back(&self, region: MappedRegion) {
        let mut buffers = self.buffers();
        assert!(buffers.lent > 0, "only what was lent comes back");
        buffers.lent -= 1;
        buffers.free.push(region);
    }

    fn buffers(&self) -> MutexGuard<'_, Buffers> {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A borrowed buffer: byte for byte in place of its file's mapping.
#[derive(Debug)]
pub struct WriteBuffer {
    region: MappedRegion,
    pool: Arc<TransientStorePool>,
    /// End of the bytes that this file put here: what lies behind is what an earlier file left.
    filled: AtomicUsize,
    is_lent: AtomicBool,
}

impl WriteBuffer {
    /// Whether appends go here. Ends when there is nobody who could append: the file is full, or its
    /// appender cuts it.
    pub(crate) fn is_lent(&self) -> bool {
        self.is_lent.load(Ordering::Acquire)
    }

    pub(crate) fn write(&self, position: usize, bytes: &[u8]) {
        assert!(self.is_lent(), "nobody writes to a buffer that was given back");
        self.region.write(position, bytes);
        self.filled.store(position + bytes.len(), Ordering::Release);
    }

    /// Copies what was put at `from..to` into `target`, at the same place.
    pub(crate) fn copy_to(&self, target: &MappedRegion, from: usize, to: usize) {
        assert!(from <= to && to <= target.len(), "{from}..{to} is copied to the same place");
        let end = self.filled.load(Ordering::Acquire).min(to);
        if from < end {
            target.write(from, self.region.slice(from..end));
        }
    }

    /// Gives the memory back; a second call does nothing.
    pub(crate) fn give_back(&self) {
        if self.is_lent.swap(false, Ordering::AcqRel) {
            self.pool.take_back(self.region.clone());
        }
    }
}
