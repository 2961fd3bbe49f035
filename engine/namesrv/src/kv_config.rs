//! [`KvConfigManager`]: the key-value table, the only thing a name server keeps on disk (RocketMQ 4.9
//! `KVConfigManager`).
//!
//! The file holds `{"configTable":{"NAMESPACE":{"key":"value"}}}`. It is written to a side file,
//! synced, the previous one kept as `.bak`, renamed, and the directory synced; a torn or missing
//! file falls back to `.bak`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use mq_env::Env;
use mq_protocol::body::OrderedMap;
use mq_protocol::body::tables::{KvConfigSerializeWrapper, KvTable};
use mq_protocol::fastjson::{from_slice, to_bytes};

/// The namespace whose table brokers get in reply to their registration.
pub const NAMESPACE_ORDER_TOPIC_CONFIG: &str = "ORDER_TOPIC_CONFIG";

/// Key-value pairs by namespace, kept in a file.
pub struct KvConfigManager {
    env: Env,
    path: PathBuf,
    config_table: RwLock<ConfigTable>,
    /// One writer of the file at a time.
    persisting: tokio::sync::Mutex<()>,
}

type ConfigTable = OrderedMap<String, OrderedMap<String, String>>;

impl KvConfigManager {
    /// Loads the table kept at `path`; an empty one when there is none.
    #[must_use]
    pub fn load(env: Env, path: PathBuf) -> Self {
        let config_table = [path.clone(), with_suffix(&path, ".bak")]
            .iter()
            .find_map(|path| read_table(&env, path))
            .unwrap_or_default();
        KvConfigManager {
            env,
            path,
            config_table: RwLock::new(config_table),
            persisting: tokio::sync::Mutex::new(()),
        }
    }

    /// Sets a value and keeps it on disk.
    ///
    /// # Errors
    /// When the file cannot be written; the value holds until the process ends.
    pub async fn put(&self, namespace: String, key: String, value: String) -> io::Result<()> {
        tracing::info!(namespace, key, value, "key-value pair put");
        self.edit(|table| table.entry(namespace).or_default().insert(key, value));
        self.persist().await
    }

    /// Removes a value, on disk too. A missing one is no error.
    ///
    /// # Errors
    /// When the file cannot be written; the value stays away until the process ends.
    pub async fn delete(&self, namespace: &str, key: &str) -> io::Result<()> {
        tracing::info!(namespace, key, "key-value pair deleted");
        self.edit(|table| table.get_mut(namespace).and_then(|pairs| pairs.shift_remove(key)));
        self.persist().await
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

    fn edit<R>(&self, edit: impl FnOnce(&mut ConfigTable) -> R) -> R {
        edit(&mut self.config_table.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn read<R>(&self, read: impl FnOnce(&ConfigTable) -> R) -> R {
        read(&self.config_table.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn persist(&self) -> io::Result<()> {
        let _writer = self.persisting.lock().await;
        let config_table = self.read(ConfigTable::clone);
        let text = to_bytes(&KvConfigSerializeWrapper { config_table });
        let disk = &self.env.disk;
        let dir = parent_dir(&self.path);
        disk.create_dir_all(dir)?;
        let side_path = with_suffix(&self.path, ".tmp");
        disk.write(&side_path, &text)?;
        disk.sync(&side_path).await?;
        match disk.rename(&self.path, &with_suffix(&self.path, ".bak")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        disk.rename(&side_path, &self.path)?;
        disk.sync(dir).await
    }
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
    use super::*;

    fn manager(env: &Env, path: &Path) -> KvConfigManager {
        KvConfigManager::load(env.clone(), path.to_owned())
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
}
