//! [`ClientInstance`]: what the producers and consumers of one process share (RocketMQ 4.9
//! `MQClientInstance`).
//!
//! Connections, the route table, and four services: routes are asked for every 30 s, heartbeats go
//! to every known broker every 30 s and when something changed, consumers rebalance every 20 s and when
//! a broker says so, their offsets are committed every 5 s. The last two sleep without consumers.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use mq_env::Env;
use mq_env::plant::{Plant, planted_on_this_thread};
use mq_env::task::TaskGroup;
use mq_protocol::header::client::UnregisterClientRequestHeader;
use mq_protocol::message::{Message, MessageQueue};
use mq_remoting::{ProcessorTable, RemotingClient};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tokio::sync::Notify;

use crate::api::MqClientApi;
use crate::client_config::ClientConfig;
use crate::consumer_inner::MqConsumerInner;
use crate::consumers::Consumers;
use crate::error::ClientError;
use crate::name_servers::NameServers;
use crate::remoting_processor::ClientRemotingProcessor;
use crate::request_reply::RequestFutures;
use crate::route::{RouteTable, clamp_queue_nums};
use crate::rpc_hooks::rpc_hooks;
use crate::transaction_checks::TransactionChecks;
use crate::unique_id::UniqueIds;

/// The producer group that every client registers for what consumers send.
pub(crate) const CLIENT_INNER_PRODUCER_GROUP: &str = "CLIENT_INNER_PRODUCER";

const FIRST_ROUTE_POLL_AFTER: Duration = Duration::from_millis(10);
pub(crate) const FIRST_HEARTBEAT_AFTER: Duration = Duration::from_secs(1);
const FIRST_PERSIST_AFTER: Duration = Duration::from_secs(10);
const REBALANCE_INTERVAL: Duration = Duration::from_secs(20);

/// How long a question for a route waits for the one before it.
const ROUTE_LOCK_TIMEOUT: Duration = Duration::from_secs(3);

/// A client; clones are the same one.
#[derive(Clone)]
pub struct ClientInstance {
    inner: Arc<Inner>,
}

struct Inner {
    env: Env,
    config: ClientConfig,
    client_id: String,
    seeds: mq_env::rng::Rng,
    tasks: TaskGroup,
    api: MqClientApi,
    signals: Arc<Signals>,
    transaction_checks: Arc<TransactionChecks>,
    consumers: Arc<Consumers>,
    request_futures: Arc<RequestFutures>,
    unique_ids: UniqueIds,
    rng: Mutex<ChaCha8Rng>,
    state: Mutex<State>,
    /// One question for a route at a time.
    asking_route: tokio::sync::Mutex<()>,
}

/// What wakes the services between their intervals.
#[derive(Default)]
pub(crate) struct Signals {
    heartbeat: Notify,
    pub(crate) rebalance: Notify,
    consumer_added: Notify,
}

struct State {
    routes: RouteTable,
    producer_groups: BTreeSet<String>,
    publish_topics: BTreeSet<String>,
}

impl ClientInstance {
    /// A client on the machine of `env`; its services run until [`ClientInstance::shutdown`].
    #[must_use]
    pub fn start(env: Env, config: ClientConfig) -> Self {
        let seeds = env.rng.child(&format!("client {}", config.instance_name));
        let mut rng = seeds.stream("client");
        let instance_name = match config.instance_name.as_str() {
            "" => format!("{}#{}", rng.random::<u16>(), rng.random::<u32>()),
            name => name.to_owned(),
        };
        let local_ip = env.net.local_ip();
        let signals = Arc::new(Signals::default());
        let transaction_checks = Arc::<TransactionChecks>::default();
        let consumers = Arc::<Consumers>::default();
        let request_futures = Arc::new(RequestFutures::new(seeds.stream("correlation id")));
        let processor = ClientRemotingProcessor {
            signals: Arc::clone(&signals),
            transaction_checks: Arc::clone(&transaction_checks),
            consumers: Arc::clone(&consumers),
            request_futures: Arc::clone(&request_futures),
            clock: Arc::clone(&env.clock),
        };
        let processors = ProcessorTable::default().register_default(Arc::new(processor));
        let hooks = rpc_hooks(&config);
        let remoting =
            RemotingClient::with_hooks(env.clone(), config.remoting.clone(), processors, hooks);
        let name_servers = NameServers::new(config.namesrv_addrs.clone(), &mut rng);
        let state = State {
            routes: RouteTable::default(),
            producer_groups: BTreeSet::from([CLIENT_INNER_PRODUCER_GROUP.to_owned()]),
            publish_topics: BTreeSet::new(),
        };
        let unique_ids =
            UniqueIds::new(Arc::clone(&env.clock), local_ip, &mut seeds.stream("uniq key"));
        let inner = Arc::new(Inner {
            client_id: config.build_mq_client_id(local_ip, &instance_name),
            tasks: env.tasks.child(),
            api: MqClientApi::new(remoting, name_servers),
            signals,
            transaction_checks,
            consumers,
            request_futures,
            unique_ids,
            seeds,
            rng: Mutex::new(rng),
            state: Mutex::new(state),
            asking_route: tokio::sync::Mutex::new(()),
            env,
            config,
        });
        let instance = ClientInstance { inner };
        instance.spawn("client routes", ClientInstance::poll_routes);
        instance.spawn("client heartbeat", ClientInstance::send_heartbeats);
        instance.spawn("client rebalance", ClientInstance::rebalance);
        instance.spawn("client offsets", ClientInstance::persist_offsets);
        instance
    }

    /// `ip@instanceName`, with `@unitName` and `@STREAM` where the settings say so.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.inner.client_id
    }

    /// Stops the services, takes back the producers at every known broker and closes the
    /// connections. Consumers are shut down before, by their owner.
    pub async fn shutdown(&self) {
        self.inner.tasks.shutdown().await;
        let groups = std::mem::take(&mut self.state().producer_groups);
        for group in groups {
            self.unregister(Some(group), None).await;
        }
        self.inner.api.remoting().shutdown().await;
    }

    pub(crate) fn namesrv_addrs(&self) -> &[String] {
        &self.inner.config.namesrv_addrs
    }

    pub(crate) fn env(&self) -> &Env {
        &self.inner.env
    }

    pub(crate) fn tasks(&self) -> &TaskGroup {
        &self.inner.tasks
    }

    pub(crate) fn api(&self) -> &MqClientApi {
        &self.inner.api
    }

    pub(crate) fn transaction_checks(&self) -> &TransactionChecks {
        &self.inner.transaction_checks
    }

    pub(crate) fn request_futures(&self) -> &Arc<RequestFutures> {
        &self.inner.request_futures
    }

    pub(crate) fn config(&self) -> &ClientConfig {
        &self.inner.config
    }

    /// The namespace of topics and groups; empty for none.
    pub(crate) fn namespace(&self) -> &str {
        &self.inner.config.namespace
    }

    /// Random numbers of the client for one purpose.
    pub(crate) fn random_stream(&self, name: &str) -> ChaCha8Rng {
        self.inner.seeds.stream(name)
    }

    /// A random number below `bound` (which is above 0).
    pub(crate) fn random_below(&self, bound: usize) -> usize {
        let mut rng = self.inner.rng.lock().unwrap_or_else(PoisonError::into_inner);
        rng.random_range(0..bound)
    }

    /// Gives a message its `UNIQ_KEY`, if it has none; returns it.
    pub(crate) fn set_uniq_key(&self, message: &mut Message) -> String {
        self.inner.unique_ids.set(message)
    }

    pub(crate) fn register_producer(&self, group: &str) {
        if self.state().producer_groups.insert(group.to_owned()) {
            self.heartbeat_soon();
        }
    }

    pub(crate) fn register_consumer(&self, group: &str, consumer: Weak<dyn MqConsumerInner>) {
        self.inner.consumers.insert(group, consumer);
        self.inner.signals.consumer_added.notify_waiters();
    }

    /// Takes back a consumer group, here and at every known broker.
    pub(crate) async fn unregister_consumer(&self, group: &str) {
        self.inner.consumers.remove(group);
        self.unregister(None, Some(group.to_owned())).await;
    }

    /// Lets the heartbeats go out now.
    pub(crate) fn heartbeat_soon(&self) {
        self.inner.signals.heartbeat.notify_one();
    }

    /// Lets the consumers rebalance now.
    pub(crate) fn rebalance_soon(&self) {
        self.inner.signals.rebalance.notify_one();
    }

    /// The queues to send messages of `topic` to. An unknown topic is asked for; one that no name
    /// server knows gets the route of `create_topic_key`, with at most `queue_nums` queues per broker.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) async fn publish_queues(
        &self,
        topic: &str,
        create_topic_key: &str,
        queue_nums: i32,
    ) -> Result<Arc<[MessageQueue]>, ClientError> {
        let queues = self.with_routes(|routes| routes.publish_queues(topic));
        if !queues.is_empty() {
            return Ok(queues);
        }
        self.state().publish_topics.insert(topic.to_owned());
        let asked = self.update_route(topic).await;
        let known = self.with_routes(|routes| routes.subscribe_queues(topic).is_some());
        if !known {
            asked?;
            self.update_route_as(topic, create_topic_key, queue_nums).await?;
        }
        let queues = self.with_routes(|routes| routes.publish_queues(topic));
        match queues.is_empty() {
            true => Err(ClientError::NoRoute(topic.to_owned())),
            false => Ok(queues),
        }
    }

    /// The address of a master; asks for the route of `topic` when it is not known.
    pub(crate) async fn master_addr(
        &self,
        topic: &str,
        broker_name: &str,
    ) -> Result<String, ClientError> {
        self.find_addr(topic, broker_name, |routes| routes.master_addr(broker_name)).await
    }

    /// The address to pull from and whether it is a slave's; see [`RouteTable::subscribe_addr`].
    pub(crate) async fn subscribe_addr(
        &self,
        queue: &MessageQueue,
        broker_id: i64,
    ) -> Result<(String, bool), ClientError> {
        let name = &queue.broker_name;
        self.find_addr(&queue.topic, name, |routes| routes.subscribe_addr(name, broker_id)).await
    }

    /// Asks for the route of `topic`; says whether it changed.
    ///
    /// # Errors
    /// When no name server answers. A topic without route is no error: what is known is kept.
    pub(crate) async fn update_route(&self, topic: &str) -> Result<bool, ClientError> {
        let _turn = self.ask_turn().await?;
        let route = self.inner.api.get_topic_route_info(topic).await?;
        let changed = route.is_some_and(|route| self.state().routes.update(topic, route));
        if changed {
            tracing::info!(topic, client = self.client_id(), "route changed");
        }
        Ok(changed)
    }

    pub(crate) fn with_routes<R>(&self, read: impl FnOnce(&RouteTable) -> R) -> R {
        read(&self.state().routes)
    }

    pub(crate) fn producer_groups(&self) -> BTreeSet<String> {
        self.state().producer_groups.clone()
    }

    pub(crate) fn clean_offline_brokers(&self) {
        self.state().routes.clean_offline_brokers();
    }

    /// Resolves when somebody has asked for a heartbeat.
    pub(crate) async fn heartbeat_wanted(&self) {
        self.inner.signals.heartbeat.notified().await;
    }

    async fn poll_routes(self) {
        tokio::time::sleep(FIRST_ROUTE_POLL_AFTER).await;
        while !planted_on_this_thread(Plant::RoutesNeverRefreshed) {
            let mut topics = self.state().publish_topics.clone();
            for consumer in self.consumers() {
                topics.extend(consumer.topics());
            }
            for topic in topics {
                if let Err(error) = self.update_route(&topic).await {
                    tracing::info!(topic, %error, "route not updated");
                }
            }
            tokio::time::sleep(self.inner.config.poll_name_server_interval).await;
        }
    }

    async fn rebalance(self) {
        loop {
            self.wait_for_consumer().await;
            mq_env::select! {
                () = self.inner.signals.rebalance.notified() => {}
                () = tokio::time::sleep(REBALANCE_INTERVAL) => {}
            }
            for consumer in self.consumers() {
                consumer.do_rebalance().await;
            }
        }
    }

    async fn persist_offsets(self) {
        self.wait_for_consumer().await;
        tokio::time::sleep(FIRST_PERSIST_AFTER).await;
        loop {
            for consumer in self.consumers() {
                consumer.persist_offsets().await;
            }
            self.wait_for_consumer().await;
            tokio::time::sleep(self.inner.config.persist_consumer_offset_interval).await;
        }
    }

    async fn wait_for_consumer(&self) {
        loop {
            let added = self.inner.signals.consumer_added.notified();
            if !self.consumers().is_empty() {
                return;
            }
            added.await;
        }
    }

    pub(crate) fn consumers(&self) -> Vec<Arc<dyn MqConsumerInner>> {
        self.inner.consumers.all()
    }

    /// Gives `topic` the route of the topic it is going to be created after.
    async fn update_route_as(
        &self,
        topic: &str,
        create_topic_key: &str,
        queue_nums: i32,
    ) -> Result<(), ClientError> {
        let _turn = self.ask_turn().await?;
        let route = self.inner.api.get_topic_route_info(create_topic_key).await?;
        let mut route = route.ok_or_else(|| ClientError::NoRoute(topic.to_owned()))?;
        clamp_queue_nums(&mut route, queue_nums);
        self.state().routes.update(topic, route);
        Ok(())
    }

    async fn ask_turn(&self) -> Result<tokio::sync::MutexGuard<'_, ()>, ClientError> {
        let turn = tokio::time::timeout(ROUTE_LOCK_TIMEOUT, self.inner.asking_route.lock());
        turn.await.map_err(|_| ClientError::CallTimeout)
    }

    async fn find_addr<A>(
        &self,
        topic: &str,
        broker_name: &str,
        find: impl Fn(&RouteTable) -> Option<A>,
    ) -> Result<A, ClientError> {
        if let Some(addr) = self.with_routes(&find) {
            return Ok(addr);
        }
        self.update_route(topic).await?;
        self.with_routes(&find).ok_or_else(|| ClientError::NoBroker(broker_name.to_owned()))
    }

    async fn unregister(&self, producer_group: Option<String>, consumer_group: Option<String>) {
        let api = &self.inner.api;
        let header = &UnregisterClientRequestHeader {
            client_id: Some(self.client_id().to_owned()),
            producer_group,
            consumer_group,
        };
        let addrs = self.with_routes(|routes| routes.addrs(false));
        let requests = addrs.iter().map(|addr| async move {
            if let Err(error) = api.unregister_client(addr, header).await {
                tracing::info!(addr, %error, "unregister failed");
            }
        });
        futures::future::join_all(requests).await;
    }

    fn spawn<F>(&self, name: &'static str, service: impl FnOnce(ClientInstance) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.inner.tasks.spawn_until_cancelled(name, service(self.clone()));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
