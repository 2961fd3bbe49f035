//! [`Configuration`]: settings that operators read and change while the name server runs (RocketMQ 4.9
//! `Configuration`, requests 318 and 319).
//!
//! `orderMessageEnable` counts at once, every other key from the next start on. A change is in the file before it
//! counts; in 4.9 it counts first.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mq_env::Env;
use mq_env::disk::replaced_file::replace_file;
use mq_protocol::codes::ResponseCode;
use mq_protocol::properties_file::{PropertiesError, PropertiesFile, with_values};
use mq_remoting::ProcessError;

use crate::config::{NamesrvConfig, NamesrvConfigError};

/// Keys that say where files are: who may change settings may not choose what is overwritten (`configBlackList`).
const BLACK_LIST: [&str; 4] =
    ["configBlackList", "configStorePath", "kvConfigPath", "rocketmqHome"];

/// The settings of a name server in operation.
pub(crate) struct Configuration {
    env: Env,
    config: Mutex<NamesrvConfig>,
    order_message_enable: AtomicBool,
    /// One change at a time.
    changing: tokio::sync::Mutex<()>,
}

/// Why settings are not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpdateError {
    /// The text is no `.properties` file.
    #[error(transparent)]
    Text(#[from] PropertiesError),
    /// A key that nobody may change from outside.
    #[error("Can not update config in black list: {0}")]
    BlackList(String),
    /// A key that name servers do not have; 4.9 takes it for SUCCESS, and changes nothing.
    #[error("name servers have no key {0}")]
    Unknown(String),
    /// A value that is none.
    #[error(transparent)]
    Value(#[from] NamesrvConfigError),
    /// The file cannot be written; nothing was changed.
    #[error("the settings cannot be written to {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the disk says.
        source: io::Error,
    },
}

impl UpdateError {
    /// What whoever asked is told.
    pub(crate) fn answer(&self) -> ProcessError {
        let code = match self {
            UpdateError::BlackList(_) => ResponseCode::NO_PERMISSION,
            _ => ResponseCode::SYSTEM_ERROR,
        };
        ProcessError::new(code, self.to_string())
    }
}

impl Configuration {
    pub(crate) fn new(env: Env, config: NamesrvConfig) -> Self {
        let order_message_enable = AtomicBool::new(config.order_message_enable);
        let changing = tokio::sync::Mutex::new(());
        Configuration { env, config: Mutex::new(config), order_message_enable, changing }
    }

    /// Whether routes carry the order configuration of their topic.
    pub(crate) fn order_message_enable(&self) -> bool {
        self.order_message_enable.load(Ordering::Relaxed)
    }

    /// Every key with its value, as lines of a `.properties` file.
    pub(crate) fn text(&self) -> String {
        self.config().to_properties()
    }

    /// Changes what `properties`, the bytes of a `.properties` file, say: all of it, or nothing.
    pub(crate) async fn update(&self, properties: &[u8]) -> Result<(), UpdateError> {
        let file = PropertiesFile::parse(properties)?;
        let _turn = self.changing.lock().await;
        let mut changed = self.config().clone();
        let black = file.entries().iter().find(|entry| BLACK_LIST.contains(&&*entry.key));
        if let Some(entry) = black {
            return Err(UpdateError::BlackList(entry.key.clone()));
        }
        if let Some(entry) = changed.apply(&file)?.first() {
            return Err(UpdateError::Unknown(entry.key.clone()));
        }
        self.persist(&changed.config_store_path, &file).await?;
        self.order_message_enable.store(changed.order_message_enable, Ordering::Relaxed);
        *self.config() = changed;
        Ok(())
    }

    /// Writes the values into the file; what else it says stays, its comments included.
    async fn persist(&self, path: &Path, file: &PropertiesFile) -> Result<(), UpdateError> {
        let values: Vec<(String, String)> =
            file.entries().iter().map(|it| (it.key.clone(), it.value.clone())).collect();
        if values.is_empty() {
            return Ok(());
        }
        let unwritten = |source| UpdateError::Write { path: path.to_path_buf(), source };
        let disk = &*self.env.disk;
        let before = match disk.read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            read => read,
        };
        let text = with_values(&before.map_err(unwritten)?, &values)?;
        let is_sound = |bytes: &[u8]| PropertiesFile::parse(bytes).is_ok();
        // A name alone lies in the directory of the process.
        let path = &Path::new(".").join(path);
        replace_file(disk, path, is_sound, &text).await.map_err(unwritten)
    }

    fn config(&self) -> MutexGuard<'_, NamesrvConfig> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_is_kept_beside_what_the_file_says() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("conf/namesrv.properties");
        let config = NamesrvConfig { config_store_path: path.clone(), ..NamesrvConfig::default() };
        let env = Env::os();
        env.disk.create_dir_all(path.parent().unwrap()).unwrap();
        env.disk.write(&path, b"# ours\nlistenPort=1\nclusterTest=false\n").unwrap();
        let configuration = Configuration::new(env.clone(), config);
        configuration.update(b"orderMessageEnable=true\nlistenPort=2\n").await.unwrap();
        assert!(configuration.order_message_enable());
        let text = configuration.text();
        assert!(text.contains("listenPort=2\n") && text.contains("orderMessageEnable=true\n"));
        let written = String::from_utf8(env.disk.read(&path).unwrap()).unwrap();
        assert_eq!(written, "# ours\nlistenPort=2\nclusterTest=false\norderMessageEnable=true\n");
        configuration.update(b"").await.unwrap();
    }

    #[tokio::test]
    async fn what_is_refused_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("namesrv.properties");
        let config = NamesrvConfig { config_store_path: path.clone(), ..NamesrvConfig::default() };
        let configuration = Configuration::new(Env::os(), config);
        let before = configuration.text();
        for (text, code, says) in [
            ("kvConfigPath=/x", ResponseCode::NO_PERMISSION, "black list"),
            ("orderMessageEnable=true\nrocketmqHome=/x", ResponseCode::NO_PERMISSION, "black list"),
            ("orderMessageEnabel=true", ResponseCode::SYSTEM_ERROR, "orderMessageEnabel"),
            ("orderMessageEnable=yes", ResponseCode::SYSTEM_ERROR, "true or false"),
            ("a=\\u00", ResponseCode::SYSTEM_ERROR, "line 1"),
        ] {
            let error = configuration.update(text.as_bytes()).await.unwrap_err().answer();
            assert_eq!(error.code, code, "{text}");
            assert!(error.remark.contains(says), "{text}: {}", error.remark);
        }
        // A directory is no file.
        Env::os().disk.create_dir_all(&path).unwrap();
        let error = configuration.update(b"orderMessageEnable=true").await.unwrap_err();
        assert!(error.to_string().contains("namesrv.properties"), "{error}");
        assert_eq!(configuration.text(), before);
        assert!(!configuration.order_message_enable());
    }
}
