//! Replication between a master and its slaves: [`HaService`].
//!
//! A master listens on `haListenPort`, sends its CommitLog as raw slices and counts what slaves
//! report; a SYNC_MASTER's puts wait for that. A slave connects, proves that its log is a prefix of
//! the master's, and appends. The bytes on the wire are RocketMQ 4.9's, so either side may be Java;
//! the proof travels in a remoting request of its own that a Java peer declines.
//!
//! - [`prefix`] the proof, `quarantine` what is set aside for it, `joining` when to do which;
//! - `client` a slave's connection, [`follow_state`] what came of it;
//! - `connection` a master's side of one slave, [`replicas`] the book of all of them,
//!   `group_transfer` the puts that wait for them.
//!
//! A broker gives a [`PrefixOracle`] that sends the question to its master's remoting port, answers
//! the question of its own slaves with [`prefix::answer_prefix_query`], names the master with
//! [`HaService::set_ha_master_address`], and adopts tables that it fetched from the master only
//! after [`HaService::confirm_master`].
//!
//! Replication follows the store's role: a slave follows for as long as it is one, and every change between
//! master and slave ends all connections, as a restart would.
//!
//! Java origin: package `org.apache.rocketmq.store.ha` of RocketMQ 4.9.

mod client;
mod connection;
pub mod follow_state;
mod group_transfer;
mod joining;
pub mod prefix;
pub mod quarantine;
pub mod replicas;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mq_env::net::{Listener, Stream, any_addr};
use mq_env::probe::Event;
use mq_env::task::TaskGroup;
use mq_env::watched::Watched;
use mq_env::{BoxFuture, Env};

use crate::config::StoreConfig;
use crate::ha::client::HaClient;
use crate::ha::connection::HaConnection;
use crate::ha::follow_state::FollowState;
use crate::ha::group_transfer::GroupTransferService;
use crate::ha::joining::Joining;
use crate::ha::prefix::{PrefixError, PrefixOracle};
use crate::ha::quarantine::Quarantine;
use crate::ha::replicas::{Replicas, SlaveStatus};
use crate::message_store::MessageStore;
use crate::stats::{LatencyCounts, LatencyHistogram};

/// Pause after a connection could not be accepted.
const ACCEPT_RETRY_PAUSE: Duration = Duration::from_secs(1);

/// How long either side is silent at most; at an interval of 0 as long as 4.9, which compares milliseconds.
fn heartbeat_interval(config: &StoreConfig) -> Duration {
    Duration::from_millis(config.ha_send_heartbeat_interval_ms.max(1))
}

/// Replication of one store (RocketMQ 4.9 `HAService`).
pub struct HaService {
    env: Env,
    config: Arc<StoreConfig>,
    store: Arc<MessageStore>,
    tasks: TaskGroup,
    replicas: Arc<Replicas>,
    transfer_latency: Arc<LatencyHistogram>,
    joining: Arc<Joining>,
    master_address: Watched<Option<String>>,
    follow_state: Watched<FollowState>,
}

impl HaService {
    /// Replication of `store`, which from now on asks it about the puts of a SYNC_MASTER. A slave
    /// without an `oracle` follows as in RocketMQ 4.9, without a proof.
    #[must_use]
    pub fn new(env: &Env, store: &Arc<MessageStore>, oracle: Option<PrefixOracle>) -> Arc<Self> {
        let config = Arc::clone(store.config());
        let replicas = Arc::new(Replicas::new(&config, store.role().clone()));
        let transfer_latency = Arc::<LatencyHistogram>::default();
        let latency = Arc::clone(&transfer_latency);
        let group_transfer = GroupTransferService::new(Arc::clone(&replicas), &config, latency);
        store.set_replica_wait(Arc::new(move |end_offset| group_transfer.submit(end_offset)));
        Arc::new(HaService {
            joining: Arc::new(Joining::new(env.clone(), Arc::clone(store), oracle)),
            tasks: env.tasks.child(),
            env: env.clone(),
            config,
            store: Arc::clone(store),
            replicas,
            transfer_latency,
            master_address: Watched::default(),
            follow_state: Watched::default(),
        })
    }

    /// Listens on `haListenPort` (a slave does, too) and, whenever it is a slave, follows. Returns the
    /// address that it listens on. Called once.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub fn start(self: &Arc<Self>) -> BoxFuture<'static, io::Result<SocketAddr>> {
        let service = Arc::clone(self);
        Box::pin(async move {
            let addr = any_addr(service.config.ha_listen_port);
            let listener = service.env.net.bind(addr).await?;
            let listens_on = listener.local_addr()?;
            let tasks = service.tasks.clone();
            tasks.spawn_until_cancelled("ha-client", service.client().run());
            tasks.spawn_until_cancelled("ha-accept", service.accept_all(listener));
            Ok(listens_on)
        })
    }

    /// Ends all connections and stops listening and following.
    pub fn shutdown(&self) -> BoxFuture<'static, ()> {
        let tasks = self.tasks.clone();
        Box::pin(async move { tasks.shutdown().await })
    }

    /// Names the master's HA address, as the name server's registration reply does; `None` when
    /// there is none. A connection that exists is kept, and a configured `haMasterAddress` wins.
    pub fn set_ha_master_address(&self, address: Option<String>) {
        self.master_address.set(address);
    }

    /// Follows whether this slave follows its master.
    #[must_use]
    pub fn watch_follow_state(&self) -> Watched<FollowState> {
        self.follow_state.clone()
    }

    /// Whether this slave is connected to a master that it may follow.
    #[must_use]
    pub fn is_following(&self) -> bool {
        self.follow_state.read(FollowState::is_following)
    }

    /// Why this slave refuses to follow its master, if it does.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        self.follow_state.read(|state| state.refusal().map(str::to_owned))
    }

    /// Asks the master whether it still has the end of this slave's log, in one short question.
    /// A slave that fetched tables from its master asks before it adopts them: a master that came
    /// back blank must not empty them. `true` as well where 4.9's rules hold (a Java master,
    /// `splice-diverged`).
    pub fn confirm_master(&self) -> BoxFuture<'static, Result<bool, PrefixError>> {
        let joining = Arc::clone(&self.joining);
        Box::pin(async move { joining.confirm().await })
    }

    /// What this slave set aside since it started, oldest first.
    #[must_use]
    pub fn quarantines(&self) -> Vec<Quarantine> {
        self.joining.quarantines()
    }

    /// The connected slaves, in order of connecting.
    #[must_use]
    pub fn slaves(&self) -> Vec<SlaveStatus> {
        self.replicas.slaves()
    }

    /// Number of connections, whether or not they have reported (RocketMQ 4.9 `connectionCount`).
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.replicas.connection_count()
    }

    /// The highest offset that a slave confirmed since the start.
    #[must_use]
    pub fn push2_slave_max_offset(&self) -> u64 {
        self.replicas.push2_slave_max_offset()
    }

    /// How long puts of a SYNC_MASTER waited for a slave that confirmed them in time.
    #[must_use]
    pub fn transfer_latency(&self) -> LatencyCounts {
        self.transfer_latency.counts()
    }

    /// Whether a slave is connected that lags behind `end_offset` by less than
    /// `haSlaveFallbehindMax`.
    #[must_use]
    pub fn is_slave_ok(&self, end_offset: u64) -> bool {
        self.replicas.is_slave_ok(end_offset)
    }

    fn client(&self) -> HaClient {
        HaClient {
            env: self.env.clone(),
            config: Arc::clone(&self.config),
            store: Arc::clone(&self.store),
            joining: Arc::clone(&self.joining),
            master_address: self.master_address.clone(),
            state: self.follow_state.clone(),
        }
    }

    async fn accept_all(self: Arc<Self>, listener: Box<dyn Listener>) {
        loop {
            match listener.accept().await {
                Ok(stream) => self.serve(stream),
                Err(error) => {
                    tracing::warn!(%error, "no replication connection could be accepted");
                    tokio::time::sleep(ACCEPT_RETRY_PAUSE).await;
                }
            }
        }
    }

    /// Enters the connection in the book before its task runs, so that its end finds it there.
    fn serve(&self, stream: Stream) {
        let peer = stream.peer_addr();
        let connection = HaConnection {
            config: Arc::clone(&self.config),
            probe: self.env.probe.clone(),
            log: Arc::clone(self.store.commit_log()),
            replicas: Arc::clone(&self.replicas),
            role: self.store.role().clone(),
            id: self.replicas.connect(peer),
            slave: peer.to_string(),
        };
        let probe = self.env.probe.clone();
        tracing::info!(slave = connection.slave, "slave connected");
        probe.emit(&Event::SlaveConnected { slave: &connection.slave });
        self.tasks.spawn_until_cancelled("ha-connection", async move {
            let reason = connection.serve(stream).await;
            connection.replicas.disconnect(connection.id);
            tracing::info!(slave = connection.slave, reason, "slave gone");
            probe.emit(&Event::SlaveGone { slave: &connection.slave, reason: &reason });
        });
    }
}
