//! [`BrokerController`]: a broker in operation (RocketMQ 4.9 `BrokerController`).
//!
//! `role` makes a master a slave, or the other way round, meanwhile; `dledger_role_change` as the group elects,
//! `leaderless` speaks while it does not; `observe` is what is seen of it.
//!
//! Start: the accounts of the access control, topics, groups and offsets are read; the store opens and recovers; a master asks the
//! slaves for consumer offsets; both client ports are listened on; replication starts; the broker
//! registers at all name servers; then periodically.
//!
//! Shutdown: held pulls and periodic work end; sends that wait for a sync or a slave are answered that
//! it takes too long; client connections close; replication ends; consumer and delay offsets are
//! written; the store makes everything durable; last, when nothing depends on a name server's answer any
//! more, the broker takes itself out of the routes.

mod dledger_role_change;
mod leaderless;
mod observe;
mod role;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mq_env::net::any_addr;
use mq_env::plant::{Plant, planted_on_this_thread};
use mq_env::probe::Event;
use mq_env::task::TaskGroup;
use mq_env::{BoxFuture, Env};
use mq_protocol::body::topic_config::TopicConfig;
use mq_protocol::codes::ResponseCode;
use mq_remoting::RemotingServer;
use mq_store::MessageStore;
use mq_store::config::{BrokerRole, StoreConfig};
use mq_store::ha::HaService;
use mq_store::ha::prefix::{PrefixError, PrefixOracle};
use mq_store::metadata_file::settle_metadata;
use mq_store::role::RoleWatch;
use tokio::sync::Notify;

use crate::acl_service::AclService;
use crate::broker_stats_manager::BrokerStatsManager;
use crate::client_housekeeping::ClientHousekeepingService;
use crate::config::BrokerConfig;
use crate::consumer_manager::ConsumerManager;
use crate::consumer_offset_manager::ConsumerOffsetManager;
use crate::context::BrokerContext;
use crate::delay_offset_manager::DelayOffsetManager;
use crate::dledger_commit_log::{DLedgerCommitLog, open_log};
use crate::error::BrokerError;
use crate::held_pulls::Arrived;
use crate::limits::log_limit;
use crate::live_config::LiveConfig;
use crate::lock;
use crate::now_ms;
use crate::offset_guard::OffsetGuard;
use crate::outer_api::{BrokerIdentity, BrokerOuterApi, OuterError, join_addr};
use crate::ports::{CLIENTS, REPLICATION, VIP_CHANNEL, check_listen_port};
use crate::processor::{self, PullMessageProcessor};
use crate::producer_manager::ProducerManager;
use crate::pull_request_hold::PullRequestHoldService;
use crate::rebalance_lock_manager::RebalanceLockManager;
use crate::registration::{NewTopics, RegistrationService, register_new_topics};
use crate::replicated_tables::ReplicatedTables;
use crate::schedule_message_service::ScheduleMessageService;
use crate::subscription_group_manager::SubscriptionGroupManager;
use crate::topic_config_manager::TopicConfigManager;
use crate::transaction_ends::TransactionEnds;
use crate::transaction_questions::TransactionQuestions;
use crate::waiting_sends::WaitingSends;
use crate::work_queue::WorkQueues;

/// A running broker.
pub struct BrokerController {
    context: Arc<BrokerContext>,
    server: RemotingServer,
    /// Everything but store, replication and connections, whatever the role is.
    tasks: TaskGroup,
    /// Of the present role. Locked while it changes.
    role_services: tokio::sync::Mutex<TaskGroup>,
    schedule: Arc<ScheduleMessageService>,
}

impl BrokerController {
    /// Starts a broker. `haListenPort` becomes `listenPort + 1`, whatever it was.
    ///
    /// # Errors
    /// When the store does not open, a port cannot be had, or access control is asked for and its files cannot be used.
    pub fn start(
        env: Env,
        config: BrokerConfig,
        store_config: StoreConfig,
    ) -> BoxFuture<'static, Result<Arc<BrokerController>, BrokerError>> {
        Box::pin(start(env, config, store_config))
    }

    /// Stops the broker in the order that the module's documentation gives.
    pub fn shutdown(self: &Arc<Self>) -> BoxFuture<'static, ()> {
        let controller = Arc::clone(self);
        Box::pin(async move { controller.stop().await })
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &BrokerConfig {
        &self.context.config
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<MessageStore> {
        &self.context.store
    }

    /// Replication.
    #[must_use]
    pub fn ha(&self) -> &Arc<HaService> {
        &self.context.ha
    }

    /// The role.
    #[must_use]
    pub fn role(&self) -> BrokerRole {
        self.context.role()
    }

    /// The advertised address of the main port.
    #[must_use]
    pub fn broker_addr(&self) -> &str {
        &self.context.outer_api.identity().broker_addr
    }

    /// The advertised address of replication.
    #[must_use]
    pub fn ha_server_addr(&self) -> &str {
        &self.context.outer_api.identity().ha_server_addr
    }

    /// The master's main address, as the name servers last told this slave.
    #[must_use]
    pub fn master_addr(&self) -> Option<String> {
        lock(&self.context.master_addr).clone()
    }

    /// A topic's settings.
    #[must_use]
    pub fn topic_config(&self, topic: &str) -> Option<Arc<TopicConfig>> {
        self.context.topics.select_topic_config(topic)
    }

    /// A group's queue offset in a queue.
    #[must_use]
    pub fn consumer_offset(&self, group: &str, topic: &str, queue_id: i32) -> Option<i64> {
        self.context.offsets.query_offset(group, topic, queue_id)
    }

    async fn stop(&self) {
        let context = &self.context;
        context.env.probe.emit(&Event::Life { what: "stopping" });
        self.role_services.lock().await.shutdown().await;
        self.tasks.shutdown().await;
        context.waiting_sends.stop().await;
        self.server.shutdown().await;
        context.ha.shutdown().await;
        if !planted_on_this_thread(Plant::OffsetsNotWrittenAtTheEnd)
            && let Err(error) = context.offsets.persist().await
        {
            tracing::error!(%error, "consumer offsets cannot be written");
        }
        // Whoever leads next goes on with them.
        context.tables.write(context).await;
        // A delivery has to be durable before the file may speak of it.
        context.store.flush().await;
        if !planted_on_this_thread(Plant::DelayCursorNotWrittenAtTheEnd)
            && let Err(error) = context.delay_offsets.persist(context.store.commit_log()).await
        {
            tracing::error!(%error, "delay offsets cannot be written");
        }
        context.store.shutdown().await;
        context.outer_api.unregister_broker_all().await;
        context.outer_api.shutdown().await;
        context.env.probe.emit(&Event::Life { what: "stopped" });
    }
}

async fn start(
    env: Env,
    config: BrokerConfig,
    mut store_config: StoreConfig,
) -> Result<Arc<BrokerController>, BrokerError> {
    env.probe.emit(&Event::Life { what: "starting" });
    check_listen_port(&config)?;
    let port = config.listen_port;
    store_config.ha_listen_port = port + 1;
    let acl = AclService::load(&env, &config)?.map(Arc::new);
    if store_config.dledger.is_some() {
        // Until the group has elected this one.
        store_config.broker_role = BrokerRole::Slave;
    }
    let role = RoleWatch::new(store_config.broker_role);
    let topics = TopicConfigManager::load(&env, &config, &store_config, &role)?;
    let groups = SubscriptionGroupManager::load(&env, &config, &store_config, &role)?;
    let offsets = Arc::new(ConsumerOffsetManager::load(&env, &config, &store_config)?);
    let delay_offsets = Arc::new(DelayOffsetManager::load(&env, &store_config)?);
    let transaction_questions = TransactionQuestions::load(&env, &store_config)?;
    let store_host = SocketAddr::new(store_ip(&env, &config), port);
    let (store, dledger) = open_store(&env, Arc::new(store_config), role, store_host).await?;
    settle_tables(&env, &store).await;

    let outer_api = Arc::new(BrokerOuterApi::new(
        &env,
        identity(&env, &config),
        config.broker_id,
        config.namesrv_addrs.clone(),
        Duration::from_millis(config.register_broker_timeout_ms),
    ));
    let master_addr = Arc::new(Mutex::new(None));
    let probe = env.probe.clone();
    let tables = (Arc::clone(&offsets), Arc::clone(&delay_offsets));
    let guard = Arc::new(OffsetGuard::new(Arc::clone(&store), tables.0, tables.1, probe));
    let oracle = prefix_oracle(&outer_api, &master_addr, &guard);
    let ha = HaService::new(&replication_env(&env), &store, Some(oracle));
    guard.watch(&ha);

    let limits = config.limits.clone();
    let work_queues = WorkQueues::new(&config);
    let stats = Arc::new(BrokerStatsManager::new(&config.broker_cluster_name, &limits));
    let context = Arc::new(BrokerContext {
        store_host,
        queue_rng: Mutex::new(env.rng.stream("broker.queue")),
        live_config: LiveConfig::new(&config, now_ms(&*env.clock)),
        env,
        config,
        acl,
        store,
        ha,
        dledger,
        tables: ReplicatedTables::default(),
        topics,
        groups,
        offsets,
        delay_offsets,
        producers: ProducerManager::new(&limits),
        consumers: ConsumerManager::new(&limits),
        rebalance_locks: RebalanceLockManager::new(limits.queue_lock_nums),
        pull_hold: Arc::new(PullRequestHoldService::new(&limits)),
        waiting_sends: WaitingSends::new(&limits),
        work_queues,
        stats,
        transaction_ends: TransactionEnds::default(),
        transaction_questions,
        outer_api,
        master_addr,
        guard,
        client_appeared: Notify::new(),
        registrations: Mutex::default(),
        new_topics: NewTopics::default(),
        refused_commit_log: log_limit(),
    });
    if !context.is_slave() {
        role::master_starts(&context).await;
    }
    match serve(&context).await {
        Ok(controller) => Ok(controller),
        Err(error) => {
            context.ha.shutdown().await;
            context.store.shutdown().await;
            context.outer_api.shutdown().await;
            Err(error)
        }
    }
}

/// The store, and the group's log if it is one's.
async fn open_store(
    env: &Env,
    config: Arc<StoreConfig>,
    role: RoleWatch,
    store_host: SocketAddr,
) -> Result<(Arc<MessageStore>, Option<Arc<DLedgerCommitLog>>), BrokerError> {
    let Some(dledger) = config.dledger.clone() else {
        return Ok((MessageStore::open_as(env.clone(), config, role).await?, None));
    };
    let (open, node) = open_log(replication_env(env), &config, &dledger, store_host);
    let store = MessageStore::open_agreed(env.clone(), config, role, open).await?;
    Ok((store, node.get().cloned()))
}

/// As in 4.9 replication is not encrypted, whatever clients' connections are.
fn replication_env(env: &Env) -> Env {
    match env.net.unencrypted() {
        Some(net) => Env { net, ..env.clone() },
        None => env.clone(),
    }
}

/// What the tables were loaded from must not be taken back any more.
async fn settle_tables(env: &Env, store: &MessageStore) {
    let dir = store.config().store_path_root_dir.join("config");
    if let Err(error) = settle_metadata(&*env.disk, &dir).await {
        tracing::error!(dir = %dir.display(), %error, "a power loss may take tables back");
    }
}

/// Listens, replicates, registers.
async fn serve(context: &Arc<BrokerContext>) -> Result<Arc<BrokerController>, BrokerError> {
    let schedule = ScheduleMessageService::new(Arc::clone(context));
    // Before the first pull can be held.
    let (arrivals, delayed) = (Arc::clone(&context.pull_hold), schedule.arrivals());
    context.store.set_message_arriving_listener(Arc::new(
        move |topic, queue_id, end, tags_code, record| {
            let arrived = Some(Arrived { tags_code, record });
            arrivals.notify_message_arriving(topic, queue_id as i32, end as i64, arrived);
            delayed.notify_message_arriving(topic, queue_id);
        },
    ));
    let (offsets, held) = (Arc::clone(&context.offsets), Arc::clone(&context.pull_hold));
    let stats = Arc::clone(&context.stats);
    context.store.set_topic_deleted_listener(Arc::new(move |topic| {
        offsets.remove_topic(topic);
        stats.topic_deleted(topic);
        held.topic_deleted(topic);
    }));
    let pulls = Arc::new(PullMessageProcessor::new(Arc::clone(context)));
    let housekeeping = Arc::new(ClientHousekeepingService::new(Arc::clone(context)));
    let server = listen(context, &pulls, &housekeeping).await?;
    // A group replicates by its own port.
    if context.dledger.is_none()
        && let Err(source) = context.ha.start().await
    {
        server.shutdown().await;
        let port = context.store.config().ha_listen_port;
        return Err(BrokerError::Listen { port, purpose: REPLICATION, source });
    }
    let tasks = context.env.tasks.child();
    start_services(context, &tasks, pulls, housekeeping);
    let role_services = role::start_role_services(context, &tasks, &schedule);
    let mut registration = RegistrationService::new(Arc::clone(context));
    registration.register_first().await;
    tasks.spawn_until_cancelled("broker registration", registration.run());
    tasks.spawn_until_cancelled("topic registration", register_new_topics(Arc::clone(context)));
    context.env.probe.emit(&Event::Life { what: "serving" });
    let context = Arc::clone(context);
    let role_services = tokio::sync::Mutex::new(role_services);
    let controller = Arc::new(BrokerController { context, server, tasks, role_services, schedule });
    if let Some(dledger) = controller.context.dledger.clone() {
        let searching = leaderless::run(Arc::clone(&dledger));
        controller.tasks.spawn_until_cancelled("dledger leaderless", searching);
        let (weak, ended) = (Arc::downgrade(&controller), controller.tasks.clone());
        let following = dledger_role_change::run(weak, dledger, ended);
        controller.tasks.spawn("dledger role change", following);
    }
    Ok(controller)
}

async fn listen(
    context: &Arc<BrokerContext>,
    pulls: &Arc<PullMessageProcessor>,
    housekeeping: &Arc<ClientHousekeepingService>,
) -> Result<RemotingServer, BrokerError> {
    let config = &context.config;
    let addrs = [config.listen_port, config.vip_port()].map(any_addr);
    let tables = processor::tables(context, pulls).map(Arc::new);
    let server = RemotingServer::start(
        context.env.clone(),
        config.server.clone(),
        addrs.into_iter().zip(tables).collect(),
        Some(Arc::clone(housekeeping) as Arc<_>),
    );
    match server.await {
        Ok(server) => Ok(server),
        Err(source) => Err(which_is_taken(&context.env, addrs, source).await),
    }
}

/// The error of listening on several addresses does not say which one it was.
async fn which_is_taken(env: &Env, addrs: [SocketAddr; 2], source: io::Error) -> BrokerError {
    let [main, fast] = addrs;
    match env.net.bind(main).await {
        Ok(_) => BrokerError::Listen { port: fast.port(), purpose: VIP_CHANNEL, source },
        Err(source) => BrokerError::Listen { port: main.port(), purpose: CLIENTS, source },
    }
}

fn start_services(
    context: &Arc<BrokerContext>,
    tasks: &TaskGroup,
    pulls: Arc<PullMessageProcessor>,
    housekeeping: Arc<ClientHousekeepingService>,
) {
    let hold = Arc::clone(&context.pull_hold);
    let (role, swept) = (context.store.role().clone(), Arc::clone(context));
    let max_offset = move |topic: &str, queue_id| swept.max_offset(topic, queue_id);
    let holding = hold.run(role, max_offset, move |pull| pulls.execute_again(pull));
    tasks.spawn_until_cancelled("pull request hold", holding);

    let interval = Duration::from_millis(context.config.flush_consumer_offset_interval_ms);
    let offsets = Arc::clone(&context.offsets);
    tasks.spawn_until_cancelled("consumer offset persist", offsets.run(interval));
    tasks.spawn_until_cancelled("client housekeeping", housekeeping.run());
    if let Some(acl) = &context.acl {
        tasks.spawn_until_cancelled("acl file watch", Arc::clone(acl).watch());
    }
}

/// How a slave asks its master about its log: at the master's main port. What is then beyond the
/// slave's log is taken back before it follows.
fn prefix_oracle(
    outer_api: &Arc<BrokerOuterApi>,
    master_addr: &Arc<Mutex<Option<String>>>,
    guard: &Arc<OffsetGuard>,
) -> PrefixOracle {
    let (outer_api, guard) = (Arc::clone(outer_api), Arc::clone(guard));
    let master_addr = Arc::clone(master_addr);
    Arc::new(move |query| {
        let (outer_api, guard) = (Arc::clone(&outer_api), Arc::clone(&guard));
        let master = lock(&master_addr).clone();
        Box::pin(async move {
            let unknown = || PrefixError::Unreachable("no name server knows a master".to_owned());
            let master = master.ok_or_else(unknown)?;
            match outer_api.check_log_prefix(&master, &query).await {
                Ok(answer) => {
                    guard.slave_compared().await;
                    Ok(answer)
                }
                Err(OuterError::Refused {
                    code: ResponseCode::REQUEST_CODE_NOT_SUPPORTED, ..
                }) => match outer_api.commit_log_max_offset(&master).await {
                    Ok(log_end) => Err(PrefixError::Unsupported { log_end: Some(log_end) }),
                    Err(error) => Err(PrefixError::Unreachable(error.to_string())),
                },
                Err(error) => Err(PrefixError::Unreachable(error.to_string())),
            }
        })
    })
}

fn identity(env: &Env, config: &BrokerConfig) -> BrokerIdentity {
    let host = |ip: &Option<String>| ip.clone().unwrap_or_else(|| env.net.local_ip().to_string());
    BrokerIdentity {
        cluster_name: config.broker_cluster_name.clone(),
        broker_name: config.broker_name.clone(),
        broker_addr: join_addr(host(&config.broker_ip1), config.listen_port),
        ha_server_addr: join_addr(host(&config.broker_ip2), config.listen_port + 1),
    }
}

/// What records carry is an address, where the configuration may give a name.
fn store_ip(env: &Env, config: &BrokerConfig) -> std::net::IpAddr {
    let configured = config.broker_ip1.as_ref().and_then(|ip| ip.parse().ok());
    configured.unwrap_or_else(|| env.net.local_ip())
}
