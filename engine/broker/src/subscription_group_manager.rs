//! [`SubscriptionGroupManager`]: the consumer groups of a broker, file `subscriptionGroup.json`
//! (RocketMQ 4.9 `SubscriptionGroupManager`).

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use mq_env::Env;
use mq_env::clock::Clock;
use mq_protocol::body::subscription_group::{SubscriptionGroupConfig, SubscriptionGroupWrapper};
use mq_protocol::body::topic_config::DataVersion;
use mq_protocol::fastjson::{from_slice, to_bytes};
use mq_protocol::topic_validator::{SYSTEM_GROUP_PREFIX, SYSTEM_GROUPS, is_legal_group};
use mq_remoting::ProcessError;
use mq_store::config::StoreConfig;
use mq_store::metadata_file::{MetadataError, load_table, table_path};
use mq_store::role::RoleWatch;

use crate::config::BrokerConfig;
use crate::limits::{Limit, LimitReached};
use crate::now_ms;
use crate::persisted_table::PersistedTable;

/// A group that is not there and is not created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoGroup {
    /// It may not be created, or not under this name.
    NotAllowed,
    /// There are too many.
    Limit(LimitReached),
}

impl NoGroup {
    /// What to add to a remark.
    pub(crate) fn reason(&self) -> String {
        match self {
            NoGroup::NotAllowed => String::new(),
            NoGroup::Limit(reached) => format!(" ({reached})"),
        }
    }
}

/// The consumer groups of a broker.
pub(crate) struct SubscriptionGroupManager {
    clock: Arc<dyn Clock>,
    limit: Limit,
    auto_create_subscription_group: AtomicBool,
    /// A slave's own additions do not count as a version: its master's table replaces them.
    role: RoleWatch,
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
        role: &RoleWatch,
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
            limit: Limit::new("maxSubscriptionGroupNums", config.limits.subscription_group_nums),
            auto_create_subscription_group: AtomicBool::new(config.auto_create_subscription_group),
            role: role.clone(),
            table: PersistedTable::new(Arc::clone(&env.disk), path, GroupTable::encode, table),
        })
    }

    /// Follows `autoCreateSubscriptionGroup`.
    pub(crate) fn set_auto_create(&self, is_enabled: bool) {
        self.auto_create_subscription_group.store(is_enabled, Ordering::Relaxed);
    }

    /// The group, if there is one.
    pub(crate) fn find(&self, group: &str) -> Option<Arc<SubscriptionGroupConfig>> {
        self.table.read(|table| table.groups.get(group).cloned())
    }

    /// Every group.
    pub(crate) fn names(&self) -> Vec<String> {
        self.table.read(|table| table.groups.keys().cloned().collect())
    }

    /// Whether there is the group.
    pub(crate) fn contains(&self, group: &str) -> bool {
        self.table.read(|table| table.groups.contains_key(group))
    }

    /// The group, created with defaults if there is none and that is allowed (Java
    /// `findSubscriptionGroupConfig`).
    pub(crate) async fn find_or_create(
        &self,
        group: &str,
    ) -> Result<Arc<SubscriptionGroupConfig>, NoGroup> {
        if let Some(found) = self.find(group) {
            return Ok(found);
        }
        let created = self.create_missing(&[group]).await;
        match (self.find(group), created) {
            (Some(found), _) => Ok(found),
            (None, Ok(())) => Err(NoGroup::NotAllowed),
            (None, Err(reached)) => Err(NoGroup::Limit(reached)),
        }
    }

    /// Creates those of `groups` that are missing and may be created, all with one write. A full disk
    /// does not keep a new group from reading: where the table cannot be written the groups live in
    /// memory until it is, since their defaults are all that a restart could lose.
    ///
    /// # Errors
    /// When there are too many: some are missing then.
    pub(crate) async fn create_missing(&self, groups: &[&str]) -> Result<(), LimitReached> {
        let missing: Vec<&str> = self.table.read(|table| {
            let is_missing = |group: &&&str| !table.groups.contains_key(**group);
            groups.iter().filter(is_missing).copied().filter(|it| self.may_create(it)).collect()
        });
        if missing.is_empty() {
            return Ok(());
        }
        let now_ms = now_ms(&*self.clock);
        let create = |table: &mut GroupTable| -> (bool, Result<(), LimitReached>) {
            let count_before = table.groups.len();
            for group in &missing {
                if table.groups.contains_key(*group) {
                    continue;
                }
                let count = table.groups.len() + 1;
                if let Err(reached) = self.limit.check(count, "subscription groups") {
                    return (table.groups.len() > count_before, Err(reached));
                }
                table.put(SubscriptionGroupConfig::new(*group));
                if self.role.is_master() {
                    table.data_version.next(now_ms);
                }
            }
            (table.groups.len() > count_before, Ok(()))
        };
        let mut outcome = Ok(());
        let written = self.table.update::<io::Error>(|table| {
            let (is_changed, created) = create(table);
            outcome = created;
            Ok(is_changed)
        });
        match written.await {
            Ok(false) => {}
            Ok(true) => tracing::info!(groups = missing.join(" "), "subscription groups created"),
            Err(error) => {
                let groups = missing.join(" ");
                tracing::error!(groups, %error, "subscription groups created, but not written");
                self.table.update_unwritten(|table| create(table).0).await;
            }
        }
        outcome
    }

    /// Sets a group as an operator does, whether or not groups are created by themselves (Java
    /// `updateSubscriptionGroupConfig`).
    ///
    /// # Errors
    /// The limit, or what the disk says; the table is then as before.
    pub(crate) async fn update_group(
        &self,
        config: SubscriptionGroupConfig,
    ) -> Result<(), ProcessError> {
        let now_ms = now_ms(&*self.clock);
        let update = |table: &mut GroupTable| {
            let is_new = !table.groups.contains_key(&config.group_name);
            self.limit.check(table.groups.len() + usize::from(is_new), "subscription groups")?;
            table.put(config);
            table.data_version.next(now_ms);
            Ok::<_, ProcessError>(true)
        };
        self.table.update(update).await.map(drop)
    }

    /// Takes a group out of the table, if it is there (Java `deleteSubscriptionGroupConfig`).
    ///
    /// # Errors
    /// When the table cannot be written; it is then as before.
    pub(crate) async fn delete_group_config(&self, group: &str) -> io::Result<()> {
        let now_ms = now_ms(&*self.clock);
        let deleted = self.table.update::<io::Error>(|table| {
            let is_changed = table.groups.remove(group).is_some();
            if is_changed {
                table.data_version.next(now_ms);
            }
            Ok(is_changed)
        });
        deleted.await.map(drop)
    }

    fn may_create(&self, group: &str) -> bool {
        (self.auto_create_subscription_group.load(Ordering::Relaxed)
            || group.starts_with(SYSTEM_GROUP_PREFIX))
            && is_legal_group(group)
    }

    /// Every group, as slaves (201) and the file get them, encoded.
    pub(crate) fn content(&self) -> Bytes {
        self.table.content()
    }

    /// Those of this table that `wrapper` lacks.
    pub(crate) fn missing_in(&self, wrapper: &SubscriptionGroupWrapper) -> Vec<String> {
        let is_missing = |group: &&String| !wrapper.subscription_group_table.contains_key(*group);
        self.table.read(|table| table.groups.keys().filter(is_missing).cloned().collect())
    }

    /// Takes over a master's table if it has another version. One without a group of any user,
    /// where this one has some of which `has_offsets` says that the master has offsets, is a blank master's
    /// and refused: returns `false` then.
    ///
    /// # Errors
    /// When the table cannot be written; it is then as before.
    pub(crate) async fn adopt(
        &self,
        wrapper: SubscriptionGroupWrapper,
        has_offsets: impl Fn(&str) -> bool,
    ) -> io::Result<bool> {
        let is_users = |name: &String| !SYSTEM_GROUPS.contains(&name.as_str());
        let mut is_refused = false;
        let adopted = self.table.update::<io::Error>(|table| {
            if table.data_version == wrapper.data_version {
                return Ok(false);
            }
            let is_blank = !wrapper.subscription_group_table.keys().any(is_users);
            if is_blank && table.groups.keys().any(|name| is_users(name) && has_offsets(name)) {
                is_refused = true;
                return Ok(false);
            }
            table.groups.clear();
            table.merge(wrapper);
            Ok(true)
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

#[cfg(test)]
mod tests {
    use mq_store::config::BrokerRole;

    use super::*;
    use crate::persisted_table::tests::Counting;

    fn load(
        dir: &std::path::Path,
        auto_create: bool,
        role: BrokerRole,
    ) -> SubscriptionGroupManager {
        let mut config = BrokerConfig::new("broker-a");
        config.auto_create_subscription_group = auto_create;
        let store_config = StoreConfig::at(dir);
        let role = RoleWatch::new(role);
        SubscriptionGroupManager::load(&Env::os(), &config, &store_config, &role).unwrap()
    }

    fn wrapper(manager: &SubscriptionGroupManager) -> SubscriptionGroupWrapper {
        manager.table.read(GroupTable::wrapper)
    }

    #[tokio::test]
    async fn groups_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = BrokerConfig::new("broker-a");
        config.limits.subscription_group_nums = SYSTEM_GROUPS.len() + 2;
        let store_config = StoreConfig::at(dir.path());
        let role = RoleWatch::new(BrokerRole::AsyncMaster);
        let manager =
            SubscriptionGroupManager::load(&Env::os(), &config, &store_config, &role).unwrap();
        let created = manager.create_missing(&["A", "a b", "A", "B", "C"]).await;
        assert!(created.unwrap_err().to_string().contains("maxSubscriptionGroupNums=9"));
        assert!(["A", "B"].iter().all(|group| manager.find(group).is_some()));
        assert_eq!(manager.create_missing(&["A", "B"]).await, Ok(()));
        let refused = manager.find_or_create("C").await.unwrap_err();
        assert!(refused.reason().contains("maxSubscriptionGroupNums=9"));
    }

    #[tokio::test]
    async fn however_many_groups_a_heartbeat_has_the_file_is_written_once() {
        for count in [10, 2_000] {
            let (dir, disk) = (tempfile::tempdir().unwrap(), Counting::new());
            let env = Env { disk: disk.clone(), ..Env::os() };
            let config = BrokerConfig::new("broker-a");
            let role = RoleWatch::new(BrokerRole::AsyncMaster);
            let manager =
                SubscriptionGroupManager::load(&env, &config, &StoreConfig::at(dir.path()), &role)
                    .unwrap();
            let names: Vec<String> = (0..count).map(|n| format!("group-{n}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            for _ in 0..2 {
                manager.create_missing(&names).await.unwrap();
                assert_eq!(disk.files_written(), 1);
            }
            let after_restart = load(dir.path(), false, BrokerRole::AsyncMaster);
            assert!(names.iter().all(|group| after_restart.contains(group)));
        }
    }

    #[tokio::test]
    async fn unknown_groups_are_created_if_that_is_allowed() {
        let dir = tempfile::tempdir().unwrap();
        let manager = load(dir.path(), true, BrokerRole::AsyncMaster);
        assert!(manager.find("G").is_none());
        let group = manager.find_or_create("G").await.unwrap();
        assert_eq!(*group, SubscriptionGroupConfig::new("G"));
        assert_eq!(manager.find_or_create("a b").await, Err(NoGroup::NotAllowed));

        let strict = load(dir.path(), false, BrokerRole::AsyncMaster);
        assert_eq!(strict.find("G"), Some(group));
        assert_eq!(strict.find_or_create("H").await, Err(NoGroup::NotAllowed));
        assert!(strict.find_or_create("CID_RMQ_SYS_TRANS").await.is_ok());
        assert_eq!(wrapper(&strict).data_version.counter, 2);
    }

    #[tokio::test]
    async fn a_group_that_cannot_be_written_lives_until_it_can() {
        let dir = tempfile::tempdir().unwrap();
        let manager = load(dir.path(), true, BrokerRole::AsyncMaster);
        let disk = Env::os().disk;
        // Where the directory should be there is a file.
        disk.write(&dir.path().join("config"), b"").unwrap();
        assert!(manager.find_or_create("G").await.is_ok());
        assert!(load(dir.path(), false, BrokerRole::AsyncMaster).find("G").is_none());

        disk.remove(&dir.path().join("config")).unwrap();
        assert!(manager.find_or_create("H").await.is_ok());
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
        assert_eq!(wrapper(&slave).data_version.counter, 0);
        assert!(slave.adopt(wrapper(&master), |_| true).await.unwrap());
        assert_eq!(wrapper(&slave), wrapper(&master));

        let blank = load(dirs[2].path(), true, BrokerRole::AsyncMaster);
        assert!(!slave.adopt(wrapper(&blank), |_| true).await.unwrap());
        assert!(slave.find("G").is_some());
        // Neither has the master offsets of theirs: they were deleted.
        assert!(slave.adopt(wrapper(&blank), |_| false).await.unwrap());
        assert_eq!(wrapper(&slave), wrapper(&blank));
    }
}
