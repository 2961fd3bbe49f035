//! Tests of the table and of reading one file.

use std::collections::BTreeSet;

use mq_protocol::properties_file::PropertyEntry;
use mq_store::config::{BrokerRole, FlushDiskType};

use super::key::{KeyStatus, ValueType};
use super::*;

fn local() -> LocalDefaults {
    LocalDefaults {
        host_name: "host-1".to_owned(),
        home_dir: PathBuf::from("/home/mq"),
        total_memory_bytes: 8 << 30,
    }
}

fn defaults() -> Settings {
    Settings { broker: BrokerConfig::new("host-1"), store: StoreConfig::at("/home/mq/store") }
}

fn shown(settings: &Settings) -> String {
    format!("{:?}\n{:?}", settings.broker, settings.store)
}

fn parse(text: &str) -> (BrokerConfig, StoreConfig, Vec<ConfigFinding>) {
    let file = PropertiesFile::parse(text.as_bytes()).expect("readable");
    BrokerConfig::parse(&file, &local())
}

/// Parses `text` and compares its findings, one line each, blanks at the line starts dropped.
#[track_caller]
fn check(text: &str, expected: &str) {
    let (_, _, findings) = parse(text);
    let found: Vec<String> = findings
        .iter()
        .map(|finding| {
            let mut line = format!("{}:{} {}", finding.severity, finding.line, finding.text);
            if let Some(allowed) = &finding.allowed {
                line += &format!(" | allowed: {allowed}");
            }
            if let Some(suggestion) = &finding.suggestion {
                line += &format!(" | meant: {suggestion}");
            }
            if let Some(upstream) = &finding.upstream {
                line += &format!(" | 4.9 would {upstream}");
            }
            line
        })
        .collect();
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    assert_eq!(found, expected, "{text}");
}

#[test]
fn the_table_has_every_setter_of_the_four_classes_once() {
    let names: BTreeSet<&str> = keys::all().map(|key| key.name).collect();
    assert_eq!(names.len(), keys::all().count(), "a key occurs twice");
    let of_4_9 = 81 + 14 + 14 + 78 - 2; // the netty classes share two keys
    assert_eq!(names.len(), of_4_9 + 2 + 8 + 8 + 16 + 8 + 5);
}

#[test]
fn defaults_of_the_table_are_the_defaults_of_the_structs() {
    for key in keys::all().filter(|key| !key.default.starts_with('<') && !key.default.is_empty()) {
        let (mut settings, mut findings) = (defaults(), Vec::new());
        let entry =
            PropertyEntry { key: key.name.to_owned(), value: key.default.to_owned(), line: 1 };
        parse::apply(&entry, &mut settings, &mut findings);
        assert_eq!(findings, [], "{}", key.name);
        assert_eq!(shown(&settings), shown(&defaults()), "{}", key.name);
    }
}

#[test]
fn every_obeyed_key_takes_its_bounds_and_changes_its_field() {
    for key in keys::all() {
        let KeyStatus::Obeyed(_) = key.status else { continue };
        let values = match key.value_type {
            ValueType::Int(min, max)
            | ValueType::ClampedInt(min, max)
            | ValueType::Long(min, max) => vec![min.to_string(), max.to_string()],
            ValueType::Bool => vec!["true".to_owned(), "FALSE".to_owned()],
            ValueType::Role => vec!["SLAVE".to_owned()],
            ValueType::Flush => vec!["SYNC_FLUSH".to_owned()],
            ValueType::Addresses => vec!["ns:1;10.0.0.1:65535".to_owned()],
            ValueType::Hours => vec!["00;23".to_owned()],
            ValueType::DelayLevels => vec!["1s 2d".to_owned()],
            ValueType::Text | ValueType::Directory => vec!["/other".to_owned()],
        };
        let mut changed = false;
        for value in values {
            let (mut settings, mut findings) = (defaults(), Vec::new());
            let entry = PropertyEntry { key: key.name.to_owned(), value, line: 1 };
            parse::apply(&entry, &mut settings, &mut findings);
            assert_eq!(findings, [], "{}", key.name);
            changed |= shown(&settings) != shown(&defaults());
        }
        assert!(changed, "{} reaches no field", key.name);
    }
}

#[test]
fn a_file_fills_both_configurations() {
    let (broker, store, findings) = parse(
        "brokerClusterName=c\nbrokerName=broker-a\nbrokerId=2\nlistenPort=11011\n\
         namesrvAddr=ns1:9876;10.0.0.2:9876;\nbrokerRole=SLAVE\nflushDiskType=SYNC_FLUSH\n\
         storePathRootDir=/data/a\nfileReservedTime=120\nhaMaxDivergedBytes=4096\n",
    );
    assert_eq!(findings, []);
    assert_eq!(
        (broker.broker_cluster_name.as_str(), broker.broker_name.as_str()),
        ("c", "broker-a")
    );
    assert_eq!((broker.broker_id, broker.listen_port, broker.vip_port()), (2, 11_011, 11_009));
    assert_eq!(broker.namesrv_addrs, ["ns1:9876", "10.0.0.2:9876"]);
    assert_eq!(
        (store.broker_role, store.flush_disk_type, store.ha_listen_port),
        (BrokerRole::Slave, FlushDiskType::SyncFlush, 11_012)
    );
    assert_eq!(store.commit_log_dir(), PathBuf::from("/data/a/commitlog"));
    assert_eq!((store.file_reserved_time_hours, store.ha_max_diverged_bytes), (120, Some(4096)));
}

#[test]
fn an_empty_file_gives_what_the_machine_says() {
    let (broker, store, findings) = parse("");
    assert_eq!(findings, []);
    assert_eq!((broker.broker_name.as_str(), broker.listen_port), ("host-1", 10_911));
    assert_eq!(store.store_path_root_dir, PathBuf::from("/home/mq/store"));
    assert_eq!((store.ha_listen_port, store.total_memory_bytes), (10_912, 8 << 30));
}

#[test]
fn unknown_keys() {
    check(
        "brokerRoles=SYNC_MASTER\nflushdisktype=SYNC_FLUSH\nmyOwnKey=1",
        "warning:1 brokerRoles is no key of RocketMQ 4.9 | meant: brokerRole | 4.9 would ignore this line
         warning:2 flushdisktype is no key of RocketMQ 4.9 | meant: flushDiskType | 4.9 would ignore this line
         warning:3 myOwnKey is no key of RocketMQ 4.9 | 4.9 would ignore this line",
    );
}

#[test]
fn keys_that_upstream_does_not_read() {
    check(
        "mapedFileSizeCommitLog=1073741824\nmapedFileSizeConsumeQueue=300000\n\
         mappedFileSizeConsumeQueue=600000\nstorePathRootDir=/data\n\
         storePathConsumeQueue=/data/consumequeue\nstorePathIndex=/fast/index\n\
         storeCheckpoint=/data/checkpoint\nabortFile=/data/abort\nhaListenPort=20000\n\
         listenPort=11011\nmaxDelayTime=1\ndLegerGroup=broker-a",
        "warning:1 mapedFileSizeCommitLog is not read since 4.5; mappedFileSizeCommitLog=1073741824 (default) is in force | meant: mappedFileSizeCommitLog
         warning:2 mapedFileSizeConsumeQueue is not read since 4.5; mappedFileSizeConsumeQueue=600000 is in force | meant: mappedFileSizeConsumeQueue
         warning:5 storePathConsumeQueue is not read; /data/consumequeue is used, the same path
         warning:6 storePathIndex is not read; /data/index is used
         warning:7 storeCheckpoint is not read; /data/checkpoint is used, the same path
         warning:8 abortFile is not read; /data/abort is used, the same path
         warning:9 haListenPort is overwritten; HA listens on listenPort + 1 = 11012
         warning:11 maxDelayTime has a setter, but no code of 4.9 reads it
         warning:12 dLegerGroup is read only with enableDLegerCommitLog=true",
    );
}

#[test]
fn values_that_do_not_parse() {
    check(
        "brokerRole=SYNCMASTER\nflushDiskType=sync_flush\nlistenPort=10 911\nbrokerId=one\n\
         autoCreateTopicEnable=yes\nmaxMessageSize=4294967296\nsendMessageThreadPoolNums=many\n\
         listenPort=10 912\ndeleteWhen=04;24\nmessageDelayLevel=1s 5x\nnamesrvAddr=ns1;ns2:9876",
        "error:1 brokerRole = \"SYNCMASTER\" is no role | allowed: ASYNC_MASTER, SYNC_MASTER, SLAVE | meant: SYNC_MASTER | 4.9 would ignore this line and run as ASYNC_MASTER
         error:2 flushDiskType = \"sync_flush\" is no flush disk type | allowed: SYNC_FLUSH, ASYNC_FLUSH | meant: SYNC_FLUSH | 4.9 would ignore this line and run as ASYNC_FLUSH
         warning:3 listenPort is written again on line 8, which wins
         error:4 brokerId = \"one\" is no whole number | allowed: a whole number from 0 to 9223372036854775807 | 4.9 would ignore this line and keep 0
         error:5 autoCreateTopicEnable = \"yes\" is neither true nor false | allowed: true, false | 4.9 would read it as false
         error:6 maxMessageSize = \"4294967296\" does not fit into 32 bits | allowed: a whole number from 0 to 2147483647 | 4.9 would ignore this line and keep 4194304
         error:7 sendMessageThreadPoolNums = \"many\" is no whole number | allowed: a whole number from -2147483648 to 2147483647 | 4.9 would ignore this line and keep <min(processors, 4)>
         error:8 listenPort = \"10 912\" is no whole number | allowed: a whole number from 3 to 65534 | 4.9 would ignore this line and keep 10911
         error:9 deleteWhen = \"04;24\" is no list of hours | allowed: hours from 00 to 23, several split by ; | 4.9 would find no such hour, or fail at every look for expired files
         error:10 messageDelayLevel = \"1s 5x\" is no list of delays | allowed: durations such as 1s 5m 2h 1d, split by one blank | 4.9 would not start
         error:11 namesrvAddr = \"ns1;ns2:9876\" is no list of addresses | allowed: host:port, several split by ; | 4.9 would exit with status -3, or never find that host",
    );
}

#[test]
fn lists_have_no_blanks_inside() {
    let (broker, store, findings) = parse("namesrvAddr=ns1:9876; ns2:9876\ndeleteWhen=04; 05");
    let errors: Vec<&str> = findings.iter().map(|finding| finding.key.as_str()).collect();
    assert_eq!(errors, ["namesrvAddr", "deleteWhen"]);
    assert_eq!((broker.namesrv_addrs.len(), store.delete_when.as_str()), (0, "04"));
}

#[test]
fn values_out_of_range() {
    check(
        "listenPort=65535\nmappedFileSizeCommitLog=0\ndiskMaxUsedSpaceRatio=98\n\
         registerNameServerPeriod=100\nstorePathCommitLog=/a,/b",
        "error:1 listenPort = \"65535\" is out of range | allowed: a whole number from 3 to 65534
         error:2 mappedFileSizeCommitLog = \"0\" is out of range | allowed: a whole number from 1 to 2147483647
         warning:3 diskMaxUsedSpaceRatio = 98 is out of range; 95 is used | allowed: 10 to 95
         warning:4 registerNameServerPeriod = 100 is out of range; 10000 is used | allowed: 10000 to 60000
         error:5 storePathCommitLog = \"/a,/b\" lists several directories, which is not supported yet | allowed: one directory",
    );
}

#[test]
fn blanks_at_the_end_are_dropped_and_reported() {
    let text = "flushDiskType=SYNC_FLUSH \nbrokerName=a \nmaxMessageSize=1024\t\ntraceOn=true \n";
    check(
        text,
        "warning:1 flushDiskType = \"SYNC_FLUSH \" ends in a blank, which is dropped here | 4.9 would ignore this line and run as ASYNC_FLUSH
         warning:2 brokerName = \"a \" ends in a blank, which is dropped here | 4.9 would keep the blank as part of it
         warning:3 maxMessageSize = \"1024\\t\" ends in a blank, which is dropped here | 4.9 would ignore this line and keep 4194304
         warning:4 traceOn = \"true \" ends in a blank, which is dropped here | 4.9 would read it as false",
    );
    let (broker, store, _) = parse(text);
    assert_eq!((broker.broker_name.as_str(), broker.trace_on), ("a", true));
    assert_eq!((store.flush_disk_type, store.max_message_size), (FlushDiskType::SyncFlush, 1024));
}

#[test]
fn values_without_text() {
    check(
        "brokerIP1=\nbrokerId=",
        "warning:1 brokerIP1 has no value; the line is not used | 4.9 would take the empty text for it
         error:2 brokerId = \"\" is no whole number | allowed: a whole number from 0 to 9223372036854775807 | 4.9 would ignore this line and keep 0",
    );
}

#[test]
fn role_and_id_agree() {
    check(
        "brokerRole=SLAVE\nbrokerId=0",
        "error:2 brokerId = 0 contradicts brokerRole = SLAVE | allowed: 0 with ASYNC_MASTER and SYNC_MASTER, from 1 with SLAVE | 4.9 would print it and exit with status -3",
    );
    check(
        "brokerName=a\nbrokerRole=SLAVE",
        "error:2 brokerId = 0 (default) contradicts brokerRole = SLAVE | allowed: 0 with ASYNC_MASTER and SYNC_MASTER, from 1 with SLAVE | 4.9 would print it and exit with status -3",
    );
    check(
        "brokerId=1",
        "error:1 brokerId = 1 contradicts brokerRole = ASYNC_MASTER (default) | allowed: 0 with ASYNC_MASTER and SYNC_MASTER, from 1 with SLAVE | 4.9 would overwrite brokerId with 0 and run as one more master",
    );
    check("brokerId=1\nbrokerRole=SLAVE", "");
}

#[test]
fn dledger_mode_needs_a_group_and_one_of_its_members() {
    let on = "brokerName=a\nenableDLegerCommitLog=true\ndLegerGroup=a\n";
    let peers = "dLegerPeers=n0-h:40911;n1-h:40912;n2-h:40913\n";
    check(
        "enableDLegerCommitLog=true\nbrokerId=1",
        "error:1 enableDLegerCommitLog needs dLegerGroup | allowed: the brokerName",
    );
    check(
        &format!("{on}dLegerSelfId=n0"),
        "error:2 enableDLegerCommitLog needs dLegerPeers | allowed: n0-host:port;n1-host:port;n2-host:port, the same on every member",
    );
    check(
        &format!("{on}dLegerPeers=n0-h\ndLegerSelfId=n0"),
        "error:4 dLegerPeers: \"n0-h\" has no port; peers are written n0-host:port;n1-host:port | allowed: n0-host:port;n1-host:port;n2-host:port, the same on every member",
    );
    check(
        &format!("{on}{peers}dLegerSelfId=n3"),
        "error:5 dLegerSelfId=n3 is not among the dLegerPeers | allowed: one of the ids in dLegerPeers",
    );
    check(
        &format!("{on}{peers}dLegerSelfId=n1\npreferredLeaderId=n0;n7"),
        "error:6 preferredLeaderId=n7 is not among the dLegerPeers | allowed: one of the ids in dLegerPeers",
    );
    check(&format!("{on}{peers}dLegerSelfId=n1\npreferredLeaderId=n0;n2\nbrokerRole=SLAVE"), "");
    for (ids, what) in [
        ("n0;n7", "n7 is not among the dLegerPeers"),
        ("n1", "n1 is this broker, which is not Apache's"),
    ] {
        check(
            &format!("{on}{peers}dLegerSelfId=n1\ndLegerJavaPeers={ids}"),
            &format!(
                "error:6 dLegerJavaPeers={what} | allowed: ids of other members in dLegerPeers, split by ;"
            ),
        );
    }
    check("enableDLegerCommitLog=false", "");
    let text = format!("{on}{peers}dLegerSelfId=n1\ndLegerJavaPeers=n2; n0");
    let file = PropertiesFile::parse(text.as_bytes()).unwrap();
    let (broker, store, _) = BrokerConfig::parse(&file, &local());
    let dledger = store.dledger.unwrap();
    assert_eq!((&*dledger.group, &*dledger.self_id, broker.broker_id), ("a", "n1", 2));
    assert_eq!(dledger.java_peers, ["n2", "n0"]);
    assert_eq!(store.broker_role, BrokerRole::Slave, "until the group has elected it");
}

#[test]
fn the_transient_pool() {
    let pool = "transientStorePoolEnable=true\n";
    check(
        &format!("{pool}flushDiskType=SYNC_FLUSH"),
        "warning:1 transientStorePoolEnable has no effect under flushDiskType=SYNC_FLUSH",
    );
    check(
        &format!("{pool}brokerRole=SLAVE\nbrokerId=1"),
        "warning:1 transientStorePoolEnable has no effect under brokerRole=SLAVE",
    );
    check(
        pool,
        "warning:1 transientStorePoolEnable: messages are acknowledged up to 400 ms before they leave the process; if it is killed, they are lost",
    );
    check(
        &format!("{pool}brokerRole=SYNC_MASTER\ncommitCommitLogThoroughInterval=1000"),
        "note:1 transientStorePoolEnable: messages wait up to 1200 ms for their commit before slaves get them and sends are answered",
    );
    check(
        &format!("{pool}transientStorePoolSize=1"),
        "warning:1 transientStorePoolSize=1: the CommitLog file being written takes every buffer, and all sends are answered SYSTEM_BUSY | 4.9 would do so with 2 as well, because it makes files ahead with a buffer each",
    );
    check("transientStorePoolEnable=false", "");
}

#[test]
fn keys_without_use_yet_are_noted_unless_they_say_the_default() {
    check(
        "enableLmq=true\nwarmMapedFileEnable=false\nsendMessageThreadPoolNums=4",
        "note:1 enableLmq is accepted; this engine does not use it yet
         note:3 sendMessageThreadPoolNums is accepted; this engine does not use it yet",
    );
}

#[test]
fn protections_that_are_not_there_are_told_from_keys_without_use() {
    let text = "autoCreateTopicEnable=true\nuseTLS=true\ntls.server.mode=enforcing\ninSyncReplicas=2\n\
                authenticationEnabled=true\nmessageStorePlugIn=com.example.Encrypting";
    let file = PropertiesFile::parse(text.as_bytes()).expect("readable");
    let (_, _, findings) = BrokerConfig::parse(&file, &local());
    let told: Vec<(usize, Severity)> = findings
        .iter()
        .filter(|finding| finding.kind == ConfigFindingKind::NotProtected)
        .map(|finding| (finding.line, finding.severity))
        .collect();
    assert_eq!(told, [2, 3, 4, 5, 6].map(|line| (line, Severity::Warning)));
    check("aclEnable=False\nuseTLS=false\ninSyncReplicas=1", "");
}

#[test]
fn access_control_is_obeyed() {
    let read = |text: &str| {
        let file = PropertiesFile::parse(text.as_bytes()).expect("readable");
        let (config, _, findings) = BrokerConfig::parse(&file, &local());
        assert!(findings.is_empty(), "{findings:?}");
        let BrokerConfig { acl_enable, rocketmq_home, acl_plain_file, .. } = config;
        (acl_enable, rocketmq_home, acl_plain_file)
    };
    assert_eq!(read("aclEnable=False"), (false, None, "conf/plain_acl.yml".into()));
    let text = "aclEnable=True\nrocketmqHome=/opt/mq\nrocketmq.acl.plain.file=conf/other.yml";
    assert_eq!(read(text), (true, Some("/opt/mq".into()), "conf/other.yml".into()));
}

#[test]
fn all_values_or_the_important_ones_can_be_shown() {
    let file =
        PropertiesFile::parse(b"brokerName=b\nsendMessageThreadPoolNums=9\n").expect("readable");
    let (broker, store, _) = BrokerConfig::parse(&file, &local());
    let all = broker.values_in_force(&store, &file, false);
    for shown in [("brokerName", "b"), ("sendMessageThreadPoolNums", "9"), ("slaveTimeout", "3000")]
    {
        assert!(all.iter().any(|(key, value)| (*key, value.as_str()) == shown), "{shown:?}");
    }
    let important = broker.values_in_force(&store, &file, true);
    assert_eq!(important.len(), keys::IMPORTANT.len());
}

#[test]
fn values_from_outside_come_last() {
    let mut file = PropertiesFile::parse(b"brokerRole=SLAVER\n").expect("readable");
    file.set("flushDiskType", "NEVER");
    let (_, _, findings) = BrokerConfig::parse(&file, &local());
    let lines: Vec<usize> = findings.iter().map(|finding| finding.line).collect();
    assert_eq!(lines, [1, 0]);
}

#[test]
fn nearest_words() {
    let keys = ["brokerRole", "flushDiskType", "flushIntervalCommitLog"];
    assert_eq!(nearest("brokerrole", keys), Some("brokerRole"));
    assert_eq!(nearest("borkerRole", keys), Some("brokerRole"));
    assert_eq!(nearest("flushDisk", keys), Some("flushDiskType"));
    assert_eq!(nearest("flu", keys), None);
    assert_eq!(nearest("listenPort", keys), None);
}

#[test]
fn what_was_to_be_a_comment_is_said_to_belong_to_the_value() {
    check(
        "brokerId=0 # 主\nbrokerName=b # the first\nregionId=a#b\nlistenPort=x # y",
        "error:1 brokerId = \"0 # 主\" is no whole number: # behind a value is part of it, not a comment | allowed: a whole number from 0 to 9223372036854775807 | meant: 0 | 4.9 would ignore this line and keep 0
         warning:2 brokerName = \"b # the first\": # behind a value is part of it, not a comment
         error:4 listenPort = \"x # y\" is no whole number: # behind a value is part of it, not a comment | allowed: a whole number from 3 to 65534 | 4.9 would ignore this line and keep 10911",
    );
}

#[test]
fn placeholders_that_nobody_filled_in_are_named() {
    check(
        "listenPort=${PORT}\nstorePathRootDir=/data/${I}\nrocketmqHome=$HOME/mq\nbrokerName={{ name }}\n\
         brokerIP1=<your address>\nregionId=costs 5$ or less",
        "error:1 listenPort = \"${PORT}\": ${PORT} is a placeholder that nobody filled in | allowed: the value itself | 4.9 would ignore this line and keep 10911
         error:2 storePathRootDir = \"/data/${I}\": ${I} is a placeholder that nobody filled in | allowed: the value itself | 4.9 would take it as it stands
         warning:3 rocketmqHome = \"$HOME/mq\": $HOME is a placeholder that nobody filled in | allowed: the value itself | 4.9 would take it as it stands
         error:4 brokerName = \"{{ name }}\": {{ name }} is a placeholder that nobody filled in | allowed: the value itself | 4.9 would take it as it stands
         error:5 brokerIP1 = \"<your address>\": <your address> is a placeholder that nobody filled in | allowed: the value itself | 4.9 would take it as it stands",
    );
}

#[test]
fn a_byte_order_mark_is_named() {
    check(
        "\u{feff}brokerRole=SLAVE\nlistenPort=10911",
        "warning:1 a byte order mark at the beginning of the file makes this line another key | meant: brokerRole | 4.9 would ignore this line",
    );
}
