//! [`BrokerConfig`]: what a broker obeys, and how it and [`StoreConfig`] come out of a `.properties`
//! file.
//!
//! RocketMQ 4.9 feeds one file to four beans by reflection and swallows every mistake: an unknown
//! key has no effect, a value that does not parse leaves the default (a boolean becomes false).
//! [`BrokerConfig::parse`] reads the same syntax and the same keys, and says instead of swallowing:
//! a [`ConfigFinding`] per mistake, with its line, what is allowed, and what 4.9 would do.
//!
//! Modules in reading order: `key` (what a row of the table is), `keys` (the table of all keys),
//! `limits`, `finding`, `parse` (one value), `rules` (several keys of one file together), `dledger` (those of a group),
//! `live` (what may change while the broker runs), `echo` (what it tells of its settings).

mod dledger;
mod echo;
mod finding;
mod key;
mod keys;
mod limits;
mod live;
mod parse;
mod rules;

use std::path::PathBuf;

use mq_protocol::properties_file::PropertiesFile;
use mq_protocol::sys_flag::PermName;
use mq_remoting::RemotingServerConfig;
use mq_store::config::StoreConfig;

pub(crate) use echo::RunningValues;
pub use finding::{ConfigFinding, ConfigFindingKind, Severity};
pub use limits::BrokerLimits;
pub(crate) use live::{ChangeRefused, change};
pub use parse::nearest;

/// The port of a broker whose file names none.
pub const DEFAULT_LISTEN_PORT: u16 = 10_911;

/// What RocketMQ takes from the machine when the file does not say it.
#[derive(Clone, Debug)]
pub struct LocalDefaults {
    /// The host name: the default of `brokerName`.
    pub host_name: String,
    /// The home directory: `storePathRootDir` defaults to `store` in it.
    pub home_dir: PathBuf,
    /// Physical memory, for `accessMessageInMemoryMaxRatio`.
    pub total_memory_bytes: u64,
}

/// Settings of one broker outside its store. Times in milliseconds, as in RocketMQ.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// `brokerClusterName`.
    pub broker_cluster_name: String,
    /// `brokerName`: master and slaves of one group share it.
    pub broker_name: String,
    /// `brokerId`: 0 is the master. In DLedger mode that of the broker while it follows, by its `dLegerSelfId`.
    pub broker_id: u64,
    /// `brokerIP1`: the advertised address; the machine's when absent.
    pub broker_ip1: Option<String>,
    /// `brokerIP2`: the advertised address for replication; the machine's when absent.
    pub broker_ip2: Option<String>,
    /// `listenPort`; the VIP port is 2 below, HA listens 1 above.
    pub listen_port: u16,
    /// `metricsListenPort`: figures and health over HTTP; 0 for none.
    pub metrics_listen_port: u16,
    /// `namesrvAddr`, split at `;`.
    pub namesrv_addrs: Vec<String>,
    /// `brokerPermission`: 4 read, 2 write.
    pub broker_permission: u32,
    /// `registerNameServerPeriod`, within 10 s to 60 s.
    pub register_name_server_period_ms: u64,
    /// `registerBrokerTimeoutMills`.
    pub register_broker_timeout_ms: u64,
    /// `forceRegister`: register every time, also when the name server has the same data version.
    pub force_register: bool,
    /// `server…`: what the connections of clients may hold.
    pub server: RemotingServerConfig,
    /// `startAcceptSendRequestTimeStamp`: sends before this wall-clock time are refused.
    pub start_accept_send_request_timestamp_ms: u64,

    /// `autoCreateTopicEnable`.
    pub auto_create_topic_enable: bool,
    /// `defaultTopicQueueNums`: upper bound of the queues of an automatically created topic.
    pub default_topic_queue_nums: u32,
    /// `autoCreateSubscriptionGroup`.
    pub auto_create_subscription_group: bool,
    /// `clusterTopicEnable`: a topic of the cluster's name exists.
    pub cluster_topic_enable: bool,
    /// `brokerTopicEnable`: a topic of the broker's name exists.
    pub broker_topic_enable: bool,
    /// `traceTopicEnable`.
    pub trace_topic_enable: bool,
    /// `msgTraceTopicName`.
    pub msg_trace_topic_name: String,
    /// `traceOn`: told to producers in the send response.
    pub trace_on: bool,
    /// `regionId`: told to producers in the send response.
    pub region_id: String,

    /// `slaveReadEnable`: a lagging consumer is sent to the slave.
    pub slave_read_enable: bool,
    /// `longPollingEnable`: a pull without messages is held.
    pub long_polling_enable: bool,
    /// `shortPollingTimeMills`: the hold without long polling.
    pub short_polling_time_ms: u64,
    /// `notifyConsumerIdsChangedEnable`.
    pub notify_consumer_ids_changed_enable: bool,
    /// `flushConsumerOffsetInterval`.
    pub flush_consumer_offset_interval_ms: u64,
    /// `enablePropertyFilter`: SQL92 subscriptions are allowed.
    pub enable_property_filter: bool,
    /// `filterSupportRetry`: retried messages pass the subscription to the topic that they came from.
    pub filter_support_retry: bool,
    /// `storeReplyMessageEnable`.
    pub store_reply_message_enable: bool,
    /// `defaultQueryMaxNum`: messages of one query by key.
    pub default_query_max_num: usize,
    /// `rejectTransactionMessage`.
    pub reject_transaction_message: bool,
    /// `brokerFastFailureEnable`: what waits too long for its turn is refused.
    pub broker_fast_failure_enable: bool,
    /// `sendThreadPoolQueueCapacity`: sends that may wait for their turn.
    pub send_thread_pool_queue_capacity: usize,
    /// `waitTimeMillsInSendQueue`: for how long.
    pub wait_time_in_send_queue_ms: u64,
    /// `endTransactionPoolQueueCapacity`: ends of transactions that may wait for their turn.
    pub end_transaction_pool_queue_capacity: usize,
    /// `waitTimeMillsInTransactionQueue`: for how long.
    pub wait_time_in_transaction_queue_ms: u64,
    /// `transactionTimeOut`: minimum age of a half message before it is checked.
    pub transaction_timeout_ms: u64,
    /// `transactionCheckMax`.
    pub transaction_check_max: u32,
    /// `transactionCheckInterval`.
    pub transaction_check_interval_ms: u64,
    /// `flushDelayOffsetInterval`: how long delay offsets may be newer than their file.
    pub flush_delay_offset_interval_ms: u64,

    /// `aclEnable`: requests are asked for a signature and permissions.
    pub acl_enable: bool,
    /// `rocketmqHome`: below it are the files of accounts.
    pub rocketmq_home: Option<PathBuf>,
    /// `rocketmq.acl.plain.file`, below `rocketmqHome`. More files may be in `conf/acl`.
    pub acl_plain_file: PathBuf,

    /// `configBlackList`: keys that nobody changes from afar, besides those that RocketMQ keeps to itself; split by `;`.
    pub config_black_list: String,
    /// The file that changes from afar are written to (RocketMQ 4.9 `brokerConfigPath`); without one they last until the
    /// broker ends.
    pub broker_config_path: Option<PathBuf>,
    /// What was read: keys that are accepted and not used are told with these values.
    pub file: PropertiesFile,
    /// Keys that others obey, with the values in force, to be told with the rest.
    pub values_besides: Vec<(&'static str, String)>,

    /// How much is kept for peers.
    pub limits: BrokerLimits,
}

impl BrokerConfig {
    /// What `brokerPermission` lets no client do: `send`, `read` or `send or read`.
    #[must_use]
    pub fn keeps_clients_from(&self) -> Option<&'static str> {
        let perm = i32::try_from(self.broker_permission).unwrap_or_default();
        match (PermName::is_writeable(perm), PermName::is_readable(perm)) {
            (true, true) => None,
            (false, true) => Some("send"),
            (true, false) => Some("read"),
            (false, false) => Some("send or read"),
        }
    }

    /// RocketMQ's defaults for a broker of this name.
    #[must_use]
    pub fn new(broker_name: impl Into<String>) -> Self {
        BrokerConfig {
            broker_cluster_name: "DefaultCluster".to_owned(),
            broker_name: broker_name.into(),
            broker_id: 0,
            broker_ip1: None,
            broker_ip2: None,
            listen_port: DEFAULT_LISTEN_PORT,
            metrics_listen_port: 0,
            namesrv_addrs: Vec::new(),
            broker_permission: 6,
            register_name_server_period_ms: 30_000,
            register_broker_timeout_ms: 6_000,
            force_register: true,
            server: RemotingServerConfig::default(),
            start_accept_send_request_timestamp_ms: 0,
            auto_create_topic_enable: true,
            default_topic_queue_nums: 8,
            auto_create_subscription_group: true,
            cluster_topic_enable: true,
            broker_topic_enable: true,
            trace_topic_enable: false,
            msg_trace_topic_name: "RMQ_SYS_TRACE_TOPIC".to_owned(),
            trace_on: true,
            region_id: "DefaultRegion".to_owned(),
            slave_read_enable: false,
            long_polling_enable: true,
            short_polling_time_ms: 1_000,
            notify_consumer_ids_changed_enable: true,
            flush_consumer_offset_interval_ms: 5_000,
            enable_property_filter: false,
            filter_support_retry: false,
            store_reply_message_enable: true,
            default_query_max_num: 32,
            reject_transaction_message: false,
            broker_fast_failure_enable: true,
            send_thread_pool_queue_capacity: 10_000,
            wait_time_in_send_queue_ms: 200,
            end_transaction_pool_queue_capacity: 100_000,
            wait_time_in_transaction_queue_ms: 3_000,
            transaction_timeout_ms: 6_000,
            transaction_check_max: 15,
            transaction_check_interval_ms: 60_000,
            flush_delay_offset_interval_ms: 10_000,
            acl_enable: false,
            rocketmq_home: None,
            acl_plain_file: PathBuf::from("conf/plain_acl.yml"),
            config_black_list: "configBlackList;brokerConfigPath".to_owned(),
            broker_config_path: None,
            file: PropertiesFile::default(),
            values_besides: Vec::new(),
            limits: BrokerLimits::default(),
        }
    }

    /// Reads a broker's file. With a finding of [`Severity::Error`] the result is not fit to run:
    /// the key in question kept its default.
    ///
    /// The findings are in the order of their lines; values from outside the file come last.
    #[must_use]
    pub fn parse(
        file: &PropertiesFile,
        local: &LocalDefaults,
    ) -> (BrokerConfig, StoreConfig, Vec<ConfigFinding>) {
        let mut settings = Settings {
            broker: BrokerConfig::new(&local.host_name),
            store: StoreConfig::at(local.home_dir.join("store")),
        };
        settings.store.total_memory_bytes = local.total_memory_bytes;

        let mut findings = Vec::new();
        for entry in file.entries() {
            parse::apply(entry, &mut settings, &mut findings);
        }
        settings.store.ha_listen_port = settings.broker.listen_port + 1;
        rules::check(file, &mut settings, &mut findings);
        settings.broker.file = file.clone();
        findings.sort_by_key(|finding| finding.line.wrapping_sub(1));
        (settings.broker, settings.store, findings)
    }

    /// Every key of 4.9 with the value in force, as in a file; `only_important` as `mqbroker -m` shows
    /// them. Values of keys that are accepted and not used are those of `file`.
    #[must_use]
    pub fn values_in_force(
        &self,
        store: &StoreConfig,
        file: &PropertiesFile,
        only_important: bool,
    ) -> Vec<(&'static str, String)> {
        let mut settings = Settings { broker: self.clone(), store: store.clone() };
        keys::obeyed_by_someone()
            .filter(|key| !only_important || keys::IMPORTANT.contains(&key.name))
            .map(|key| {
                let written = file.get(key.name).filter(|_| !key.is_obeyed());
                let written = written.map(|entry| entry.value.trim_end().to_owned());
                (key.name, written.unwrap_or_else(|| key.value_in_force(&mut settings)))
            })
            .collect()
    }

    /// The port of the second listener, which serves everything but pulls.
    #[must_use]
    pub fn vip_port(&self) -> u16 {
        self.listen_port - 2
    }
}

/// What a file is read into; the table's rows point at its fields.
pub(crate) struct Settings {
    pub(crate) broker: BrokerConfig,
    pub(crate) store: StoreConfig,
}

#[cfg(test)]
mod tests;
