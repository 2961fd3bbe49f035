//! [`PersistedTable`]: a table that is replaced as a whole and whose every version is on disk before
//! anybody sees it, with the exception that its owner asks for (topics, subscription groups).

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use mq_env::disk::Disk;
use mq_store::metadata_file::store_metadata;

/// A table and its file. Readers take a snapshot; writers go one after the other.
pub(crate) struct PersistedTable<T> {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    encode: fn(&T) -> Bytes,
    /// Held by whoever changes the table: from its look at the present version until the next one
    /// is written.
    writing: tokio::sync::Mutex<()>,
    table: RwLock<Arc<T>>,
}

impl<T: Clone> PersistedTable<T> {
    /// A table that begins with `table` and writes to `path` what `encode` makes of it.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        path: PathBuf,
        encode: fn(&T) -> Bytes,
        table: T,
    ) -> Self {
        PersistedTable {
            disk,
            path,
            encode,
            writing: tokio::sync::Mutex::new(()),
            table: RwLock::new(Arc::new(table)),
        }
    }

    /// The present version.
    pub(crate) fn snapshot(&self) -> Arc<T> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at the present version without keeping it.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets `change` change a copy; when it says that it did, the copy is written to disk and
    /// becomes the present version. Returns whether it did.
    ///
    /// # Errors
    /// What the disk says; the present version is then as it was.
    pub(crate) async fn update(&self, change: impl FnOnce(&mut T) -> bool) -> io::Result<bool> {
        let _writing = self.writing.lock().await;
        let mut table = T::clone(&self.snapshot());
        if !change(&mut table) {
            return Ok(false);
        }
        let content = (self.encode)(&table);
        store_metadata(&*self.disk, &self.path, &content).await?;
        self.publish(table);
        Ok(true)
    }

    /// As [`PersistedTable::update`], in memory only: the next version that is written has the
    /// change. For what a restart may lose.
    pub(crate) async fn update_unwritten(&self, change: impl FnOnce(&mut T) -> bool) {
        let _writing = self.writing.lock().await;
        let mut table = T::clone(&self.snapshot());
        if change(&mut table) {
            self.publish(table);
        }
    }

    fn publish(&self, table: T) {
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
    }
}
