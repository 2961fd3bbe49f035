//! [`ClientHousekeepingService`]: forgets clients whose connection ended or whose heartbeats stay
//! away (RocketMQ 4.9 `ClientHousekeepingService`).

use std::sync::Arc;

use mq_remoting::{Channel, CloseReason, ConnectionListener};
use tokio::time::Instant;

use crate::context::BrokerContext;

/// Told of every connection's end; sleeps until the next client would expire.
pub(crate) struct ClientHousekeepingService {
    context: Arc<BrokerContext>,
}

impl ClientHousekeepingService {
    pub(crate) fn new(context: Arc<BrokerContext>) -> Self {
        ClientHousekeepingService { context }
    }

    /// Closes the connections of clients without heartbeats. Sleeps while there are no clients.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            let expiries =
                [self.context.producers.next_expiry(), self.context.consumers.next_expiry()];
            match expiries.into_iter().flatten().min() {
                Some(next) => tokio::time::sleep_until(next).await,
                None => self.context.client_appeared.notified().await,
            }
            self.close_expired(Instant::now());
        }
    }

    fn close_expired(&self, now: Instant) {
        let mut expired = self.context.producers.expired(now);
        expired.extend(self.context.consumers.expired(now));
        for channel in expired {
            tracing::warn!(?channel, "client without heartbeat: connection closed");
            self.context.client_gone(channel.id());
            channel.close();
        }
    }
}

impl ConnectionListener for ClientHousekeepingService {
    fn connected(&self, _: &Channel) {}

    fn closed(&self, channel: &Channel, _: &CloseReason) {
        self.context.client_gone(channel.id());
    }
}
