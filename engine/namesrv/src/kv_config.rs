//! [`KvConfigManager`]: the key-value table, the only thing a name server keeps on disk (RocketMQ 4.9
//! `KVConfigManager`).
//!
//! The file holds `{"configTable":{"NAMESPACE":{"key":"value"}}}`. It is written to a side file,
//! synced, the previous one kept as `.bak`, renamed, and the directory synced; a torn or missing
//! file falls back to `.bak`. Changes that wait for the file while it is written share the next write.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};

use mq_env::Env;
use mq_protocol::body::OrderedMap;
use mq_protocol::body::tables::{KvConfigSerializeWrapper, KvTable};
use mq_protocol::fastjson::{from_slice, to_bytes};

use crate::limits::LimitError;

/// The namespace whose table brokers get in reply to their registration.
pub const NAMESPACE_ORDER_TOPIC_CONFIG: &str = "ORDER_TOPIC_CONFIG";

/// So much of a value is shown in the log.
const VALUE_SHOWN_BYTES: usize = 256;

/// Key-value pairs by namespace, kept in a file.
pub struct KvConfigManager {
    env: Env,
    path: PathBuf,
    /// Of namespaces, keys and values.
    bytes_max: usize,
    edited: RwLock<Edited>,
    /// One writer of the file at a time.
    persisting: tokio::sync::Mutex<()>,
    written: Mutex<Written>,
}

type ConfigTable = OrderedMap<String, OrderedMap<String, String>>;

/// The table, and how often it was changed.
#[derive(Default)]
struct Edited {
    config_table: ConfigTable,
    bytes: usize,
    edits: u64,
}

/// Up to which edit the file has the table, and what became of the last write that failed.
#[derive(Default)]
struct Written {
    edits: u64,
    failed: Option<(u64, io::ErrorKind, String)>,
}

/// Why a value is not kept.
#[derive(Debug, thiserror::Error)]
pub enum KvConfigError {
    /// The table would become larger than it may be.
    #[error(transparent)]
    Full(#[from] LimitError),
    /// The file cannot be written; what was changed holds until the process ends.
    #[error("the key-value table cannot be written to {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
}

impl KvConfigManager {
    /// Loads the table kept at `path`; an empty one when there is none. It may grow to `bytes_max` bytes of
    /// namespaces, keys and values.
    #[must_use]
    pub fn load(env: Env, path: PathBuf, bytes_max: usize) -> Self {
        let config_table = [path.clone(), with_suffix(&path, ".bak")]
            .iter()
            .find_map(|path| read_table(&env, path))
            .unwrap_or_default();
        let bytes = table_bytes(&config_table);
        KvConfigManager {
            env,
            path,
            bytes_max,
            edited: RwLock::new(Edited { config_table, bytes, edits: 0 }),
            persisting: tokio::sync::Mutex::new(()),
            written: Mutex::default(),
        }
    }

    /// Sets a value and keeps it on disk.
    ///
    /// # Errors
    /// See [`KvConfigError`].
    pub async fn put(
        &self,
        namespace: String,
        key: String,
        value: String,
    ) -> Result<(), KvConfigError> {
        tracing::info!(namespace, key, value = shown(&value), "key-value pair put");
        let edit = self.edit(|edited| edited.put(namespace, key, value, self.bytes_max))?;
        self.persist(edit).await
    }

    /// Removes a value, on disk too. A missing one is no error.
    ///
    /// # Errors
    /// See [`KvConfigError`].
    pub async fn delete(&self, namespace: &str, key: &str) -> Result<(), KvConfigError> {
        tracing::info!(namespace, key, "key-value pair deleted");
        let edit = self.edit(|edited| {
            edited.delete(namespace, key);
            Ok(())
        })?;
        self.persist(edit).await
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, namespace: &str, key: &str) -> Option<String> {
        self.read(|table| table.get(namespace)?.get(key).cloned())
    }

    /// The pairs of a namespace, `None` if it never had one.
    #[must_use]
    pub fn list_by_namespace(&self, namespace: &str) -> Option<KvTable> {
        self.read(|table| table.get(namespace).map(|pairs| KvTable { table: pairs.clone() }))
    }

    /// Changes the table; returns the number of the change.
    fn edit(
        &self,
        edit: impl FnOnce(&mut Edited) -> Result<(), LimitError>,
    ) -> Result<u64, LimitError> {
        let mut edited = self.edited.write().unwrap_or_else(PoisonError::into_inner);
        edit(&mut edited)?;
        edited.edits += 1;
        Ok(edited.edits)
    }

    fn read<R>(&self, read: impl FnOnce(&ConfigTable) -> R) -> R {
        read(&self.edited.read().unwrap_or_else(PoisonError::into_inner).config_table)
    }

    /// Waits until the file has `edit`: by this write, or by the one that somebody else made meanwhile.
    async fn persist(&self, edit: u64) -> Result<(), KvConfigError> {
        let _writer = self.persisting.lock().await;
        if let Some(outcome) = self.outcome(edit) {
            return outcome;
        }
        let (text, edits) = {
            let edited = self.edited.read().unwrap_or_else(PoisonError::into_inner);
            let config_table = edited.config_table.clone();
            (to_bytes(&KvConfigSerializeWrapper { config_table }), edited.edits)
        };
        let result = self.write(&text).await;
        {
            let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
            match result {
                Ok(()) => written.edits = edits,
                Err(error) => written.failed = Some((edits, error.kind(), error.to_string())),
            }
        }
        self.outcome(edit).unwrap_or(Ok(()))
    }

    /// What became of `edit`, if the file was written since.
    fn outcome(&self, edit: u64) -> Option<Result<(), KvConfigError>> {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if edit <= written.edits {
            return Some(Ok(()));
        }
        let (edits, kind, text) = written.failed.as_ref()?;
        let source = io::Error::new(*kind, text.clone());
        (edit <= *edits).then(|| Err(KvConfigError::Write { path: self.path.clone(), source }))
    }

    async fn write(&self, text: &[u8]) -> io::Result<()> {
        let disk = &self.env.disk;
        let dir = parent_dir(&self.path);
        disk.create_dir_all(dir)?;
        let side_path = with_suffix(&self.path, ".tmp");
        disk.write(&side_path, text)?;
        disk.sync(&side_path).await?;
        match disk.rename(&self.path, &with_suffix(&self.path, ".bak")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        disk.rename(&side_path, &self.path)?;
        disk.sync(dir).await
    }
}

impl Edited {
    fn put(
        &mut self,
        namespace: String,
        key: String,
        value: String,
        bytes_max: usize,
    ) -> Result<(), LimitError> {
        let pairs = self.config_table.get(&namespace);
        let old = pairs.and_then(|pairs| pairs.get(&key));
        let mut bytes = self.bytes + value.len();
        match (pairs, old) {
            (_, Some(old)) => bytes -= old.len(),
            (Some(_), None) => bytes += key.len(),
            (None, None) => bytes += key.len() + namespace.len(),
        }
        if bytes > bytes_max && bytes > self.bytes {
            let (what, key) = ("bytes of the key-value table", "kvConfigBytesMax");
            return Err(LimitError { what, wanted: bytes, limit: bytes_max, key });
        }
        self.bytes = bytes;
        self.config_table.entry(namespace).or_default().insert(key, value);
        Ok(())
    }

    fn delete(&mut self, namespace: &str, key: &str) {
        let pairs = self.config_table.get_mut(namespace);
        if let Some(value) = pairs.and_then(|pairs| pairs.shift_remove(key)) {
            self.bytes -= key.len() + value.len();
        }
    }
}

fn table_bytes(table: &ConfigTable) -> usize {
    let pairs = table.values().flatten().map(|(key, value)| key.len() + value.len());
    table.keys().map(String::len).chain(pairs).sum()
}

/// A value as the log shows it: a long one not whole.
fn shown(value: &str) -> &str {
    let end =
        (0..=value.len().min(VALUE_SHOWN_BYTES)).rev().find(|end| value.is_char_boundary(*end));
    &value[..end.unwrap_or(0)]
}

fn read_table(env: &Env, path: &Path) -> Option<ConfigTable> {
    let bytes = match env.disk.read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(?path, %error, "key-value table unreadable");
            return None;
        }
    };
    match from_slice::<KvConfigSerializeWrapper>(&bytes) {
        Ok(file) => Some(file.config_table),
        Err(error) => {
            tracing::warn!(?path, %error, "key-value table damaged");
            None
        }
    }
}

fn parent_dir(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut text = path.as_os_str().to_owned();
    text.push(suffix);
    PathBuf::from(text)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use mq_env::BoxFuture;
    use mq_env::disk::{Disk, DiskLayer};

    use super::*;

    fn manager(env: &Env, path: &Path) -> KvConfigManager {
        KvConfigManager::load(env.clone(), path.to_owned(), 1_000)
    }

    #[tokio::test]
    async fn the_table_is_read_again_from_its_file_and_in_need_from_the_previous_one() {
        let env = Env::os();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("namesrv/kvConfig.json");
        let kv = manager(&env, &path);
        assert_eq!(kv.list_by_namespace("ns"), None);
        kv.put("ns".into(), "a".into(), "1".into()).await.unwrap();
        kv.put("ns".into(), "b".into(), "2".into()).await.unwrap();
        kv.delete("ns", "a").await.unwrap();
        kv.delete("other", "a").await.unwrap();
        let text = String::from_utf8(env.disk.read(&path).unwrap()).unwrap();
        assert_eq!(text, r#"{"configTable":{"ns":{"b":"2"}}}"#);
        let kv = manager(&env, &path);
        assert_eq!((kv.get("ns", "a"), kv.get("ns", "b")), (None, Some("2".into())));

        kv.put("ns".into(), "c".into(), "3".into()).await.unwrap();
        env.disk.write(&path, b"{\"configTab").unwrap();
        let kv = manager(&env, &path);
        assert_eq!((kv.get("ns", "b"), kv.get("ns", "c")), (Some("2".into()), None));
    }

    /// Counts the syncs of the machine's disk, and has them fail.
    struct Syncs {
        below: Arc<dyn Disk>,
        count: AtomicUsize,
        failing: AtomicBool,
    }

    impl DiskLayer for Syncs {
        fn below(&self) -> &dyn Disk {
            &*self.below
        }

        fn sync<'a>(&'a self, path: &'a Path) -> BoxFuture<'a, io::Result<()>> {
            self.count.fetch_add(1, Ordering::Relaxed);
            if self.failing.load(Ordering::Relaxed) {
                return Box::pin(async {
                    tokio::task::yield_now().await;
                    Err(io::ErrorKind::StorageFull.into())
                });
            }
            self.below.sync(path)
        }
    }

    #[tokio::test]
    async fn changes_that_wait_share_a_write_and_its_failure() {
        let os = Env::os();
        let (below, count, failing) =
            (Arc::clone(&os.disk), Default::default(), Default::default());
        let syncs = Arc::new(Syncs { below, count, failing });
        let env = Env { disk: Arc::clone(&syncs) as Arc<_>, ..os };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kvConfig.json");
        let kv = KvConfigManager::load(env.clone(), path.clone(), 1 << 20);
        let put_all = |round: usize| {
            let kv = &kv;
            let put = move |n| kv.put("ns".into(), format!("{round}-{n}"), "v".into());
            futures::future::join_all((0..600).map(put))
        };
        put_all(0).await.into_iter().for_each(Result::unwrap);
        // The first writes by itself, the second with all that came meanwhile: file and directory each.
        assert_eq!(syncs.count.swap(0, Ordering::Relaxed), 4);
        let again = KvConfigManager::load(env, path, 1 << 20);
        assert_eq!(again.list_by_namespace("ns").unwrap().table.len(), 600);

        syncs.failing.store(true, Ordering::Relaxed);
        let errors = put_all(1).await.into_iter().map(Result::unwrap_err);
        assert_eq!(errors.filter(|error| error.to_string().contains("kvConfig.json")).count(), 600);
        assert_eq!(syncs.count.swap(0, Ordering::Relaxed), 2);
        syncs.failing.store(false, Ordering::Relaxed);
        kv.put("ns".into(), "later".into(), "v".into()).await.unwrap();
    }

    #[tokio::test]
    async fn the_table_grows_to_its_limit_and_is_edited_there() {
        let env = Env::os();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kvConfig.json");
        let kv = manager(&env, &path);
        let put = |key: &str, bytes| kv.put("ns".into(), key.into(), "v".repeat(bytes));
        put("a", 500).await.unwrap();
        put("b", 496).await.unwrap();
        let refused = put("c", 0).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "bytes of the key-value table 1001 is beyond the limit of 1000 (kvConfigBytesMax)"
        );
        put("a", 10).await.unwrap();
        put("c", 489).await.unwrap();
        put("d", 0).await.unwrap_err();
        kv.delete("ns", "b").await.unwrap();
        put("d", 496).await.unwrap();
        // What was kept under a higher limit stays, and may become less.
        let kv = KvConfigManager::load(env, path, 10);
        kv.put("ns".into(), "d".into(), "v".repeat(400)).await.unwrap();
        kv.put("ns".into(), "e".into(), String::new()).await.unwrap_err();
    }
}
