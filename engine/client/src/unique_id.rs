//! [`UniqueIds`]: the `UNIQ_KEY`s of a client (RocketMQ 4.9 `MessageClientIDSetter`).

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use mq_env::clock::Clock;
use mq_protocol::message::{Message, MessageConst, UniqKeySource, ms_into_month};
use rand::Rng;

/// Makes keys that no other message has.
pub(crate) struct UniqueIds {
    clock: Arc<dyn Clock>,
    source: UniqKeySource,
    counter: AtomicU16,
}

impl UniqueIds {
    /// Keys of a client at `ip`; `rng` stands for Java's process id and class loader.
    pub(crate) fn new(clock: Arc<dyn Clock>, ip: IpAddr, rng: &mut impl Rng) -> Self {
        let source = UniqKeySource { ip, pid: rng.random(), loader_hash: rng.random() };
        UniqueIds { clock, source, counter: AtomicU16::new(0) }
    }

    /// Gives `message` a key unless it has one; returns it.
    pub(crate) fn set(&self, message: &mut Message) -> String {
        if let Some(key) = message.properties.get(MessageConst::UNIQ_KEY) {
            return key.to_owned();
        }
        let now_ms = self.clock.now_millis();
        let utc_offset_ms = i64::from(self.clock.utc_offset_seconds(now_ms)) * 1000;
        let counter = self.counter.fetch_add(1, Ordering::Relaxed);
        let key = self.source.key(ms_into_month(now_ms as i64, utc_offset_ms), counter);
        message.properties.insert(MessageConst::UNIQ_KEY, &key);
        key
    }
}
