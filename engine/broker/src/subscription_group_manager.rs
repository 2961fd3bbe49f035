//! [`SubscriptionGroupManager`]: the consumer groups of a broker, file `subscriptionGroup.json`
//! (RocketMQ 4.9 `SubscriptionGroupManager`).

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use mq_env::Env;
use mq_env::clock::Clock;
use mq_protocol::body::subscription_group::{SubscriptionGroupConfig, SubscriptionGroupWrapper};
use mq_protocol::body::topic_config::DataVersion;
use mq_protocol::fastjson::{from_slice, to_bytes};
use mq_store::config::{BrokerRole, StoreConfig};
use mq_store::metadata_file::{MetadataError, load_table, table_path};

use crate::config::BrokerConfig;
use crate::persisted_table::PersistedTable;
use crate::topic_validator::is_legal_group;

const SYSTEM_GROUP_PREFIX: &str = "CID_RMQ_SYS_";

/// Groups that every broker has from its start, and whether they may broadcast by default only.
const SYSTEM_GROUPS: [&str; 7] = [
    "TOOLS_CONSUMER",
    "FILTERSRV_CONSUMER",
    "SELF_TEST_C_GROUP",
    "CID_ONS-HTTP-PROXY",
    "CID_ONSAPI_PULL",
    "CID_ONSAPI_PERMISSION",
    "CID_ONSAPI_OWNER",
];

/// The consumer groups of a broker.
pub(crate) struct SubscriptionGroupManager {
    clock: Arc<dyn Clock>,
    auto_create_subscription_group: bool,
    /// A slave's own additions do not count as a version: its master's table replaces them.
    is_slave: bool,
    table: PersistedTable<GroupTable>,
}

#[derive(Clone, Default)]
struct GroupTable {
    data_version: DataVersion,
    groups: BTreeMap<String, Arc<SubscriptionGroupConfig>>,
}

impl SubscriptionGroupManager {
    /// The system's groups and what the file holds.
    ///
    /// # Errors
    /// When nothing sound is left of the file.
    pub(crate) fn load(
        env: &Env,
        config: &BrokerConfig,
        store_config: &StoreConfig,
    ) -> Result<Self, MetadataError> {
        let name = "subscriptionGroup.json";
        let mut table = GroupTable::default();
        table.data_version.timestamp = now_ms(&*env.clock);
        for group in SYSTEM_GROUPS {
            table.put(SubscriptionGroupConfig::new(group));
        }
        if let Some(wrapper) = load_table(&*env.disk, store_config, name, from_slice)? {
            table.merge(wrapper);
        }
        let path = table_path(store_config, name);
        Ok(SubscriptionGroupManager {
            clock: Arc::clone(&env.clock),
            auto_create_subscription_group: config.auto_create_subscription_group,
            is_slave: store_config.broker_role == BrokerRole::Slave,
            table: PersistedTable::new(Arc::clone(&env.disk), path, GroupTable::encode, table),
        })
    }

    /// The group, if there is one.
    pub(crate) fn find(&self, group: &str) -> Option<Arc<SubscriptionGroupConfig>> {
        self.table.read(|table| table.groups.get(group).cloned())
    }

    /// The group, created with defaults if there is none and that is allowed (Java
    /// `findSubscriptionGroupConfig`). A full disk does not keep a new group from reading: where the
    /// table cannot be written the group lives in memory until it is, since its defaults are all
    /// that a restart could lose.
    pub(crate) async fn find_or_create(&self, group: &str) -> Option<Arc<SubscriptionGroupConfig>> {
        let found = self.find(group);
        if found.is_some() {
            return found;
        }
        let is_allowed =
            self.auto_create_subscription_group || group.starts_with(SYSTEM_GROUP_PREFIX);
        if !is_allowed || !is_legal_group(group) {
            return None;
        }
        let now_ms = now_ms(&*self.clock);
        let create = |table: &mut GroupTable| {
            if table.groups.contains_key(group) {
                return false;
            }
            table.put(SubscriptionGroupConfig::new(group));
            if !self.is_slave {
                table.data_version.next(now_ms);
            }
            true
        };
        match self.table.update(create).await {
            Ok(false) => {}
            Ok(true) => tracing::info!(group, "subscription group created"),
            Err(error) => {
                tracing::error!(group, %error, "subscription group created, but not written");
                self.table.update_unwritten(create).await;
            }
        }
        self.find(group)
    }

    /// Every group, as slaves (201) and the file get them.
    pub(crate) fn wrapper(&self) -> SubscriptionGroupWrapper {
        self.table.snapshot().wrapper()
    }

    /// Takes over a master's table if it has another version. One without a group of any user,
    /// where this one has some, is a blank master's and refused: returns `false` then.
    ///
    /// # Errors
    /// When the table cannot be written; it is then as before.
    pub(crate) async fn adopt(&self, wrapper: SubscriptionGroupWrapper) -> io::Result<bool> {
        let is_users = |name: &String| !SYSTEM_GROUPS.contains(&name.as_str());
        let mut is_refused = false;
        let adopted = self.table.update(|table| {
            if table.data_version == wrapper.data_version {
                return false;
            }
            let is_blank = !wrapper.subscription_group_table.keys().any(is_users);
            if is_blank && table.groups.keys().any(is_users) {
                is_refused = true;
                return false;
            }
            table.groups.clear();
            table.merge(wrapper);
            true
        });
        adopted.await?;
        Ok(!is_refused)
    }
}

impl GroupTable {
    fn put(&mut self, config: SubscriptionGroupConfig) {
        self.groups.insert(config.group_name.clone(), Arc::new(config));
    }

    fn merge(&mut self, wrapper: SubscriptionGroupWrapper) {
        self.data_version = wrapper.data_version;
        for (name, config) in wrapper.subscription_group_table {
            self.groups.insert(name, Arc::new(config));
        }
    }

    fn wrapper(&self) -> SubscriptionGroupWrapper {
        let entries = self.groups.iter().map(|(name, config)| (name.clone(), (**config).clone()));
        SubscriptionGroupWrapper {
            data_version: self.data_version,
            subscription_group_table: entries.collect(),
        }
    }

    fn encode(&self) -> Bytes {
        to_bytes(&self.wrapper())
    }
}

fn now_ms(clock: &dyn Clock) -> i64 {
    i64::try_from(clock.now_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(
        dir: &std::path::Path,
        auto_create: bool,
        role: BrokerRole,
    ) -> SubscriptionGroupManager {
        let mut config = BrokerConfig::new("broker-a");
        config.auto_create_subscription_group = auto_create;
        let mut store_config = StoreConfig::at(dir);
        store_config.broker_role = role;
        SubscriptionGroupManager::load(&Env::os(), &config, &store_config).unwrap()
    }

    #[tokio::test]
    async fn unknown_groups_are_created_if_that_is_allowed() {
        let dir = tempfile::tempdir().unwrap();
        let manager = load(dir.path(), true, BrokerRole::AsyncMaster);
        assert!(manager.find("G").is_none());
        let group = manager.find_or_create("G").await.unwrap();
        assert_eq!(*group, SubscriptionGroupConfig::new("G"));
        assert_eq!(manager.find_or_create("a b").await, None);

        let strict = load(dir.path(), false, BrokerRole::AsyncMaster);
        assert_eq!(strict.find("G"), Some(group));
        assert_eq!(strict.find_or_create("H").await, None);
        assert!(strict.find_or_create("CID_RMQ_SYS_TRANS").await.is_some());
        assert_eq!(strict.wrapper().data_version.counter, 2);
    }

    #[tokio::test]
    async fn a_group_that_cannot_be_written_lives_until_it_can() {
        let dir = tempfile::tempdir().unwrap();
        let manager = load(dir.path(), true, BrokerRole::AsyncMaster);
        let disk = Env::os().disk;
        // Where the directory should be there is a file.
        disk.write(&dir.path().join("config"), b"").unwrap();
        assert!(manager.find_or_create("G").await.is_some());
        assert!(load(dir.path(), false, BrokerRole::AsyncMaster).find("G").is_none());

        disk.remove(&dir.path().join("config")).unwrap();
        assert!(manager.find_or_create("H").await.is_some());
        let after_restart = load(dir.path(), false, BrokerRole::AsyncMaster);
        assert!(after_restart.find("G").is_some() && after_restart.find("H").is_some());
    }

    #[tokio::test]
    async fn a_slave_takes_over_its_masters_groups_but_not_a_blank_masters() {
        let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let master = load(dirs[0].path(), true, BrokerRole::AsyncMaster);
        master.find_or_create("G").await.unwrap();
        let slave = load(dirs[1].path(), true, BrokerRole::Slave);
        slave.find_or_create("H").await.unwrap();
        assert_eq!(slave.wrapper().data_version.counter, 0);
        assert!(slave.adopt(master.wrapper()).await.unwrap());
        assert_eq!(slave.wrapper(), master.wrapper());

        let blank = load(dirs[2].path(), true, BrokerRole::AsyncMaster);
        assert!(!slave.adopt(blank.wrapper()).await.unwrap());
        assert!(slave.find("G").is_some());
    }
}
