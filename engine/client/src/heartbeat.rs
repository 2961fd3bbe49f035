//! Heartbeats: what each broker is told of a client's groups (RocketMQ 4.9 `sendHeartbeatToAllBroker`).
//!
//! RocketMQ tells one broker after the other, and the next time only once all have answered. A broker that is dead
//! costs the others three seconds then, in which they refuse to be read by who has taken or given up a queue
//! (SUBSCRIPTION_NOT_LATEST). Here nobody waits for another one; each broker has at most one heartbeat under way, and
//! hears the latest after it.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use mq_env::plant::{Plant, planted_on_this_thread};
use mq_protocol::body::heartbeat::{HeartbeatData, ProducerData};
use mq_protocol::fastjson::to_bytes;
use mq_protocol::upstream::UpstreamSwitch;
use tokio::time::Instant;

use crate::instance::{ClientInstance, FIRST_HEARTBEAT_AFTER};

/// The heartbeats under way.
#[derive(Default)]
struct Beats {
    /// Each ends with the address that it went to.
    under_way: FuturesUnordered<BoxFuture<'static, String>>,
    /// By the address that a heartbeat is under way to: what it is told after it.
    next: BTreeMap<String, Option<Bytes>>,
}

impl Beats {
    fn send(&mut self, client: &ClientInstance, addr: String, body: Bytes) {
        if let Some(next) = self.next.get_mut(&addr) {
            *next = Some(body);
            return;
        }
        self.next.insert(addr.clone(), None);
        let client = client.clone();
        self.under_way.push(Box::pin(async move {
            client.send_heartbeat(&addr, body).await;
            addr
        }));
    }

    fn ended(&mut self, client: &ClientInstance, addr: String) {
        if let Some(Some(body)) = self.next.remove(&addr) {
            self.send(client, addr, body);
        }
    }
}

impl ClientInstance {
    /// Tells every known broker of this client's groups, again and again, and when somebody asks for it.
    pub(crate) async fn send_heartbeats(self) {
        let mut beats = Beats::default();
        let mut next = Instant::now() + FIRST_HEARTBEAT_AFTER;
        loop {
            mq_env::select! {
                Some(addr) = beats.under_way.next(), if !beats.under_way.is_empty() => {
                    beats.ended(&self, addr);
                    continue;
                }
                () = self.heartbeat_wanted() => {}
                () = tokio::time::sleep_until(next) => {
                    next += self.config().heartbeat_broker_interval;
                    self.clean_offline_brokers();
                }
            }
            let (addrs, body) = self.heartbeat();
            for addr in addrs {
                match self.config().upstream(UpstreamSwitch::HeartbeatsInTurn) {
                    true => self.send_heartbeat(&addr, body.clone()).await,
                    false => beats.send(&self, addr, body.clone()),
                }
            }
        }
    }

    /// The same once; waits for all answers.
    pub(crate) async fn send_heartbeat_to_all_brokers(&self) {
        let (addrs, body) = self.heartbeat();
        let beats = addrs.iter().map(|addr| self.send_heartbeat(addr, body.clone()));
        futures::future::join_all(beats).await;
    }

    async fn send_heartbeat(&self, addr: &str, body: Bytes) {
        if let Err(error) = self.api().send_heartbeat(addr, body).await {
            tracing::info!(addr, %error, "heartbeat failed");
        }
    }

    /// Whom to tell, and what.
    fn heartbeat(&self) -> (Vec<String>, Bytes) {
        let consumers = self.consumers();
        let data = HeartbeatData {
            client_id: self.client_id().to_owned(),
            producer_data_set: self
                .producer_groups()
                .into_iter()
                .map(|group_name| ProducerData { group_name })
                .collect(),
            consumer_data_set: consumers.iter().map(|consumer| consumer.heartbeat_data()).collect(),
        };
        let masters_only = data.consumer_data_set.is_empty();
        let addrs = self.with_routes(|routes| routes.addrs(masters_only));
        let to_one = planted_on_this_thread(Plant::HeartbeatToOneBroker);
        let addrs_max = if to_one { 1 } else { usize::MAX };
        (addrs.into_iter().take(addrs_max).collect(), to_bytes(&data))
    }
}
