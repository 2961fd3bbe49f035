//! [`GroupTransferService`]: where the puts of a SYNC_MASTER wait for a slave.
//!
//! A put waits for itself alone: acknowledgements wake exactly those they cover, and every put has
//! its own deadline. (RocketMQ 4.9 serves one request after the other, so that those behind a stuck
//! one share its delay.)

use std::sync::Arc;
use std::time::Duration;

use mq_env::BoxFuture;
use tokio::time::Instant;

use super::replicas::Replicas;
use crate::config::StoreConfig;
use crate::plant::Plant;
use crate::put_result::PutMessageStatus;
use crate::stats::LatencyHistogram;

/// Answers whether a slave has a record (RocketMQ 4.9 `GroupTransferService`).
pub(crate) struct GroupTransferService {
    replicas: Arc<Replicas>,
    slave_timeout: Duration,
    latency: Arc<LatencyHistogram>,
    /// A planted bug.
    times_out_well: bool,
}

impl GroupTransferService {
    pub(crate) fn new(
        replicas: Arc<Replicas>,
        config: &StoreConfig,
        latency: Arc<LatencyHistogram>,
    ) -> Self {
        let slave_timeout = Duration::from_millis(config.slave_timeout_ms);
        let times_out_well = config.planted(Plant::SendOkAfterSlaveTimeout);
        GroupTransferService { replicas, slave_timeout, latency, times_out_well }
    }

    /// The replication status of a record that ends at `end_offset`: SLAVE_NOT_AVAILABLE at once
    /// when no slave is near, else PUT_OK when one confirms it within `slaveTimeout` of this call,
    /// else FLUSH_SLAVE_TIMEOUT, at once when this store becomes a slave. The record stays stored whatever
    /// comes out.
    pub(crate) fn submit(&self, end_offset: u64) -> BoxFuture<'static, PutMessageStatus> {
        if !self.replicas.is_slave_ok(end_offset) {
            return Box::pin(std::future::ready(PutMessageStatus::SlaveNotAvailable));
        }
        let begun = Instant::now();
        let deadline = begun + self.slave_timeout;
        // Of this instant, whenever the answer is first asked for.
        let since = self.replicas.role_changes();
        let (replicas, times_out_well) = (Arc::clone(&self.replicas), self.times_out_well);
        let latency = Arc::clone(&self.latency);
        Box::pin(async move {
            match tokio::time::timeout_at(deadline, replicas.confirmed(end_offset, since)).await {
                Ok(true) => {
                    latency.record(begun.elapsed());
                    PutMessageStatus::PutOk
                }
                Err(_) if times_out_well => PutMessageStatus::PutOk,
                Ok(false) | Err(_) => PutMessageStatus::FlushSlaveTimeout,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::config::BrokerRole;
    use crate::role::RoleWatch;

    fn service() -> (GroupTransferService, Arc<Replicas>) {
        let mut config = StoreConfig::at("unused");
        config.ha_slave_fallbehind_max = 1_000;
        let replicas = Arc::new(Replicas::new(&config, RoleWatch::new(BrokerRole::SyncMaster)));
        let latency = Arc::default();
        (GroupTransferService::new(Arc::clone(&replicas), &config, latency), replicas)
    }

    fn peer() -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], 1))
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_near_slave_the_answer_is_immediate() {
        let (service, replicas) = service();
        let start = Instant::now();
        assert_eq!(service.submit(10).await, PutMessageStatus::SlaveNotAvailable);
        let slave = replicas.connect(peer());
        assert_eq!(service.submit(1_000).await, PutMessageStatus::SlaveNotAvailable);
        replicas.report(slave, 1, 5_000);
        assert_eq!(service.submit(1).await, PutMessageStatus::PutOk);
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn each_put_has_its_own_deadline() {
        let (service, replicas) = service();
        let slave = replicas.connect(peer());
        let start = Instant::now();
        let never = service.submit(300);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let soon = service.submit(100);
        let later = service.submit(200);
        let acks = async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            replicas.report(slave, 100, 300);
            tokio::time::sleep(Duration::from_secs(2)).await;
            replicas.report(slave, 250, 300);
        };
        let timed = async |put: BoxFuture<'static, _>| (put.await, start.elapsed().as_millis());
        let (never, soon, later, ()) = tokio::join!(timed(never), timed(soon), timed(later), acks);
        assert_eq!(soon, (PutMessageStatus::PutOk, 1_001));
        assert_eq!(never, (PutMessageStatus::FlushSlaveTimeout, 3_000));
        assert_eq!(later, (PutMessageStatus::PutOk, 3_001));
        let counted = service.latency.counts();
        assert_eq!((counted.total(), counted.sum_us), (2, 2_002_000), "of 1 ms and of 2,001 ms");
    }
}
