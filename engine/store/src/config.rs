//! [`StoreConfig`]: the store's settings with RocketMQ 4.9.8's names (in Rust casing) and defaults.
//!
//! Reading `.properties` is the broker's business; this is what the store obeys.

use std::collections::BTreeSet;
use std::path::PathBuf;

use mq_protocol::ack_rule::{AckRule, Held};
pub use mq_protocol::upstream::UpstreamSwitch;

use crate::delay_level::DelayLevels;
use crate::index_layout::IndexLayout;

/// The least default of [`StoreConfig::ha_max_diverged_bytes`]: a diverged tail of so many bytes is none that a power loss
/// could not leave, however small the files are.
const HA_MAX_DIVERGED_BYTES_LEAST: u64 = 64 << 20;

/// When a put is acknowledged relative to the disk (`flushDiskType`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum FlushDiskType {
    /// The acknowledgement waits for the sync.
    SyncFlush,
    /// The acknowledgement does not wait.
    #[default]
    AsyncFlush,
}

impl FlushDiskType {
    /// Every value, in RocketMQ's order.
    pub const ALL: [FlushDiskType; 2] = [FlushDiskType::SyncFlush, FlushDiskType::AsyncFlush];

    /// RocketMQ's name: `SYNC_FLUSH` or `ASYNC_FLUSH`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            FlushDiskType::SyncFlush => "SYNC_FLUSH",
            FlushDiskType::AsyncFlush => "ASYNC_FLUSH",
        }
    }
}

/// The role of a broker in its group (`brokerRole`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum BrokerRole {
    /// Acknowledges without a slave.
    #[default]
    AsyncMaster,
    /// Acknowledges once a slave has the record.
    SyncMaster,
    /// Copies its master's log and accepts no sends.
    Slave,
}

impl BrokerRole {
    /// Every value, in RocketMQ's order.
    pub const ALL: [BrokerRole; 3] =
        [BrokerRole::AsyncMaster, BrokerRole::SyncMaster, BrokerRole::Slave];

    /// RocketMQ's name: `ASYNC_MASTER`, `SYNC_MASTER` or `SLAVE`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            BrokerRole::AsyncMaster => "ASYNC_MASTER",
            BrokerRole::SyncMaster => "SYNC_MASTER",
            BrokerRole::Slave => "SLAVE",
        }
    }
}

/// The group that keeps a store's log, as its file names it (`enableDLegerCommitLog`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DLedgerConfig {
    /// `dLegerGroup`.
    pub group: String,
    /// `dLegerPeers`, as it is written.
    pub peers: String,
    /// `dLegerSelfId`.
    pub self_id: String,
    /// `preferredLeaderId`, several split by `;`.
    pub preferred_leader_ids: Vec<String>,
    /// `dLegerJavaPeers` (ours), split by `;`: members that are brokers of Apache RocketMQ.
    pub java_peers: Vec<String>,
    /// `storePathDLedgerCommitLog`.
    pub store_path: Option<PathBuf>,
}

impl DLedgerConfig {
    /// The node's directory in a store.
    #[must_use]
    pub fn dir_name(&self) -> String {
        format!("dledger-{}", self.self_id)
    }

    /// The port that the peers are told of; `None` where they are not told of this node.
    #[must_use]
    pub fn self_port(&self) -> Option<u16> {
        let mut peers = self.peers.split(';').filter_map(|peer| peer.trim().split_once('-'));
        let (_, addr) = peers.find(|(id, _)| *id == self.self_id)?;
        addr.rsplit_once(':')?.1.parse().ok()
    }
}

/// Settings of one store. Times in milliseconds, sizes in bytes, as in RocketMQ.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// `storePathRootDir`.
    pub store_path_root_dir: PathBuf,
    /// `storePathCommitLog`; derived from the root when absent.
    pub store_path_commit_log: Option<PathBuf>,
    /// `mappedFileSizeCommitLog`.
    pub mapped_file_size_commit_log: usize,
    /// `mappedFileSizeConsumeQueue`; the store rounds it up to a multiple of 20.
    pub mapped_file_size_consume_queue: usize,
    /// `flushDiskType`.
    pub flush_disk_type: FlushDiskType,
    /// `brokerRole`: what a store begins as ([`crate::role::RoleWatch`]).
    pub broker_role: BrokerRole,
    /// Set by `enableDLegerCommitLog`: the log is a consensus group's, and the role follows it.
    pub dledger: Option<DLedgerConfig>,
    /// `flushIntervalCommitLog`.
    pub flush_interval_commit_log_ms: u64,
    /// `flushCommitLogTimed`: the real-time flush sleeps its interval and ignores wake-ups.
    pub flush_commit_log_timed: bool,
    /// `flushCommitLogLeastPages`.
    pub flush_commit_log_least_pages: usize,
    /// `flushCommitLogThoroughInterval`.
    pub flush_commit_log_thorough_interval_ms: u64,
    /// `transientStorePoolEnable`, as it is written; what holds is
    /// [`StoreConfig::is_transient_store_pool_enable`].
    pub transient_store_pool_enable: bool,
    /// `transientStorePoolSize`: buffers of a CommitLog file's size.
    pub transient_store_pool_size: usize,
    /// `fastFailIfNoBufferInStorePool`: without a buffer no file is begun.
    pub fast_fail_if_no_buffer_in_store_pool: bool,
    /// `commitIntervalCommitLog`.
    pub commit_interval_commit_log_ms: u64,
    /// `commitCommitLogLeastPages`.
    pub commit_commit_log_least_pages: usize,
    /// `commitCommitLogThoroughInterval`.
    pub commit_commit_log_thorough_interval_ms: u64,
    /// `flushIntervalConsumeQueue`.
    pub flush_interval_consume_queue_ms: u64,
    /// `flushConsumeQueueLeastPages`.
    pub flush_consume_queue_least_pages: usize,
    /// `flushConsumeQueueThoroughInterval`.
    pub flush_consume_queue_thorough_interval_ms: u64,
    /// `syncFlushTimeout`.
    pub sync_flush_timeout_ms: u64,
    /// `slaveTimeout`.
    pub slave_timeout_ms: u64,
    /// `maxMessageSize`: limit of a body.
    pub max_message_size: usize,
    /// `checkCRCOnRecover`.
    pub check_crc_on_recover: bool,
    /// `maxTransferBytesOnMessageInMemory`.
    pub max_transfer_bytes_on_message_in_memory: usize,
    /// `maxTransferCountOnMessageInMemory`.
    pub max_transfer_count_on_message_in_memory: usize,
    /// `maxTransferBytesOnMessageInDisk`.
    pub max_transfer_bytes_on_message_in_disk: usize,
    /// `maxTransferCountOnMessageInDisk`.
    pub max_transfer_count_on_message_in_disk: usize,
    /// `accessMessageInMemoryMaxRatio`: percent of [`StoreConfig::total_memory_bytes`].
    pub access_message_in_memory_max_ratio: u64,
    /// Physical memory of the machine, for the ratio above.
    pub total_memory_bytes: u64,
    /// `offsetCheckInSlave`.
    pub offset_check_in_slave: bool,
    /// `messageIndexEnable`: messages can be found by key.
    pub message_index_enable: bool,
    /// `messageIndexSafe`: after an unclean end the newest index file is made again from the log,
    /// not from its own synced entries. Neither loses keys.
    pub message_index_safe: bool,
    /// `maxHashSlotNum`: slots of an index file.
    pub max_hash_slot_num: usize,
    /// `maxIndexNum`: an index file takes one entry fewer.
    pub max_index_num: usize,
    /// Ours: damage below the durable watermark does not stop the start but is written down and
    /// passed over.
    pub salvage: bool,
    /// `beginWithEmptyTables` (ours): topics, groups or offsets of which nothing sound is left do not
    /// stop the start; it begins without them.
    pub begin_with_empty_tables: bool,
    /// `osPageCacheBusyTimeOutMills`.
    pub os_page_cache_busy_timeout_ms: u64,
    /// `cleanResourceInterval`: how often is looked at what may be removed while there is something.
    pub clean_resource_interval_ms: u64,
    /// `deleteWhen`: local hours, split by `;`.
    pub delete_when: String,
    /// `fileReservedTime`, hours.
    pub file_reserved_time_hours: u64,
    /// `deadLetterReservedTime` (ours), hours: a file that holds dead letters is kept for so long at least.
    pub dead_letter_reserved_time_hours: u64,
    /// `diskMaxUsedSpaceRatio`, percent: above it what has expired goes at any hour.
    pub disk_max_used_space_ratio: u64,
    /// `diskSpaceCleanForciblyRatio`, percent: above it the oldest files go, expired or not.
    pub disk_space_clean_forcibly_ratio: u64,
    /// `diskSpaceWarningLevelRatio`, percent: above it writes are refused.
    pub disk_space_warning_level_ratio: u64,
    /// `cleanFileForciblyEnable`: without it nothing goes that has not expired.
    pub clean_file_forcibly_enable: bool,
    /// `deleteCommitLogFilesInterval`: pause between two CommitLog files.
    pub delete_commit_log_files_interval_ms: u64,
    /// `deleteConsumeQueueFilesInterval`: pause behind a queue that lost files.
    pub delete_consume_queue_files_interval_ms: u64,
    /// `destroyMapedFileIntervalForcibly`: readers keep an expired file in its directory for at most
    /// so long.
    pub destroy_mapped_file_interval_forcibly_ms: u64,
    /// `redeleteHangedFileInterval`: how often such a file is tried again.
    pub redelete_hanged_file_interval_ms: u64,
    /// `haListenPort`: always `listenPort + 1`.
    pub ha_listen_port: u16,
    /// `haMasterAddress`: a fixed HA target instead of the registered one.
    pub ha_master_address: Option<String>,
    /// `haSendHeartbeatInterval`.
    pub ha_send_heartbeat_interval_ms: u64,
    /// `haHousekeepingInterval`.
    pub ha_housekeeping_interval_ms: u64,
    /// `haTransferBatchSize`.
    pub ha_transfer_batch_size: usize,
    /// `haSlaveFallbehindMax`.
    pub ha_slave_fallbehind_max: u64,
    /// `haMaxDivergedBytes` (ours): a longer diverged tail is not quarantined, the slave refuses to
    /// follow. Default: one CommitLog file, and at least 64 MiB.
    pub ha_max_diverged_bytes: Option<u64>,
    /// `messageDelayLevel`.
    pub message_delay_level: DelayLevels,
    /// Upstream behaviours switched on.
    pub upstream: BTreeSet<UpstreamSwitch>,
    /// Bugs planted to prove that the simulator finds them.
    #[cfg(feature = "plants")]
    pub plants: BTreeSet<crate::plant::Plant>,
}

impl StoreConfig {
    /// RocketMQ's defaults with the store under `store_path_root_dir`.
    #[must_use]
    pub fn at(store_path_root_dir: impl Into<PathBuf>) -> Self {
        StoreConfig {
            store_path_root_dir: store_path_root_dir.into(),
            store_path_commit_log: None,
            mapped_file_size_commit_log: 1 << 30,
            mapped_file_size_consume_queue: 300_000 * 20,
            flush_disk_type: FlushDiskType::AsyncFlush,
            broker_role: BrokerRole::AsyncMaster,
            dledger: None,
            flush_interval_commit_log_ms: 500,
            flush_commit_log_timed: true,
            flush_commit_log_least_pages: 4,
            flush_commit_log_thorough_interval_ms: 10_000,
            transient_store_pool_enable: false,
            transient_store_pool_size: 5,
            fast_fail_if_no_buffer_in_store_pool: false,
            commit_interval_commit_log_ms: 200,
            commit_commit_log_least_pages: 4,
            commit_commit_log_thorough_interval_ms: 200,
            flush_interval_consume_queue_ms: 1_000,
            flush_consume_queue_least_pages: 2,
            flush_consume_queue_thorough_interval_ms: 60_000,
            sync_flush_timeout_ms: 5_000,
            slave_timeout_ms: 3_000,
            max_message_size: 4 << 20,
            check_crc_on_recover: true,
            max_transfer_bytes_on_message_in_memory: 256 << 10,
            max_transfer_count_on_message_in_memory: 32,
            max_transfer_bytes_on_message_in_disk: 64 << 10,
            max_transfer_count_on_message_in_disk: 8,
            access_message_in_memory_max_ratio: 40,
            total_memory_bytes: 16 << 30,
            offset_check_in_slave: false,
            message_index_enable: true,
            message_index_safe: false,
            max_hash_slot_num: IndexLayout::DEFAULT.hash_slot_num,
            max_index_num: IndexLayout::DEFAULT.index_num,
            salvage: false,
            begin_with_empty_tables: false,
            os_page_cache_busy_timeout_ms: 1_000,
            clean_resource_interval_ms: 10_000,
            delete_when: "04".to_owned(),
            file_reserved_time_hours: 72,
            dead_letter_reserved_time_hours: 72,
            disk_max_used_space_ratio: 75,
            disk_space_clean_forcibly_ratio: 85,
            disk_space_warning_level_ratio: 90,
            clean_file_forcibly_enable: true,
            delete_commit_log_files_interval_ms: 100,
            delete_consume_queue_files_interval_ms: 100,
            destroy_mapped_file_interval_forcibly_ms: 120_000,
            redelete_hanged_file_interval_ms: 120_000,
            ha_listen_port: 10_912,
            ha_master_address: None,
            ha_send_heartbeat_interval_ms: 5_000,
            ha_housekeeping_interval_ms: 20_000,
            ha_transfer_batch_size: 32 << 10,
            ha_slave_fallbehind_max: 256 << 20,
            ha_max_diverged_bytes: None,
            message_delay_level: DelayLevels::default(),
            upstream: BTreeSet::new(),
            #[cfg(feature = "plants")]
            plants: BTreeSet::new(),
        }
    }

    /// The same settings for a store that pays no heed to how full its disk is: it takes writes, and
    /// nothing goes before it has expired. For tests and benchmarks, whose machine is not their
    /// subject.
    #[must_use]
    pub fn on_any_disk(mut self) -> Self {
        self.disk_space_warning_level_ratio = 100;
        self.clean_file_forcibly_enable = false;
        self
    }

    /// Whether messages are acknowledged that only the process has: the pool is for masters with
    /// ASYNC_FLUSH, whatever the file says (RocketMQ 4.9 `isTransientStorePoolEnable`).
    #[must_use]
    pub fn is_transient_store_pool_enable(&self) -> bool {
        self.wants_transient_store_pool() && self.broker_role != BrokerRole::Slave
    }

    /// The same for whenever the store is a master.
    pub(crate) fn wants_transient_store_pool(&self) -> bool {
        self.transient_store_pool_enable && self.flush_disk_type == FlushDiskType::AsyncFlush
    }

    /// What an acknowledgement rests on that is given in `role`; `waits` is the message's own `WAIT`
    /// (RocketMQ 4.9 `isWaitStoreMsgOK`). `inSyncReplicas` is not among it: who asks for more than one copy
    /// by that key is refused the start.
    #[must_use]
    pub fn ack_rule(&self, role: BrokerRole, waits: bool) -> AckRule {
        let other_copies = usize::from(waits && role == BrokerRole::SyncMaster);
        let syncs = waits && self.flush_disk_type == FlushDiskType::SyncFlush;
        let has_pool = self.wants_transient_store_pool() && role != BrokerRole::Slave;
        let own = match (syncs, has_pool) {
            (true, _) => Held::Platter,
            // What waits in the pool is sent to nobody: whom a slave confirms it to has committed it.
            (false, true) if other_copies == 0 => Held::Process,
            (false, _) => Held::PageCache,
        };
        assert!(
            other_copies == 0 || own >= Held::PageCache,
            "no other copy has what only this process has: {own:?}"
        );
        AckRule { own, other_copies, any_copies: false }
    }

    /// For how long at most a message that was appended waits in the transient store pool, milliseconds:
    /// at the first thorough wake-up behind that interval everything is committed.
    #[must_use]
    pub fn uncommitted_ms_max(&self) -> u64 {
        self.commit_commit_log_thorough_interval_ms + self.commit_interval_commit_log_ms.max(1)
    }

    /// [`StoreConfig::ha_max_diverged_bytes`], or its default.
    #[must_use]
    pub fn ha_max_diverged_bytes_in_force(&self) -> u64 {
        let file_bytes = self.mapped_file_size_commit_log as u64;
        self.ha_max_diverged_bytes.unwrap_or(file_bytes.max(HA_MAX_DIVERGED_BYTES_LEAST))
    }

    /// The CommitLog's directory.
    #[must_use]
    pub fn commit_log_dir(&self) -> PathBuf {
        if let Some(dledger) = &self.dledger {
            let in_node = || self.store_path_root_dir.join(dledger.dir_name()).join("data");
            return dledger.store_path.clone().unwrap_or_else(in_node);
        }
        self.store_path_commit_log
            .clone()
            .unwrap_or_else(|| self.store_path_root_dir.join("commitlog"))
    }

    /// How index files are laid out.
    pub(crate) fn index_layout(&self) -> IndexLayout {
        // No slot or no room for an entry would leave nothing to put a key into.
        IndexLayout {
            hash_slot_num: self.max_hash_slot_num.max(1),
            index_num: self.max_index_num.max(2),
        }
    }

    /// Whether an upstream behaviour is switched on.
    #[must_use]
    pub fn upstream(&self, switch: UpstreamSwitch) -> bool {
        self.upstream.contains(&switch)
    }
}
