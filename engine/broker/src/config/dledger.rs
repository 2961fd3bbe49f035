//! The keys of DLedger mode: which group, and which of its members.

use std::path::PathBuf;

use mq_dledger_node::{PeerConfig, parse_peers};
use mq_protocol::properties_file::{PropertiesFile, PropertyEntry};
use mq_store::config::{BrokerRole, DLedgerConfig};

use crate::config::Settings;
use crate::config::finding::{ConfigFinding, ConfigFindingKind, Severity};
use crate::config::rules::enabled;

const PEERS_ALLOWED: &str = "n0-host:port;n1-host:port;n2-host:port, the same on every member";
const SELF_ID_ALLOWED: &str = "one of the ids in dLegerPeers";
const JAVA_PEERS_ALLOWED: &str = "ids of other members in dLegerPeers, split by ;";

/// Puts the broker into DLedger mode if the file asks for it.
pub(super) fn check(file: &PropertiesFile, settings: &mut Settings) -> Vec<ConfigFinding> {
    let Some(entry) = enabled(file, "enableDLegerCommitLog") else { return unread(file) };
    match member(file, entry) {
        Ok((dledger, number)) => {
            let mut findings = Vec::new();
            if dledger.group != settings.broker.broker_name {
                findings.extend(other_group(file, &settings.broker.broker_name));
            }
            settings.store.dledger = Some(dledger);
            // The group elects who is master; `brokerRole` and `brokerId` are not read.
            settings.store.broker_role = BrokerRole::Slave;
            // As 4.9 numbers those that follow: n0 is 1.
            settings.broker.broker_id = number + 1;
            findings
        }
        Err(finding) => vec![*finding],
    }
}

/// The group and this member of it, with the number in its id.
fn member(
    file: &PropertiesFile,
    enabled: &PropertyEntry,
) -> Result<(DLedgerConfig, u64), Box<ConfigFinding>> {
    let required = |key: &str, allowed: &str| {
        let entry = file.get(key).filter(|entry| !entry.value.trim().is_empty());
        let missing = || error(enabled, format!("enableDLegerCommitLog needs {key}"), allowed);
        entry.ok_or_else(missing)
    };
    let group = required("dLegerGroup", "the brokerName")?;
    let peers = required("dLegerPeers", PEERS_ALLOWED)?;
    let self_id = required("dLegerSelfId", SELF_ID_ALLOWED)?;
    let members = parse_peers(&peers.value)
        .map_err(|refused| error(peers, refused.to_string(), PEERS_ALLOWED))?;
    let id = self_id.value.trim();
    if !members.iter().any(|peer| peer.id == id) {
        let text = format!("dLegerSelfId={id} is not among the dLegerPeers");
        return Err(error(self_id, text, SELF_ID_ALLOWED));
    }
    let number = id.get(1..).and_then(|digits| digits.parse().ok());
    let number = number.filter(|number| *number < u64::from(u32::MAX));
    let too_large = || {
        let text = format!("dLegerSelfId={id}: its number does not make a brokerId");
        error(self_id, text, "n0, n1, n2")
    };
    let number = number.ok_or_else(too_large)?;
    let store_path = file.get("storePathDLedgerCommitLog").map(|entry| entry.value.trim());
    let store_path = store_path.filter(|path| !path.is_empty()).map(PathBuf::from);
    let dledger = DLedgerConfig {
        group: group.value.trim().to_owned(),
        peers: peers.value.trim().to_owned(),
        self_id: id.to_owned(),
        preferred_leader_ids: preferred(file, &members)?,
        java_peers: java_peers(file, &members, id)?,
        store_path,
    };
    Ok((dledger, number))
}

/// Who should lead, if somebody should.
fn preferred(
    file: &PropertiesFile,
    members: &[PeerConfig],
) -> Result<Vec<String>, Box<ConfigFinding>> {
    let Some(entry) = file.get("preferredLeaderId") else { return Ok(Vec::new()) };
    let ids = split(&entry.value);
    match ids.iter().find(|id| !members.iter().any(|peer| peer.id == **id)) {
        None => Ok(ids),
        Some(unknown) => {
            let text = format!("preferredLeaderId={unknown} is not among the dLegerPeers");
            Err(error(entry, text, SELF_ID_ALLOWED))
        }
    }
}

/// Which of the others are brokers of Apache RocketMQ.
fn java_peers(
    file: &PropertiesFile,
    members: &[PeerConfig],
    self_id: &str,
) -> Result<Vec<String>, Box<ConfigFinding>> {
    let Some(entry) = file.get("dLegerJavaPeers") else { return Ok(Vec::new()) };
    let ids = split(&entry.value);
    let is_other = |id: &String| id != self_id && members.iter().any(|peer| peer.id == *id);
    match ids.iter().find(|id| !is_other(id)) {
        None => Ok(ids),
        Some(id) if id == self_id => {
            let text = format!("dLegerJavaPeers={id} is this broker, which is not Apache's");
            Err(error(entry, text, JAVA_PEERS_ALLOWED))
        }
        Some(unknown) => {
            let text = format!("dLegerJavaPeers={unknown} is not among the dLegerPeers");
            Err(error(entry, text, JAVA_PEERS_ALLOWED))
        }
    }
}

fn error(entry: &PropertyEntry, text: String, allowed: &str) -> Box<ConfigFinding> {
    let kind = ConfigFindingKind::DLedger;
    Box::new(ConfigFinding::new(Severity::Error, kind, entry, text).allowed(allowed))
}

fn split(ids: &str) -> Vec<String> {
    ids.split(';').map(str::trim).filter(|id| !id.is_empty()).map(str::to_owned).collect()
}

/// 4.9's name servers and tools know the group by its brokerName.
fn other_group(file: &PropertiesFile, broker_name: &str) -> Option<ConfigFinding> {
    let entry = file.get("dLegerGroup")?;
    let text = format!("dLegerGroup is not the brokerName, {broker_name}");
    Some(ConfigFinding::new(Severity::Note, ConfigFindingKind::DLedger, entry, text))
}

/// Without DLedger mode nobody reads them.
fn unread(file: &PropertiesFile) -> Vec<ConfigFinding> {
    [
        "dLegerGroup",
        "dLegerPeers",
        "dLegerSelfId",
        "preferredLeaderId",
        "storePathDLedgerCommitLog",
        "dLegerJavaPeers",
    ]
    .into_iter()
    .filter_map(|key| file.get(key))
    .map(|entry| {
        let text = format!("{} is read only with enableDLegerCommitLog=true", entry.key);
        ConfigFinding::new(Severity::Warning, ConfigFindingKind::UnreadKey, entry, text)
    })
    .collect()
}
