//! How a broker keeps itself in the name servers' tables: at its start, when a topic or its role changes,
//! and every `registerNameServerPeriod` (RocketMQ 4.9 `BrokerController.registerBrokerAll`).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mq_env::plant::{Plant, planted_on_this_thread};
use mq_env::probe::Event;
use mq_protocol::body::topic_config::RegisterBrokerBody;
use mq_store::config::BrokerRole;
use mq_store::ha::follow_state::FollowState;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::context::BrokerContext;
use crate::lock;
use crate::outer_api::RegisterBrokerResult;

/// Time from the first registration to the second.
const FIRST_PERIOD: Duration = Duration::from_secs(10);

/// Time between two registrations because of new topics, per thousand topics.
const NEW_TOPICS_INTERVAL: Duration = Duration::from_millis(100);

/// Time from one registration of a slave to the next while it looks for its master: the answers name
/// it.
const SEEKING_PERIOD: Duration = Duration::from_secs(2);

/// Registers now, and again and again.
pub(crate) struct RegistrationService {
    context: Arc<BrokerContext>,
    /// What it was when it registered last.
    was_slave: bool,
}

impl RegistrationService {
    pub(crate) fn new(context: Arc<BrokerContext>) -> Self {
        let was_slave = context.is_slave();
        RegistrationService { context, was_slave }
    }

    /// Registers every topic at every name server, whatever versions they have.
    pub(crate) async fn register_first(&mut self) {
        self.register().await;
    }

    /// Registers after [`FIRST_PERIOD`] and then periodically.
    pub(crate) async fn run(mut self) {
        let mut next = Instant::now() + FIRST_PERIOD;
        while !planted_on_this_thread(Plant::RegistersOnce) {
            let is_urgent = self.due(next).await;
            let context = &self.context;
            let config = context.live();
            next = Instant::now() + Duration::from_millis(config.register_name_server_period_ms);
            let version = context.topics.data_version();
            if is_urgent || config.force_register || context.outer_api.need_register(version).await
            {
                self.register().await;
            }
        }
    }

    /// Resolves at `next`; on a slave that looks for its master, [`SEEKING_PERIOD`] from now if that is
    /// sooner; at once when the role has changed. Whether it is because of one of these.
    async fn due(&self, next: Instant) -> bool {
        let seeking = Instant::now() + SEEKING_PERIOD;
        let state = self.context.ha.watch_follow_state();
        let role = self.context.store.role();
        loop {
            if self.context.is_slave() != self.was_slave {
                return true;
            }
            let is_idle = state.get() == FollowState::Idle;
            let is_seeking = self.context.is_slave() && is_idle;
            let at = if is_seeking { next.min(seeking) } else { next };
            mq_env::select! {
                () = tokio::time::sleep_until(at) => return is_seeking,
                _ = state.wait_for(|state| (*state == FollowState::Idle) != is_idle) => {}
                _ = role.wait_for(|role| (role == BrokerRole::Slave) != self.was_slave) => {}
            }
        }
    }

    async fn register(&mut self) {
        let context = Arc::clone(&self.context);
        self.was_slave = context.is_slave();
        let body = register_body(&context, None);
        let mut answers = Vec::new();
        for (addr, answer) in context.outer_api.register_broker_all(&body).await {
            let outcome = match answer {
                Ok(answer) => {
                    answers.push(answer);
                    Ok(())
                }
                Err(error) => Err(error.to_string()),
            };
            self.note(addr, outcome);
        }
        apply(&context, answers).await;
    }

    /// Changes are worth a word.
    fn note(&self, addr: &str, outcome: Result<(), String>) {
        let mut outcomes = lock(&self.context.registrations);
        if outcomes.get(addr) == Some(&outcome) {
            return;
        }
        let what = match &outcome {
            Ok(()) => format!("registered at {addr}"),
            Err(error) => format!("not registered at {addr}: {error}"),
        };
        match &outcome {
            Ok(()) => tracing::info!("{what}"),
            Err(_) => tracing::warn!("{what}"),
        }
        outcomes.insert(addr.to_owned(), outcome);
        drop(outcomes);
        self.context.env.probe.emit(&Event::Route { what: &what });
    }
}

/// Registers one topic that was changed, and waits for the answers.
pub(crate) async fn register_topic(context: &BrokerContext, topic: &str) {
    let body = register_body(context, Some(topic));
    for (addr, answer) in context.outer_api.register_broker_all(&body).await {
        if let Err(error) = answer {
            tracing::warn!(addr, topic, %error, "topic not registered");
        }
    }
}

/// When the name servers hear of new topics: at once, but of many in a row together. Every registration
/// carries all topics.
#[derive(Default)]
pub(crate) struct NewTopics {
    /// From when on they may hear of the next ones.
    not_before: Mutex<Option<Instant>>,
    wanted: Notify,
}

impl NewTopics {
    /// Whether to tell them now; else [`register_new_topics`] does so later. A broker of many topics
    /// tells less often.
    pub(crate) fn is_due(&self, topic_nums: usize) -> bool {
        let now = Instant::now();
        let mut not_before = lock(&self.not_before);
        if not_before.is_some_and(|not_before| now < not_before) {
            self.wanted.notify_one();
            return false;
        }
        let thousands = u32::try_from(topic_nums / 1_000).unwrap_or(u32::MAX);
        *not_before = Some(now + NEW_TOPICS_INTERVAL.saturating_mul(thousands.saturating_add(1)));
        true
    }

    /// Resolves when there are topics to tell of.
    async fn due(&self) {
        self.wanted.notified().await;
        let not_before = *lock(&self.not_before);
        if let Some(not_before) = not_before {
            tokio::time::sleep_until(not_before).await;
        }
    }
}

/// Tells the name servers of topics that came too soon after others.
pub(crate) async fn register_new_topics(context: Arc<BrokerContext>) {
    loop {
        context.new_topics.due().await;
        context.register_broker_oneway();
    }
}

/// Tells the name servers of every topic without waiting for an answer.
pub(crate) fn register_oneway(context: &BrokerContext) {
    context.outer_api.register_broker_all_oneway(&register_body(context, None));
}

fn register_body(context: &BrokerContext, only: Option<&str>) -> RegisterBrokerBody {
    context.topics.register_body(context.live().broker_permission as i32, only)
}

/// Follows what the name servers said. A master learns which topics are ordered (its slaves from
/// it); a slave who its master is. Of several answers the first that names a master counts; RocketMQ
/// takes the fastest one and may lose its master to a name server that does not know it.
async fn apply(context: &BrokerContext, answers: Vec<RegisterBrokerResult>) {
    if context.is_slave() {
        follow_master(context, answers);
    } else if let Some(table) = answers.into_iter().find_map(|answer| answer.kv_table)
        && let Err(error) = context.topics.update_order_topic_config(&table.table).await
    {
        tracing::error!(%error, "ordered topics cannot be written");
    }
}

fn follow_master(context: &BrokerContext, answers: Vec<RegisterBrokerResult>) {
    let named = answers.into_iter().find(|answer| answer.master_addr.is_some());
    // While nobody names one, a master that comes back is looked for where it was.
    let Some(RegisterBrokerResult { master_addr, ha_server_addr, .. }) = named else { return };
    if master_addr.as_deref() == Some(&context.outer_api.identity().broker_addr) {
        // A name server still has this broker as the master that it was.
        return;
    }
    if *lock(&context.master_addr) != master_addr {
        let what = format!("master is {}", master_addr.as_deref().unwrap_or_default());
        tracing::info!("{what}");
        context.env.probe.emit(&Event::Route { what: &what });
        *lock(&context.master_addr) = master_addr;
    }
    if ha_server_addr.is_some() {
        context.ha.set_ha_master_address(ha_server_addr);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_new_topics_are_told_of_together() {
        let new_topics = NewTopics::default();
        for (topic_nums, interval_ms) in [(10, 100), (5_000, 600)] {
            let told = (0..1_000).filter(|_| new_topics.is_due(topic_nums)).count();
            assert_eq!(told, 1);
            let begin = Instant::now();
            new_topics.due().await;
            assert_eq!(begin.elapsed(), Duration::from_millis(interval_ms));
        }
    }
}
