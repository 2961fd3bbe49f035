//! [`LiveConfig`]: the settings of a running broker, which operators change from afar (RocketMQ 4.9 `Configuration`).
//!
//! What may change, and what not, is [`crate::config`]'s to say. A change is in the broker's file before it takes effect.

use std::path::Path;
use std::sync::{Arc, Mutex};

use mq_env::disk::Disk;
use mq_env::disk::replaced_file::replace_file;
use mq_protocol::body::topic_config::DataVersion;
use mq_protocol::codes::ResponseCode;
use mq_protocol::properties_file::{PropertiesFile, with_values};
use mq_remoting::ProcessError;
use mq_store::live::Live;

use crate::config::{BrokerConfig, ChangeRefused, change};
use crate::context::BrokerContext;
use crate::{lock, now_ms, registration};

/// The settings in force, and how often they were changed.
pub(crate) struct LiveConfig {
    pub(crate) settings: Live<BrokerConfig>,
    data_version: Mutex<DataVersion>,
    /// Held by whoever changes them.
    changing: tokio::sync::Mutex<()>,
}

impl LiveConfig {
    /// The settings that a broker starts with.
    pub(crate) fn new(config: &BrokerConfig, now_ms: i64) -> Self {
        LiveConfig {
            settings: Live::new(Arc::new(config.clone())),
            data_version: Mutex::new(DataVersion { timestamp: now_ms, ..DataVersion::default() }),
            changing: tokio::sync::Mutex::default(),
        }
    }

    /// The version of the settings.
    pub(crate) fn data_version(&self) -> DataVersion {
        *lock(&self.data_version)
    }
}

/// Obeys what an operator wants, all of it or nothing.
///
/// # Errors
/// What cannot change now, and a file that cannot be written.
pub(crate) async fn update(
    context: &BrokerContext,
    wanted: &PropertiesFile,
) -> Result<(), ProcessError> {
    let _changing = context.live_config.changing.lock().await;
    let before = context.live();
    let change = change(&before, &context.store.live_config(), wanted).map_err(refused)?;
    if change.changed.is_empty() {
        return Ok(());
    }
    match &before.broker_config_path {
        Some(path) => persist(&*context.env.disk, path, &change.changed).await?,
        None => {
            tracing::warn!("there is no configuration file: the change lasts until the broker ends")
        }
    }
    tracing::info!(changed = ?change.changed, "settings were changed");
    context.live_config.settings.set(Arc::new(change.broker.clone()));
    context.store.set_live_config(change.store);
    context.groups.set_auto_create(change.broker.auto_create_subscription_group);
    context.work_queues.set_patience(&change.broker);
    lock(&context.live_config.data_version).next(now_ms(&*context.env.clock));
    context.topics.set_auto_create(&change.broker).await?;
    let is_changed = |name: &str| change.changed.iter().any(|(key, _)| key == name);
    if is_changed("brokerPermission") {
        context.topics.next_data_version().await?;
    }
    if is_changed("brokerPermission") || is_changed("autoCreateTopicEnable") {
        registration::register_oneway(context);
    }
    Ok(())
}

fn refused(refused: ChangeRefused) -> ProcessError {
    let code = match refused {
        ChangeRefused::BlackList => ResponseCode::NO_PERMISSION,
        ChangeRefused::Key(_) => ResponseCode::SYSTEM_ERROR,
    };
    ProcessError::new(code, refused.to_string())
}

/// Writes changed values where they stand in the file, or at its end.
async fn persist(
    disk: &dyn Disk,
    path: &Path,
    changed: &[(String, String)],
) -> Result<(), ProcessError> {
    let unwritten = |why: String| {
        let path = path.display();
        ProcessError::system(format!("{path} cannot be written ({why}); nothing is changed"))
    };
    let before = disk.read(path).map_err(|error| unwritten(error.to_string()))?;
    let content = with_values(&before, changed).map_err(|error| unwritten(error.to_string()))?;
    let is_sound = |bytes: &[u8]| PropertiesFile::parse(bytes).is_ok();
    let replaced = replace_file(disk, path, is_sound, &content).await;
    replaced.map_err(|error| unwritten(error.to_string()))
}
