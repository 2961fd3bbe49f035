//! [`NamesrvController`]: a name server in operation (RocketMQ 4.9 `NamesrvController` and
//! `BrokerHousekeepingService`).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mq_env::probe::Event;
use mq_env::task::TaskGroup;
use mq_env::{BoxFuture, Env};
use mq_remoting::{
    Channel, CloseReason, ConnectionListener, ProcessorTable, RemotingServer, ServerLoad,
};
use tokio::time::Instant;

use crate::config::NamesrvConfig;
use crate::kv_config::KvConfigManager;
use crate::processor::DefaultRequestProcessor;

/// First look for silent brokers, after the start.
const FIRST_SCAN_AFTER: Duration = Duration::from_secs(5);

/// Interval of these looks.
const SCAN_INTERVAL: Duration = Duration::from_secs(10);

/// The figures of a name server at a moment.
#[derive(Clone, Copy, Debug)]
pub struct NamesrvMetrics {
    /// Registered brokers, slaves included.
    pub brokers: usize,
    /// Topics that have a route.
    pub topics: usize,
    /// Topics on broker names, counted once per broker name.
    pub routes: usize,
    /// Registrations that were taken since the start.
    pub registrations: u64,
    /// What peers make it hold.
    pub load: ServerLoad,
}

/// A running name server; clones are the same one.
#[derive(Clone)]
pub struct NamesrvController {
    env: Env,
    server: RemotingServer,
    processor: Arc<DefaultRequestProcessor>,
    tasks: TaskGroup,
}

impl NamesrvController {
    /// Loads the key-value table, listens and serves.
    ///
    /// # Errors
    /// When the port cannot be bound.
    pub fn start(
        env: Env,
        config: NamesrvConfig,
    ) -> BoxFuture<'static, io::Result<NamesrvController>> {
        Box::pin(async move {
            env.probe.emit(&Event::Life { what: "starting" });
            let (path, bytes_max) = (config.kv_config_path.clone(), config.limits.kv_bytes_max);
            let kv_config = KvConfigManager::load(env.clone(), path, bytes_max);
            let processor = Arc::new(DefaultRequestProcessor::new(kv_config, &config, env.clone()));
            let housekeeping = Arc::new(BrokerHousekeepingService(Arc::clone(&processor)));
            let table =
                ProcessorTable::default().register_default(Arc::clone(&processor) as Arc<_>);
            let endpoints = vec![(config.listen_addr(), Arc::new(table))];
            let server = RemotingServer::start(
                env.clone(),
                config.server.clone(),
                endpoints,
                Some(housekeeping),
            )
            .await?;
            let tasks = env.tasks.child();
            let scanning = scan_not_active_broker(Arc::clone(&processor), server.clone());
            tasks.spawn_until_cancelled("namesrv housekeeping", scanning);
            env.probe.emit(&Event::Life { what: "serving" });
            Ok(NamesrvController { env, server, processor, tasks })
        })
    }

    /// The address listened on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.server.local_addrs()[0]
    }

    /// The figures of now.
    #[must_use]
    pub fn metrics(&self) -> NamesrvMetrics {
        let (brokers, topics, routes) = self.processor.routes().nums();
        NamesrvMetrics {
            brokers,
            topics,
            routes,
            registrations: self.processor.registrations(),
            load: self.server.load(),
        }
    }

    /// Whether it was told to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.tasks.is_cancelled()
    }

    /// Stops serving and closes every connection.
    pub async fn shutdown(&self) {
        self.tasks.shutdown().await;
        self.server.shutdown().await;
        self.env.probe.emit(&Event::Life { what: "stopped" });
    }
}

/// Takes brokers out whose connection ended.
struct BrokerHousekeepingService(Arc<DefaultRequestProcessor>);

impl ConnectionListener for BrokerHousekeepingService {
    fn connected(&self, _: &Channel) {}

    fn closed(&self, channel: &Channel, reason: &CloseReason) {
        let removed = self.0.routes_mut().on_channel_closed(channel.id());
        if let Some(broker_addr) = removed {
            self.0.emit_route(&format!("broker at {broker_addr} lost its connection: {reason}"));
        }
    }
}

/// Takes brokers out that have been silent for too long, and closes their connections. Sleeps while
/// there is none.
async fn scan_not_active_broker(processor: Arc<DefaultRequestProcessor>, server: RemotingServer) {
    let mut next_scan = Instant::now() + FIRST_SCAN_AFTER;
    loop {
        while !processor.routes().has_live_brokers() {
            processor.registered().await;
        }
        while next_scan <= Instant::now() {
            next_scan += SCAN_INTERVAL;
        }
        tokio::time::sleep_until(next_scan).await;
        let expired = processor.routes_mut().scan_not_active_broker(Instant::now());
        for (broker_addr, channel_id) in expired {
            processor.emit_route(&format!("broker at {broker_addr} was silent for too long"));
            let channels = server.channels();
            if let Some(channel) = channels.iter().find(|channel| channel.id() == channel_id) {
                channel.close();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use mq_protocol::body::topic_config::TopicConfigSerializeWrapper;
    use mq_protocol::header::namesrv::RegisterBrokerRequestHeader;
    use mq_remoting::ChannelId;

    use super::*;

    fn register(processor: &DefaultRequestProcessor) {
        let header = RegisterBrokerRequestHeader {
            broker_name: "a".into(),
            broker_addr: "h1".into(),
            ..RegisterBrokerRequestHeader::default()
        };
        let topics = TopicConfigSerializeWrapper::default();
        let channel = ChannelId(1);
        let mut routes = processor.routes_mut();
        routes.register_broker(&header, &topics, channel, Instant::now()).unwrap();
        drop(routes);
        processor.signal_registered();
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_broker_is_dropped_at_the_first_scan_after_120_seconds() {
        let env = Env::os();
        let config = NamesrvConfig::default();
        let kv_config = KvConfigManager::load(env.clone(), "/nowhere/kvConfig.json".into(), 0);
        let processor = Arc::new(DefaultRequestProcessor::new(kv_config, &config, env.clone()));
        let listening = RemotingServer::start(env.clone(), config.server, Vec::new(), None);
        let server = listening.await.unwrap();
        let scanning = scan_not_active_broker(Arc::clone(&processor), server);
        env.tasks.spawn_until_cancelled("scan", scanning);
        let begin = Instant::now();
        for registered_at in [1000, 2000] {
            tokio::time::sleep_until(begin + Duration::from_secs(registered_at)).await;
            register(&processor);
            while processor.routes().has_live_brokers() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            // Scans come at 5, 15, 25, …; the one at exactly 120 s of age would be too early.
            assert_eq!(begin.elapsed().as_secs(), registered_at + 126);
        }
        env.tasks.shutdown().await;
    }
}
