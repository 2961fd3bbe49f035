//! [`OffsetFile`]: the file of an offset table, which follows the table some time after a change.
//!
//! The table counts its changes. A version is written at most once, and never over a newer one.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mq_env::Env;
use mq_env::disk::Disk;
use mq_protocol::fastjson::{Json, from_slice};
use mq_store::config::StoreConfig;
use mq_store::metadata_file::{MetadataError, load_table, store_metadata, table_path};
use tokio::sync::Notify;

/// A file below `config`.
pub(crate) struct OffsetFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// The change count that the file holds; locked by whoever writes it.
    written: tokio::sync::Mutex<u64>,
    changed: Notify,
}

impl OffsetFile {
    /// The file called `name`, and what it holds.
    ///
    /// # Errors
    /// When nothing sound is left of it.
    pub(crate) fn load<T: Json>(
        env: &Env,
        store_config: &StoreConfig,
        name: &str,
    ) -> Result<(Self, Option<T>), MetadataError> {
        let content = load_table(&*env.disk, store_config, name, from_slice)?;
        let file = OffsetFile {
            disk: Arc::clone(&env.disk),
            path: table_path(store_config, name),
            written: tokio::sync::Mutex::new(0),
            changed: Notify::new(),
        };
        Ok((file, content))
    }

    /// There is something to write.
    pub(crate) fn note_change(&self) {
        self.changed.notify_one();
    }

    /// Resolves `interval` after a change; one waiter.
    pub(crate) async fn due(&self, interval: Duration) {
        self.changed.notified().await;
        tokio::time::sleep(interval).await;
    }

    /// Writes the version that `newer` gives when told the change count of the file: its own count and
    /// content, or nothing.
    ///
    /// # Errors
    /// What the disk says; the file is then as it was.
    pub(crate) async fn write(
        &self,
        newer: impl FnOnce(u64) -> Option<(u64, Bytes)>,
    ) -> io::Result<()> {
        let mut written = self.written.lock().await;
        if let Some((change_count, content)) = newer(*written) {
            store_metadata(&*self.disk, &self.path, &content).await?;
            *written = change_count;
        }
        Ok(())
    }
}
