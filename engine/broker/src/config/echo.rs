//! What a broker tells of its settings (26): every key of 4.9 with the value in force.

use std::path::Path;

use mq_store::config::StoreConfig;

use crate::config::{BrokerConfig, keys};

/// Defaults that 4.9 makes of the number of processors, as it has them on four. The queues of this engine
/// (`work_queue`) are made for as many; nobody else looks at these.
const ON_FOUR_PROCESSORS: [(&str, &str); 8] = [
    ("sendMessageThreadPoolNums", "4"),
    ("putMessageFutureThreadPoolNums", "4"),
    ("pullMessageThreadPoolNums", "24"),
    ("processReplyMessageThreadPoolNums", "24"),
    ("queryMessageThreadPoolNums", "12"),
    ("heartbeatThreadPoolNums", "4"),
    ("endTransactionThreadPoolNums", "16"),
    ("clientCallbackExecutorThreads", "4"),
];

/// Written by 4.9, which reads it by another name.
const BATCH_PUSH: (&str, &str) = ("isEnableBatchPush", "enableBatchPush");

/// Without a value these are left out, as 4.9 does with what is null.
const ABSENT_WITHOUT_VALUE: [&str; 11] = [
    "haMasterAddress",
    "readOnlyCommitLogStorePaths",
    "storePathDLedgerCommitLog",
    "dLegerGroup",
    "dLegerPeers",
    "dLegerSelfId",
    "preferredLeaderId",
    "dLegerJavaPeers",
    "rmqAddressServerDomain",
    "rmqAddressServerSubGroup",
    "rocketmqHome",
];

/// What only the running broker knows.
pub(crate) struct RunningValues<'a> {
    pub(crate) broker_id: i64,
    pub(crate) broker_role: &'static str,
    pub(crate) ips: [String; 2],
    pub(crate) commit_log_dir: &'a Path,
}

impl BrokerConfig {
    /// The value of `key` that was written, or its default, of a key that is accepted and not used; `None` where it is no
    /// number or text of the table's own.
    pub(crate) fn echoed(&self, key: &str) -> Option<&str> {
        let written = self.file.get(key).map(|entry| entry.value.trim_end());
        let default = || keys::find(key).map(|key| key.default);
        written.filter(|it| !it.is_empty()).or_else(default)
    }

    /// Every key with the value in force, sorted by key.
    pub(crate) fn echo(
        &self,
        store: &StoreConfig,
        running: &RunningValues<'_>,
    ) -> Vec<(String, String)> {
        let values = self.values_in_force(store, &self.file, false).into_iter();
        let mut echoed: Vec<(String, String)> = values
            .map(|(key, value)| (key.to_owned(), self.without_brackets(store, running, key, value)))
            .filter(|(key, value)| {
                !value.is_empty() || !ABSENT_WITHOUT_VALUE.contains(&key.as_str())
            })
            .collect();
        let (alias, key) = BATCH_PUSH;
        echoed.extend(self.echoed(key).map(|value| (alias.to_owned(), value.to_owned())));
        for (key, value) in &self.values_besides {
            echoed.retain(|(known, _)| known != key);
            echoed.push(((*key).to_owned(), value.clone()));
        }
        echoed.sort();
        echoed
    }

    /// A value that is not said by the table but by the machine, by other keys, or by what the broker has become.
    fn without_brackets(
        &self,
        store: &StoreConfig,
        running: &RunningValues<'_>,
        key: &str,
        value: String,
    ) -> String {
        match key {
            "brokerId" => running.broker_id.to_string(),
            "brokerRole" => running.broker_role.to_owned(),
            "brokerIP1" => running.ips[0].clone(),
            "brokerIP2" => running.ips[1].clone(),
            "storePathCommitLog" => running.commit_log_dir.display().to_string(),
            "haListenPort" => store.ha_listen_port.to_string(),
            "haMaxDivergedBytes" => store.ha_max_diverged_bytes_in_force().to_string(),
            "rocketmqHome" => self
                .rocketmq_home
                .as_ref()
                .map(|home| home.display().to_string())
                .unwrap_or_default(),
            "messageDelayLevel" => self.echoed(key).unwrap_or_default().to_owned(),
            _ if value.starts_with('<') => {
                let mut known = ON_FOUR_PROCESSORS.iter();
                let found = known.find(|(known, _)| *known == key);
                found.map(|(_, value)| (*value).to_owned()).unwrap_or_default()
            }
            _ => value,
        }
    }
}
