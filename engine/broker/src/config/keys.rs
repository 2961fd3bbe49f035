//! The table of keys: every setter of the four configuration classes of RocketMQ 4.9.8, what
//! operators write besides, and what is this engine's own.

mod broker;
mod limits;
mod message_store;
mod netty;

use crate::config::key::KeyStatus::{Accepted, Ignored, Judged, Obeyed, Protects};
use crate::config::key::ValueType::{Bool, Int, Long, Text};
use crate::config::key::{ConfigKey, Field, Instead, KeyStatus, ValueType};

const INT_MAX: i64 = i32::MAX as i64;
const ANY_INT: ValueType = Int(i32::MIN as i64, INT_MAX);
const ANY_LONG: ValueType = Long(i64::MIN, i64::MAX);
const COUNT: ValueType = Int(0, INT_MAX);
const SIZE: ValueType = Int(1, INT_MAX);
const PERCENT: ValueType = Int(1, 100);
const LONG_SIZE: ValueType = Long(1, i64::MAX);
const LONG_COUNT: ValueType = Long(0, i64::MAX);
const UNREAD: KeyStatus = Ignored(Instead::Text("has a setter, but no code of 4.9 reads it"));

/// What a key of any name that begins with `tls` asks for. Of these `mqbroker` has taken out what it knows (`mq-tls`).
pub(crate) const TLS: &str =
    "asks for encrypted connections, which are not made here: everything would travel in the clear";
const PLUG_IN: &str =
    "names a plug-in, which is not loaded: what it does with messages would not be done";
const READ_ONLY_PATHS: &str = "names directories of CommitLog files, which are not read: their messages \
                               would not be served";
const REPLICAS: &str = "asks for a number of replicas that RocketMQ 4.9 does not know: SYNC_MASTER waits \
                        for one";
const AUTH: &str = "asks for the access control of RocketMQ 5, which is not there: every client could \
                    read, write and administer everything";

/// What RocketMQ 5 promises by its keys and 4.9 would pass over without a word.
static PROMISED_BY_5: [ConfigKey; 5] = [
    row("inSyncReplicas", Text, "1", Protects(REPLICAS)),
    row("minInSyncReplicas", Text, "1", Protects(REPLICAS)),
    row("allAckInSyncStateSet", Text, "false", Protects(REPLICAS)),
    row("authenticationEnabled", Text, "false", Protects(AUTH)),
    row("authorizationEnabled", Text, "false", Protects(AUTH)),
];

/// Keys of no configuration class that the start-up code of 4.9 reads.
static STARTUP: [ConfigKey; 2] = [
    row("rmqAddressServerDomain", Text, "jmenv.tbsite.net", Accepted),
    row("rmqAddressServerSubGroup", Text, "nsaddr", Accepted),
];

/// Keys that 4.9 does not read although they are found in many files.
static UNREAD_KEYS: [ConfigKey; 8] = [
    renamed("mapedFileSizeCommitLog", "mappedFileSizeCommitLog"),
    renamed("mapedFileSizeConsumeQueue", "mappedFileSizeConsumeQueue"),
    store_path("storePathConsumeQueue", "consumequeue"),
    store_path("storePathIndex", "index"),
    store_path("storeCheckpoint", "checkpoint"),
    store_path("abortFile", "abort"),
    row(
        "checkTransactionMessageEnable",
        Text,
        "",
        Ignored(Instead::Text("is not read; a master checks half messages, a slave does not")),
    ),
    row(
        "isEnableBatchPush",
        Text,
        "",
        Ignored(Instead::Text("is not read, although 4.9 writes it; enableBatchPush is")),
    ),
];

/// What 4.9 reads from system properties (`-Drocketmq.broker.diskSpaceWarningLevelRatio=0.90`), 5.x
/// from the file, in percent; and this engine's own keys.
static OURS: [ConfigKey; 8] = [
    row(
        "diskSpaceWarningLevelRatio",
        PERCENT,
        "90",
        Obeyed(Field::U64(|s| &mut s.store.disk_space_warning_level_ratio)),
    ),
    row(
        "diskSpaceCleanForciblyRatio",
        PERCENT,
        "85",
        Obeyed(Field::U64(|s| &mut s.store.disk_space_clean_forcibly_ratio)),
    ),
    row(
        "rocketmq.acl.plain.file",
        Text,
        "conf/plain_acl.yml",
        Obeyed(Field::Path(|s| &mut s.broker.acl_plain_file)),
    ),
    row(
        "haMaxDivergedBytes",
        LONG_COUNT,
        "<max(mappedFileSizeCommitLog, 67108864)>",
        Obeyed(Field::OptionalU64(|s| &mut s.store.ha_max_diverged_bytes)),
    ),
    row(
        "deadLetterReservedTime",
        COUNT,
        "72",
        Obeyed(Field::U64(|s| &mut s.store.dead_letter_reserved_time_hours)),
    ),
    row("dLegerJavaPeers", Text, "", Judged),
    row(
        "metricsListenPort",
        Int(0, u16::MAX as i64),
        "0",
        Obeyed(Field::U16(|s| &mut s.broker.metrics_listen_port)),
    ),
    row(
        "beginWithEmptyTables",
        Bool,
        "false",
        Obeyed(Field::Bool(|s| &mut s.store.begin_with_empty_tables)),
    ),
];

/// What 4.9 marks as important: `mqbroker -m` shows these.
pub(crate) static IMPORTANT: [&str; 20] = [
    "namesrvAddr",
    "brokerIP1",
    "brokerIP2",
    "brokerName",
    "brokerClusterName",
    "brokerId",
    "autoCreateTopicEnable",
    "autoCreateSubscriptionGroup",
    "rejectTransactionMessage",
    "fetchNamesrvAddrByAddressServer",
    "transactionTimeOut",
    "transactionCheckMax",
    "transactionCheckInterval",
    "aclEnable",
    "listenPort",
    "storePathRootDir",
    "storePathCommitLog",
    "brokerRole",
    "flushDiskType",
    "fileReservedTime",
];

/// Every row of the table.
pub(crate) fn all() -> impl Iterator<Item = &'static ConfigKey> {
    obeyed_by_someone().chain(&UNREAD_KEYS).chain(&PROMISED_BY_5)
}

/// The rows whose keys have a meaning: what a misspelt key may have meant.
pub(crate) fn obeyed_by_someone() -> impl Iterator<Item = &'static ConfigKey> {
    broker::BROKER
        .iter()
        .chain(&netty::NETTY_SERVER)
        .chain(&netty::SERVER_LIMITS)
        .chain(&netty::NETTY_CLIENT)
        .chain(&message_store::MESSAGE_STORE)
        .chain(&STARTUP)
        .chain(&OURS)
        .chain(&limits::LIMITS)
}

/// The row of a key.
pub(crate) fn find(name: &str) -> Option<&'static ConfigKey> {
    all().find(|key| key.name == name)
}

const fn row(
    name: &'static str,
    value_type: ValueType,
    default: &'static str,
    status: KeyStatus,
) -> ConfigKey {
    ConfigKey { name, value_type, default, status }
}

const fn renamed(name: &'static str, now: &'static str) -> ConfigKey {
    row(name, Text, "", Ignored(Instead::Renamed(now)))
}

const fn store_path(name: &'static str, under_root: &'static str) -> ConfigKey {
    row(name, Text, "", Ignored(Instead::StorePath(under_root)))
}
