//! The idempotence kit: a listener that gets each business key once, although its group gets messages *at least*
//! once. RocketMQ leaves this to applications.
//!
//! Messages come more than once after a rebalance or a restart (what was not committed), after a redelivery whose
//! first delivery had an effect, and when a producer sends again what a broker has stored without being able to say
//! so. What a second delivery has in common with the first is not its offset, which may differ, but a key.
//!
//! A [`Deduplicator`] remembers the keys of what was consumed, in memory or in a file; [`idempotent`] puts it before a
//! listener. **This is no "exactly once".** A process that dies between the effect of a message and the
//! write of its key has the effect twice; so does a duplicate that comes to another member of the group, or after its key
//! was forgotten. Exactly once is only what the application writes in one database transaction
//! together with the key. The kit keeps most duplicates away from that database.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use mq_client::idempotence::{Deduplicator, DeduplicatorConfig, idempotent};
//! use mq_client::{
//!     ClientConfig, ClientInstance, ConsumeResult, MessageListener, PushConsumer, PushConsumerConfig,
//! };
//! use mq_env::Env;
//!
//! # async fn consume() -> Result<(), Box<dyn std::error::Error>> {
//! let env = Env::os();
//! let config = DeduplicatorConfig { capacity: 20_000, ..DeduplicatorConfig::default() };
//! let deduplicator = Arc::new(Deduplicator::open(&env, "payments/done.json", config).await?);
//!
//! let pay: MessageListener = Arc::new(|messages| {
//!     for message in messages {
//!         println!("pay {}", message.msg_id());
//!     }
//!     ConsumeResult::Success.into()
//! });
//! let namesrv_addrs = vec!["127.0.0.1:9876".to_owned()];
//! let client = ClientInstance::start(env, ClientConfig { namesrv_addrs, ..Default::default() });
//! let config = PushConsumerConfig::new("payments", "Orders", "*");
//! let once = idempotent(Arc::clone(&deduplicator), pay);
//! let consumer = PushConsumer::start(&client, config, once).await?;
//!
//! // … until the application ends:
//! consumer.shutdown().await;
//! deduplicator.shutdown().await?;
//! client.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod deduplicator;
mod done_file;
mod done_keys;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use mq_protocol::message::{MessageConst, MessageExt};

use crate::push_consumer::{ConsumeResult, Consumption, MessageListener};

pub use deduplicator::{Claim, Deduplicator, DeduplicatorConfig, DeduplicatorError, KeyClaim};

/// What a message's duplicates have in common with it; `None` lets it pass every time. Messages of different topics
/// are never duplicates of each other.
pub type KeyExtractor = Arc<dyn Fn(&MessageExt) -> Option<String> + Send + Sync>;

/// The first of a message's `KEYS`, or its `UNIQ_KEY` without one.
///
/// `KEYS` name a matter of the application: two *different* messages of a topic about the same matter (an order that is
/// placed, and paid) are duplicates by this key. Where that happens, use [`idempotent_by`]. A `UNIQ_KEY` stays
/// the same when its producer sends again by itself, or a message is redelivered; an application that sends once
/// more gets another one.
#[must_use]
pub fn business_key(message: &MessageExt) -> Option<&str> {
    let unique = || message.message.properties.get(MessageConst::UNIQ_KEY);
    message.message.keys().next().or_else(unique).filter(|key| !key.is_empty())
}

/// [`idempotent_by`] the [`business_key`].
#[must_use]
pub fn idempotent(deduplicator: Arc<Deduplicator>, listener: MessageListener) -> MessageListener {
    let key_of: KeyExtractor = Arc::new(|message| business_key(message).map(str::to_owned));
    idempotent_by(deduplicator, key_of, listener)
}

/// A listener, concurrent or in order, that hands to `listener` only messages whose keys were not consumed yet.
///
/// * Duplicates of what was consumed are answered with success, also when an operator has one consumed directly.
/// * A message whose key is with the listener already is to come again later, with its whole batch; nothing behind
///   it in the batch is handed out, so that order stays. This counts among the redeliveries after which a message
///   is a dead letter. What is broadcast and not consumed in order does not come again: there the delivery that is
///   at work is the only one.
/// * A key is done after the listener has succeeded with the batch that it is in. It is free again when the listener
///   fails, panics or is cut off. A listener that never ends keeps its key.
#[must_use]
pub fn idempotent_by(
    deduplicator: Arc<Deduplicator>,
    key_of: KeyExtractor,
    listener: MessageListener,
) -> MessageListener {
    Arc::new(move |messages| {
        let fresh = Fresh::of(messages, &deduplicator, &key_of);
        if fresh.messages.is_empty() {
            return fresh.finish(ConsumeResult::Success).into();
        }
        match listener(&fresh.messages) {
            Consumption::Done(result) => fresh.finish(result).into(),
            Consumption::Later(future) => {
                Consumption::Later(Box::pin(async move { fresh.finish(future.await) }))
            }
        }
    })
}

/// What the listener has to do of a batch.
struct Fresh {
    messages: Vec<Arc<MessageExt>>,
    claims: Vec<KeyClaim>,
    /// A message of the batch is under way elsewhere.
    is_cut_short: bool,
}

impl Fresh {
    fn of(batch: &[Arc<MessageExt>], deduplicator: &Deduplicator, key_of: &KeyExtractor) -> Self {
        let mut fresh = Fresh { messages: Vec::new(), claims: Vec::new(), is_cut_short: false };
        let mut claimed_here = BTreeSet::new();
        for message in batch {
            let Some(key) = key_of(message) else {
                fresh.messages.push(Arc::clone(message));
                continue;
            };
            // As 4.9 writes keys in its index; no topic has a `#` in it.
            let key = format!("{}#{key}", message.message.topic);
            match deduplicator.claim(&key) {
                Claim::Granted(claim) => {
                    fresh.claims.push(claim);
                    fresh.messages.push(Arc::clone(message));
                    claimed_here.insert(key);
                }
                Claim::Done => {}
                // A duplicate within the batch: it shares the fate of the first.
                Claim::UnderWay if claimed_here.contains(&key) => {}
                Claim::UnderWay => {
                    fresh.is_cut_short = true;
                    break;
                }
            }
        }
        fresh
    }

    /// The answer for the whole batch, after the listener's for what is fresh.
    fn finish(self, result: ConsumeResult) -> ConsumeResult {
        if result == ConsumeResult::ReconsumeLater {
            return result;
        }
        self.claims.into_iter().for_each(KeyClaim::done);
        if self.is_cut_short { ConsumeResult::ReconsumeLater } else { ConsumeResult::Success }
    }
}
