//! What an operator may change while the broker runs (25), and what he is told of the rest (RocketMQ 4.9
//! `Configuration.update`).
//!
//! 4.9 writes every key into its beans and its file, whether or not anybody looks again: many changes have no effect before
//! the next start, some (`flushDiskType`, `brokerRole`) half of one, and what is misspelt is answered SUCCESS. Here a
//! change takes effect at once or is refused, all of it, with a sentence.

use mq_protocol::properties_file::{PropertiesFile, PropertyEntry, as_written};
use mq_store::config::StoreConfig;

use crate::config::finding::Severity;
use crate::config::key::KeyStatus;
use crate::config::{BrokerConfig, Settings, keys, parse};

/// The keys that are looked at again whenever they matter.
static LIVE: [&str; 43] = [
    "traceOn",
    "regionId",
    "startAcceptSendRequestTimeStamp",
    "brokerPermission",
    "slaveReadEnable",
    "autoCreateTopicEnable",
    "autoCreateSubscriptionGroup",
    "rejectTransactionMessage",
    "longPollingEnable",
    "shortPollingTimeMills",
    "notifyConsumerIdsChangedEnable",
    "enablePropertyFilter",
    "filterSupportRetry",
    "storeReplyMessageEnable",
    "defaultQueryMaxNum",
    "forceRegister",
    "registerNameServerPeriod",
    "transactionTimeOut",
    "transactionCheckMax",
    "transactionCheckInterval",
    "brokerFastFailureEnable",
    "waitTimeMillsInSendQueue",
    "waitTimeMillsInTransactionQueue",
    "sendThreadPoolQueueCapacity",
    "endTransactionPoolQueueCapacity",
    "maxMessageSize",
    "maxTransferBytesOnMessageInMemory",
    "maxTransferCountOnMessageInMemory",
    "maxTransferBytesOnMessageInDisk",
    "maxTransferCountOnMessageInDisk",
    "accessMessageInMemoryMaxRatio",
    "deleteWhen",
    "fileReservedTime",
    "deadLetterReservedTime",
    "diskMaxUsedSpaceRatio",
    "diskSpaceCleanForciblyRatio",
    "diskSpaceWarningLevelRatio",
    "cleanFileForciblyEnable",
    "cleanResourceInterval",
    "deleteCommitLogFilesInterval",
    "deleteConsumeQueueFilesInterval",
    "destroyMapedFileIntervalForcibly",
    "redeleteHangedFileInterval",
];

/// Never changed from afar, whatever `configBlackList` says (RocketMQ 4.9.8).
const BLACK: [&str; 3] = ["brokerConfigPath", "rocketmqHome", "configBlackList"];

/// Why a change is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChangeRefused {
    /// A key that operators keep to themselves.
    #[error("Can not update config in black list.")]
    BlackList,
    /// A key that cannot change now, or a value that cannot be.
    #[error("{0}; nothing is changed")]
    Key(String),
}

/// Settings that an operator wants from now on.
pub(crate) struct Change {
    pub(crate) broker: BrokerConfig,
    pub(crate) store: StoreConfig,
    /// What is other than before, as it is to be written into the file.
    pub(crate) changed: Vec<(String, String)>,
}

/// The settings in force with what `wanted` says.
///
/// # Errors
/// What cannot be changed; everything stays as it is then.
pub(crate) fn change(
    broker: &BrokerConfig,
    store: &StoreConfig,
    wanted: &PropertiesFile,
) -> Result<Change, ChangeRefused> {
    let black = broker.config_black_list.split(';').map(str::trim);
    let is_black = |key: &str| BLACK.contains(&key) || black.clone().any(|it| it == key);
    if wanted.entries().iter().any(|entry| is_black(&entry.key)) {
        return Err(ChangeRefused::BlackList);
    }
    let mut settings = Settings { broker: broker.clone(), store: store.clone() };
    let mut changed = Vec::new();
    for entry in wanted.entries() {
        if apply(entry, &mut settings).map_err(ChangeRefused::Key)? {
            changed.push((entry.key.clone(), entry.value.trim_end().to_owned()));
        }
    }
    Ok(Change { broker: settings.broker, store: settings.store, changed })
}

/// Applies one entry; whether it changes anything.
fn apply(entry: &PropertyEntry, settings: &mut Settings) -> Result<bool, String> {
    let name = as_written(&entry.key);
    let Some(key) = keys::find(&entry.key) else { return Err(unknown(entry)) };
    if entry.value.trim_end() == key.value_in_force(settings) && key.is_obeyed() {
        return Ok(false);
    }
    match key.status {
        KeyStatus::Obeyed(_) if LIVE.contains(&key.name) => {}
        KeyStatus::Obeyed(_) | KeyStatus::Judged => {
            return Err(format!(
                "{name} is read when the broker starts: write it into the configuration file, and start the \
                 broker again"
            ));
        }
        KeyStatus::Accepted => {
            return Err(format!("{name} is accepted from files and not used by this engine"));
        }
        KeyStatus::Protects(what) => return Err(format!("{name} {what}")),
        KeyStatus::Ignored(_) => return Err(format!("{name} is read by nobody")),
    }
    let mut findings = Vec::new();
    parse::apply(entry, settings, &mut findings);
    let refusing = findings.into_iter().find(|finding| finding.severity == Severity::Error);
    match refusing {
        None if entry.value.trim_end().is_empty() => Err(format!("{name} has no value")),
        None => Ok(true),
        Some(finding) => {
            let allowed = finding.allowed.map(|it| format!("; allowed: {it}")).unwrap_or_default();
            Err(format!("{}{allowed}", finding.text))
        }
    }
}

fn unknown(entry: &PropertyEntry) -> String {
    let finding = parse::unknown_key(entry);
    let meant = finding.suggestion.map(|meant| format!("; {meant}?")).unwrap_or_default();
    format!("{}{meant}", finding.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(text: &str) -> Result<Change, String> {
        let wanted = PropertiesFile::parse(text.as_bytes()).unwrap();
        let (broker, store) = (BrokerConfig::new("a"), StoreConfig::at("/store"));
        change(&broker, &store, &wanted).map_err(|refused| refused.to_string())
    }

    #[test]
    fn live_keys_are_keys_that_are_obeyed() {
        for name in LIVE {
            assert!(keys::find(name).is_some_and(|key| key.is_obeyed()), "{name}");
        }
    }

    #[test]
    fn a_change_is_taken_over_as_a_whole() {
        let change = changed("fileReservedTime=24\ntraceOn=true\nbrokerPermission=4 ").unwrap();
        assert_eq!(change.store.file_reserved_time_hours, 24);
        assert_eq!(change.broker.broker_permission, 4);
        let pairs = [("fileReservedTime", "24"), ("brokerPermission", "4")];
        let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(change.changed, pairs, "traceOn is true already");
        assert!(changed("").unwrap().changed.is_empty());
    }

    #[test]
    fn what_would_have_no_effect_is_refused_with_a_sentence() {
        let refused = |text: &str| changed(text).map(|_| ()).unwrap_err();
        for black in ["rocketmqHome=/x", "brokerConfigPath=/x", "configBlackList=a"] {
            assert_eq!(refused(black), "Can not update config in black list.");
        }
        for (text, expected) in [
            ("flushDiskType=SYNC_FLUSH", "flushDiskType is read when the broker starts"),
            ("brokerRole=SLAVE", "brokerRole is read when the broker starts"),
            ("enableDLegerCommitLog=true", "enableDLegerCommitLog is read when the broker starts"),
            ("serverWorkerThreads=9", "not used by this engine"),
            ("readOnlyCommitLogStorePaths=/x", "their messages would not be served"),
            ("highSpeedMode=true", "highSpeedMode is read by nobody"),
            ("fileReservedTme=3", "fileReservedTme is no key of RocketMQ 4.9; fileReservedTime?"),
            ("brokerPermission=9", "allowed: a whole number from 0 to 7"),
            ("regionId=", "regionId has no value"),
            ("traceOn=false\nbrokerId=1", "brokerId is read when the broker starts"),
        ] {
            let said = refused(text);
            assert!(said.contains(expected), "{text}: {said}");
            assert!(said.ends_with("; nothing is changed"), "{said}");
        }
    }

    #[test]
    fn operators_may_keep_more_to_themselves() {
        let mut broker = BrokerConfig::new("a");
        broker.config_black_list = "configBlackList; fileReservedTime".to_owned();
        let wanted = PropertiesFile::parse(b"fileReservedTime=1").unwrap();
        let refused = change(&broker, &StoreConfig::at("/store"), &wanted).map(|_| ());
        assert_eq!(refused, Err(ChangeRefused::BlackList));
    }
}
