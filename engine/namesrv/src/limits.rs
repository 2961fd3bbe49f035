//! What peers may make a name server keep, and which names it takes.

use std::time::Duration;

use mq_protocol::body::topic_config::RegisterBodyLimits;
use mq_remoting::{LogLimit, ProcessError};

/// Longest name of a topic, broker, cluster, namespace or key, and longest address. 4.9's own names have at
/// most 255 characters, and a prefix.
pub(crate) const NAME_BYTES_MAX: usize = 1024;

/// Time between two log lines about what peers do.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// What a name server keeps at most. Who meets a limit is answered SYSTEM_ERROR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamesrvLimits {
    /// Topics of one registration (`registerBrokerTopicsMax`).
    pub register_topics_max: usize,
    /// Size of a registration's body when it is no longer compressed (`registerBrokerBodyBytesMax`).
    pub register_body_bytes_max: usize,
    /// Broker addresses, and broker names in clusters (`registeredBrokersMax`).
    pub brokers_max: usize,
    /// Topics on broker names, in all (`registeredTopicsMax`).
    pub topics_max: usize,
    /// Bytes of all namespaces, keys and values (`kvConfigBytesMax`).
    pub kv_bytes_max: usize,
}

impl Default for NamesrvLimits {
    fn default() -> Self {
        NamesrvLimits {
            register_topics_max: 200_000,
            register_body_bytes_max: 32 << 20,
            brokers_max: 10_000,
            topics_max: 1_000_000,
            kv_bytes_max: 4 << 20,
        }
    }
}

impl NamesrvLimits {
    pub(crate) fn of_register_body(&self) -> RegisterBodyLimits {
        RegisterBodyLimits {
            topics_max: self.register_topics_max,
            plain_bytes_max: self.register_body_bytes_max,
        }
    }
}

/// A name that no honest peer has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Longer than any.
    #[error("{what} of {bytes} bytes is too long (at most {NAME_BYTES_MAX})")]
    TooLong {
        /// Whose name.
        what: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// Tabs, line feeds and the like.
    #[error("{what} has a control character")]
    ControlCharacter {
        /// Whose name.
        what: &'static str,
    },
}

/// Whether `name` may be kept and logged.
pub(crate) fn check_name(what: &'static str, name: &str) -> Result<(), NameError> {
    if name.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong { what, bytes: name.len() });
    }
    if name.chars().any(char::is_control) {
        return Err(NameError::ControlCharacter { what });
    }
    Ok(())
}

/// A limit was met: which, by whom, and the key that raises it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {wanted} is beyond the limit of {limit} ({key})")]
pub struct LimitError {
    /// Of what there would be too much.
    pub what: &'static str,
    /// How much there would be.
    pub wanted: usize,
    /// How much there may be.
    pub limit: usize,
    /// The configuration key.
    pub key: &'static str,
}

/// Says what was refused, as often as the log bears.
pub(crate) struct RefusalLog(LogLimit);

impl Default for RefusalLog {
    fn default() -> Self {
        RefusalLog(LogLimit::new(LOG_INTERVAL))
    }
}

impl RefusalLog {
    /// Logs the refusal of a request of `peer`, and turns it into its answer.
    pub(crate) fn refuse(&self, peer: &str, error: &impl std::error::Error) -> ProcessError {
        let remark = error.to_string();
        self.say(peer, &remark);
        ProcessError::system(remark)
    }

    /// Logs that something of `peer` was refused.
    pub(crate) fn say(&self, peer: &str, what: &str) {
        if let Some(more) = self.0.pass() {
            tracing::warn!("refused to {peer}: {what} ({more} more since the last line like this)");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_nobody_has_are_refused() {
        for good in ["", "broker-a", "%RETRY%g", "主题", &"x".repeat(1024)] {
            assert_eq!(check_name("topic", good), Ok(()));
        }
        for bad in ["a\nb", "\u{0}", "a\u{7f}", "\u{85}"] {
            assert_eq!(
                check_name("topic", bad),
                Err(NameError::ControlCharacter { what: "topic" })
            );
        }
        let long = check_name("topic", &"x".repeat(1025));
        assert_eq!(long, Err(NameError::TooLong { what: "topic", bytes: 1025 }));
    }
}
