//! Rules over several keys of one file, and what happens instead of obeying a key.

use std::path::PathBuf;

use mq_protocol::properties_file::{PropertiesFile, PropertyEntry, as_written};
use mq_store::config::{BrokerRole, FlushDiskType};

use crate::config::finding::{ConfigFinding, ConfigFindingKind, Severity};
use crate::config::key::{Instead, KeyStatus};
use crate::config::{Settings, dledger, keys};

/// Checks a file whose values are in `settings`.
pub(super) fn check(
    file: &PropertiesFile,
    settings: &mut Settings,
    findings: &mut Vec<ConfigFinding>,
) {
    findings.extend(overridden_lines(file));
    for entry in file.entries() {
        if let Some(KeyStatus::Ignored(instead)) = keys::find(&entry.key).map(|key| key.status) {
            findings.push(ignored(entry, instead, settings));
        }
    }
    findings.extend(ha_listen_port(file, settings));
    findings.extend(transient_pool(file, settings));
    findings.extend(permission(file, settings));
    findings.extend(dledger::check(file, settings));
    // Without access control nothing is read there.
    let home = file.get("rocketmqHome").map(|entry| entry.value.trim_end());
    settings.broker.rocketmq_home = home.filter(|it| !it.is_empty()).map(PathBuf::from);
    let is_dledger = enabled(file, "enableDLegerCommitLog").is_some();
    if !is_dledger && !has_error(findings, &["brokerRole", "brokerId"]) {
        findings.extend(role_and_id(file, settings));
    }
}

fn has_error(findings: &[ConfigFinding], keys: &[&str]) -> bool {
    findings
        .iter()
        .any(|finding| finding.severity == Severity::Error && keys.contains(&finding.key.as_str()))
}

fn overridden_lines(file: &PropertiesFile) -> impl Iterator<Item = ConfigFinding> + '_ {
    file.overridden().iter().map(|overridden| {
        let entry = &overridden.entry;
        let key = as_written(&entry.key);
        let text = format!("{key} is written again on line {}, which wins", overridden.by_line);
        ConfigFinding::new(Severity::Warning, ConfigFindingKind::OverriddenLine, entry, text)
    })
}

/// What happens instead of obeying `entry`.
fn ignored(entry: &PropertyEntry, instead: Instead, settings: &mut Settings) -> ConfigFinding {
    let name = &entry.key;
    match instead {
        Instead::Renamed(now) => {
            let key = keys::find(now).expect("the table has the key of today");
            let in_force = key.value_in_force(settings);
            let default = if in_force == key.default { " (default)" } else { "" };
            let text =
                format!("{name} is not read since 4.5; {now}={in_force}{default} is in force");
            ConfigFinding::new(Severity::Warning, ConfigFindingKind::RenamedKey, entry, text)
                .suggestion(Some(now))
        }
        Instead::StorePath(under_root) => {
            let used = settings.store.store_path_root_dir.join(under_root);
            let same =
                if used.as_os_str() == entry.value.trim_end() { ", the same path" } else { "" };
            let text = format!("{name} is not read; {} is used{same}", used.display());
            ConfigFinding::new(Severity::Warning, ConfigFindingKind::UnreadKey, entry, text)
        }
        Instead::Text(text) => {
            let text = format!("{name} {text}");
            ConfigFinding::new(Severity::Warning, ConfigFindingKind::UnreadKey, entry, text)
        }
    }
}

fn ha_listen_port(file: &PropertiesFile, settings: &Settings) -> Option<ConfigFinding> {
    let entry = file.get("haListenPort")?;
    let port = settings.store.ha_listen_port;
    let text = format!("haListenPort is overwritten; HA listens on listenPort + 1 = {port}");
    Some(ConfigFinding::new(Severity::Warning, ConfigFindingKind::UnreadKey, entry, text))
}

/// What the pool costs, or why it costs nothing.
fn transient_pool(file: &PropertiesFile, settings: &Settings) -> Option<ConfigFinding> {
    let entry = enabled(file, "transientStorePoolEnable")?;
    let store = &settings.store;
    let finding = |severity, text: String| {
        ConfigFinding::new(severity, ConfigFindingKind::TransientPool, entry, text)
    };
    let warning = |text: String| finding(Severity::Warning, text);
    Some(match (store.flush_disk_type, store.broker_role, store.transient_store_pool_size) {
        (FlushDiskType::SyncFlush, ..) => warning(
            "transientStorePoolEnable has no effect under flushDiskType=SYNC_FLUSH".to_owned(),
        ),
        (_, BrokerRole::Slave, _) => {
            warning("transientStorePoolEnable has no effect under brokerRole=SLAVE".to_owned())
        }
        (.., size @ 0..=1) => warning(format!(
            "transientStorePoolSize={size}: the CommitLog file being written takes every buffer, and \
             all sends are answered SYSTEM_BUSY"
        ))
        .upstream("do so with 2 as well, because it makes files ahead with a buffer each"),
        (_, BrokerRole::SyncMaster, _) => finding(
            Severity::Note,
            format!(
                "transientStorePoolEnable: messages wait up to {} ms for their commit before slaves \
                 get them and sends are answered",
                store.uncommitted_ms_max()
            ),
        ),
        (_, BrokerRole::AsyncMaster, _) => warning(format!(
            "transientStorePoolEnable: messages are acknowledged up to {} ms before they leave the \
             process; if it is killed, they are lost",
            store.uncommitted_ms_max()
        )),
    })
}

/// Whom `brokerPermission` keeps out.
fn permission(file: &PropertiesFile, settings: &Settings) -> Option<ConfigFinding> {
    let entry = file.get("brokerPermission")?;
    let broker = &settings.broker;
    let kept_from = broker.keeps_clients_from()?;
    let text =
        format!("brokerPermission={}: no client may {kept_from} here", broker.broker_permission);
    let kind = ConfigFindingKind::KeptOut;
    Some(ConfigFinding::new(Severity::Warning, kind, entry, text).allowed("6 for both"))
}

pub(super) fn enabled<'a>(file: &'a PropertiesFile, key: &str) -> Option<&'a PropertyEntry> {
    file.get(key).filter(|entry| entry.value.trim_end().eq_ignore_ascii_case("true"))
}

/// A SLAVE has an id from 1, a master has id 0.
fn role_and_id(file: &PropertiesFile, settings: &Settings) -> Option<ConfigFinding> {
    let (role, id) = (settings.store.broker_role, settings.broker.broker_id);
    let is_slave = role == BrokerRole::Slave;
    if is_slave == (id > 0) {
        return None;
    }
    let entry = file.get("brokerId").or_else(|| file.get("brokerRole"))?;
    let default = |key: &str| if file.get(key).is_some() { "" } else { " (default)" };
    let text = format!(
        "brokerId = {id}{} contradicts brokerRole = {}{}",
        default("brokerId"),
        role.name(),
        default("brokerRole"),
    );
    let upstream = if is_slave {
        "print it and exit with status -3"
    } else {
        "overwrite brokerId with 0 and run as one more master"
    };
    Some(
        ConfigFinding::new(Severity::Error, ConfigFindingKind::RoleAndId, entry, text)
            .allowed("0 with ASYNC_MASTER and SYNC_MASTER, from 1 with SLAVE")
            .upstream(upstream),
    )
}
