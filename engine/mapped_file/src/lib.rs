//! Fixed-size mapped files and the sequence of them: [`MappedFile`], [`MappedFileQueue`].
//!
//! The CommitLog and every ConsumeQueue are such a sequence. A file is named after the offset of
//! its first byte in 20 decimal digits. Bytes go straight into the environment's
//! [`mq_env::disk::MappedRegion`]; positions are atomics published after the bytes. What a sync
//! promises, and what a failed one means, is said at [`MappedFile::flush`]. With a
//! [`TransientStorePool`] new files take appends in memory of the process until they are committed.
//!
//! Modules in reading order: `error` (why a file cannot be loaded or synced), `mapped_file` (one file and
//! its positions), `erase` (zeros behind an end), `transient_store_pool` (buffers before files),
//! `mapped_file_queue` (the sequence: loading, rolling, the file ahead, cutting, retiring).
//!
//! Java origin: `MappedFile`, `MappedFileQueue`, `TransientStorePool` and `SelectMappedBufferResult` of RocketMQ 4.9.
//! Reference counting became `Arc`: whoever holds a [`SelectedBuffer`] keeps the bytes mapped.

mod error;
mod erase;
mod mapped_file;
mod mapped_file_queue;
mod transient_store_pool;

pub use erase::{Erased, erase_behind};
pub use error::{FlushError, LoadError};
pub use mapped_file::{MappedFile, SelectedBuffer};
pub use mapped_file_queue::{
    AheadError, Cut, Known, LoadPlan, MappedFileQueue, Retired, UnsyncedEntries, file_name,
};
pub use transient_store_pool::{TransientStorePool, WriteBuffer};

#[cfg(test)]
mod tests;
