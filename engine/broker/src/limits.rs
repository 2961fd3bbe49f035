//! [`Limit`]: a bound of what peers make this broker keep.

use std::time::Duration;

use mq_remoting::{LogLimit, Used};

/// Time between two lines about the same thing.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// For lines about what happens as often as peers like.
pub(crate) fn log_limit() -> LogLimit {
    LogLimit::new(LOG_INTERVAL)
}

/// A bound with the configuration key that sets it.
pub(crate) struct Limit {
    key: &'static str,
    max: usize,
    log: LogLimit,
}

/// A limit is met.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this broker keeps no more {what}: {key}={max} is reached")]
pub(crate) struct LimitReached {
    key: &'static str,
    max: usize,
    what: &'static str,
}

impl Limit {
    /// The bound that `key` sets to `max`.
    pub(crate) fn new(key: &'static str, max: usize) -> Self {
        Limit { key, max, log: log_limit() }
    }

    /// That there are `count` of them.
    pub(crate) fn used(&self, count: usize) -> Used {
        Used { count, max: self.max }
    }

    /// Whether there may be `count` of them.
    pub(crate) fn allows(&self, count: usize) -> bool {
        count <= self.max
    }

    /// Refuses what would make it `count` of `what`, and says so in the log now and then.
    pub(crate) fn check(&self, count: usize, what: &'static str) -> Result<(), LimitReached> {
        if self.allows(count) {
            return Ok(());
        }
        let reached = LimitReached { key: self.key, max: self.max, what };
        if let Some(suppressed) = self.log.pass() {
            tracing::warn!(suppressed, "a peer is refused: {reached}");
        }
        Err(reached)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_limit_names_its_key() {
        let limit = Limit::new("maxTopicNums", 2);
        assert_eq!(limit.check(2, "topics"), Ok(()));
        let refused = limit.check(3, "topics").unwrap_err().to_string();
        assert_eq!(refused, "this broker keeps no more topics: maxTopicNums=2 is reached");
    }
}
