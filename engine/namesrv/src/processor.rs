//! [`DefaultRequestProcessor`]: the answers of a name server (RocketMQ 4.9 `DefaultRequestProcessor`).
//!
//! A code that nobody knows is answered REQUEST_CODE_NOT_SUPPORTED; RocketMQ 4.9 says nothing and
//! lets the caller wait. A request without any ext field has a header whose fields are null, as in Java: it
//! finds nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use mq_env::Env;
use mq_env::probe::{Event, Probe};
use mq_protocol::body::cluster::TopicList;
use mq_protocol::body::topic_config::{
    DataVersion, RegisterBodyError, RegisterBrokerBody, TopicConfigSerializeWrapper,
    decode_bare_topic_table, register_body_crc32,
};
use mq_protocol::codes::{MqVersion, RequestCode, ResponseCode};
use mq_protocol::fastjson::{from_slice, to_bytes};
use mq_protocol::header::namesrv::{
    AddWritePermOfBrokerResponseHeader, BrokerIdentityRequestHeader, DeleteTopicRequestHeader,
    GetKvConfigResponseHeader, GetKvListByNamespaceRequestHeader, GetRouteInfoRequestHeader,
    GetTopicsByClusterRequestHeader, KvConfigRequestHeader, PutKvConfigRequestHeader,
    QueryDataVersionResponseHeader, RegisterBrokerRequestHeader,
    WipeWritePermOfBrokerResponseHeader, WritePermOfBrokerRequestHeader,
};
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::processor::not_supported;
use mq_remoting::{Channel, ProcessError, ProcessOutcome, ProcessResult, RequestProcessor};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::config::NamesrvConfig;
use crate::configuration::Configuration;
use crate::kv_config::{KvConfigManager, NAMESPACE_ORDER_TOPIC_CONFIG};
use crate::limits::{NamesrvLimits, RefusalLog, check_name};
use crate::route_info_manager::RouteInfoManager;
use crate::route_info_manager::unit_topics::UnitTopics;

/// What RocketMQ's texts about unknown topics end with.
const SEE_FAQ: &str = "\nSee http://rocketmq.apache.org/docs/faq/ for further details.";

/// Answers every request of a name server.
pub(crate) struct DefaultRequestProcessor {
    routes: RwLock<RouteInfoManager>,
    kv_config: Arc<KvConfigManager>,
    configuration: Arc<Configuration>,
    limits: NamesrvLimits,
    refusals: Arc<RefusalLog>,
    probe: Probe,
    /// Signalled at every registration: the housekeeping sleeps while no broker is known.
    registered: Notify,
    registrations: AtomicU64,
}

impl DefaultRequestProcessor {
    pub(crate) fn new(kv_config: KvConfigManager, config: &NamesrvConfig, env: Env) -> Self {
        let probe = env.probe.clone();
        DefaultRequestProcessor {
            routes: RwLock::new(RouteInfoManager::new(config.limits.clone())),
            kv_config: Arc::new(kv_config),
            configuration: Arc::new(Configuration::new(env, config.clone())),
            limits: config.limits.clone(),
            refusals: Arc::default(),
            probe,
            registered: Notify::new(),
            registrations: AtomicU64::new(0),
        }
    }

    /// The tables, for reading.
    pub(crate) fn routes(&self) -> RwLockReadGuard<'_, RouteInfoManager> {
        self.routes.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tables, for writing.
    pub(crate) fn routes_mut(&self) -> RwLockWriteGuard<'_, RouteInfoManager> {
        self.routes.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a registration, and wakes who waits for one.
    pub(crate) fn signal_registered(&self) {
        self.registrations.fetch_add(1, Ordering::Relaxed);
        self.registered.notify_one();
    }

    /// Registrations that were taken since the start.
    pub(crate) fn registrations(&self) -> u64 {
        self.registrations.load(Ordering::Relaxed)
    }

    /// Resolves after the next registration.
    pub(crate) async fn registered(&self) {
        self.registered.notified().await;
    }

    /// Reports a change of the tables.
    pub(crate) fn emit_route(&self, what: &str) {
        tracing::info!(what, "route changed");
        self.probe.emit(&Event::Route { what });
    }
}

impl RequestProcessor for DefaultRequestProcessor {
    fn process(&self, channel: &Channel, request: RemotingCommand) -> ProcessResult {
        if !request.ext_fields.is_present()
            && let Some(answer) = answer_without_header(request.code)
        {
            return answer;
        }
        self.check_names(channel, &request)?;
        match request.code {
            RequestCode::REGISTER_BROKER => self.register_broker(channel, &request),
            RequestCode::UNREGISTER_BROKER => self.unregister_broker(&request),
            RequestCode::QUERY_DATA_VERSION => self.query_data_version(&request),
            RequestCode::GET_ROUTEINFO_BY_TOPIC => self.get_route_info_by_topic(&request),
            RequestCode::GET_BROKER_CLUSTER_INFO => {
                Ok(success().with_body(to_bytes(&self.routes().cluster_info())).into())
            }
            RequestCode::PUT_KV_CONFIG => self.put_kv_config(channel, &request),
            RequestCode::GET_KV_CONFIG => self.get_kv_config(&request),
            RequestCode::DELETE_KV_CONFIG => self.delete_kv_config(&request),
            RequestCode::GET_KVLIST_BY_NAMESPACE => self.get_kv_list(&request),
            RequestCode::WIPE_WRITE_PERM_OF_BROKER => self.wipe_write_perm(&request),
            RequestCode::ADD_WRITE_PERM_OF_BROKER => self.add_write_perm(&request),
            RequestCode::GET_ALL_TOPIC_LIST_FROM_NAMESERVER => {
                Ok(topic_list(self.routes().all_topic_list(), None))
            }
            RequestCode::GET_TOPICS_BY_CLUSTER => self.get_topics_by_cluster(&request),
            RequestCode::GET_SYSTEM_TOPIC_LIST_FROM_NS => {
                let (topics, broker_addr) = self.routes().system_topic_list();
                Ok(topic_list(topics, broker_addr))
            }
            RequestCode::DELETE_TOPIC_IN_NAMESRV => self.delete_topic(&request),
            RequestCode::GET_UNIT_TOPIC_LIST => Ok(self.unit_topics(UnitTopics::Unit)),
            RequestCode::GET_HAS_UNIT_SUB_TOPIC_LIST => Ok(self.unit_topics(UnitTopics::UnitSub)),
            RequestCode::GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST => {
                Ok(self.unit_topics(UnitTopics::UnitSubOnly))
            }
            RequestCode::GET_NAMESRV_CONFIG => {
                Ok(success().with_body(self.configuration.text()).into())
            }
            RequestCode::UPDATE_NAMESRV_CONFIG => Ok(self.update_config(request)),
            code => Err(not_supported(code)),
        }
    }
}

/// What a name server says to a request without ext fields, where Java finds nothing under the name null;
/// elsewhere a field is missing.
fn answer_without_header(code: i32) -> Option<ProcessResult> {
    let not_found = |code, remark: String| Some(Err(ProcessError::new(code, remark)));
    match code {
        RequestCode::GET_ROUTEINFO_BY_TOPIC => {
            not_found(ResponseCode::TOPIC_NOT_EXIST, no_route("null"))
        }
        RequestCode::GET_KV_CONFIG => {
            not_found(ResponseCode::QUERY_NOT_FOUND, no_config_item("null", Some("null")))
        }
        RequestCode::GET_KVLIST_BY_NAMESPACE => {
            not_found(ResponseCode::QUERY_NOT_FOUND, no_config_item("null", None))
        }
        RequestCode::DELETE_KV_CONFIG | RequestCode::DELETE_TOPIC_IN_NAMESRV => {
            Some(Ok(success().into()))
        }
        RequestCode::WIPE_WRITE_PERM_OF_BROKER => {
            let header = WipeWritePermOfBrokerResponseHeader { wipe_topic_count: 0 };
            Some(Ok(RemotingCommand::success(&header).into()))
        }
        RequestCode::ADD_WRITE_PERM_OF_BROKER => {
            let header = AddWritePermOfBrokerResponseHeader { add_topic_count: 0 };
            Some(Ok(RemotingCommand::success(&header).into()))
        }
        RequestCode::GET_TOPICS_BY_CLUSTER => Some(Ok(topic_list(Vec::new(), None))),
        _ => None,
    }
}

fn no_route(topic: &str) -> String {
    format!("No topic route info in name server for the topic: {topic}{SEE_FAQ}")
}

fn no_config_item(namespace: &str, key: Option<&str>) -> String {
    let key = key.map(|key| format!(" Key: {key}")).unwrap_or_default();
    format!("No config item, Namespace: {namespace}{key}")
}

/// Requests that keep and log nothing: under a name that nobody has they find nothing, as in Java.
const FINDS_ONLY: [i32; 5] = [
    RequestCode::GET_ROUTEINFO_BY_TOPIC,
    RequestCode::GET_KV_CONFIG,
    RequestCode::GET_KVLIST_BY_NAMESPACE,
    RequestCode::GET_TOPICS_BY_CLUSTER,
    RequestCode::QUERY_DATA_VERSION,
];

/// Fields that are kept or logged.
const NAME_FIELDS: [&str; 9] = [
    "topic",
    "brokerName",
    "brokerAddr",
    "clusterName",
    "cluster",
    "haServerAddr",
    "namespace",
    "key",
    "brokerId",
];

impl DefaultRequestProcessor {
    fn check_names(
        &self,
        channel: &Channel,
        request: &RemotingCommand,
    ) -> Result<(), ProcessError> {
        if FINDS_ONLY.contains(&request.code) {
            return Ok(());
        }
        for field in NAME_FIELDS {
            let name = request.ext_fields.get(field).unwrap_or_default();
            check_name(field, name)
                .map_err(|error| self.refusals.refuse(channel.remote_addr(), &error))?;
        }
        Ok(())
    }

    fn register_broker(&self, channel: &Channel, request: &RemotingCommand) -> ProcessResult {
        let header: RegisterBrokerRequestHeader = request.header()?;
        let body = &request.body;
        if header.body_crc32 != 0 && register_body_crc32(body) != header.body_crc32 {
            return Err(ProcessError::system("crc32 not match"));
        }
        let peer = channel.remote_addr();
        let topics = self
            .registered_topics(request, header.compressed)
            .map_err(|error| self.refusals.refuse(peer, &error))?;
        for topic in topics.topic_config_table.values() {
            if let Err(error) = check_name("topic", &topic.topic_name) {
                self.refusals.say(peer, &error.to_string());
            }
        }
        let known = self.routes().is_live(&header.broker_addr);
        let registered =
            self.routes_mut().register_broker(&header, &topics, channel.id(), Instant::now());
        let result = registered.map_err(|error| self.refusals.refuse(peer, &error))?;
        self.signal_registered();
        if !known {
            let (name, id, addr) = (&header.broker_name, header.broker_id, &header.broker_addr);
            self.emit_route(&format!("broker {name}-{id} at {addr} registered"));
        }
        let mut response = RemotingCommand::success(&result);
        if let Some(table) = self.kv_config.list_by_namespace(NAMESPACE_ORDER_TOPIC_CONFIG) {
            response = response.with_body(to_bytes(&table));
        }
        Ok(response.into())
    }

    fn registered_topics(
        &self,
        request: &RemotingCommand,
        compressed: bool,
    ) -> Result<TopicConfigSerializeWrapper, RegisterBodyError> {
        let (body, limits) = (&request.body, self.limits.of_register_body());
        if body.is_empty() {
            return Ok(TopicConfigSerializeWrapper::default());
        }
        let decoded = if request.version < MqVersion::V3_0_11 {
            decode_bare_topic_table(body, &limits)?
        } else {
            RegisterBrokerBody::decode(body, compressed, &limits)?
        };
        Ok(decoded.topic_config_serialize_wrapper)
    }

    fn unregister_broker(&self, request: &RemotingCommand) -> ProcessResult {
        let header: BrokerIdentityRequestHeader = request.header()?;
        self.routes_mut().unregister_broker(&header);
        let (name, id, addr) = (&header.broker_name, header.broker_id, &header.broker_addr);
        self.emit_route(&format!("broker {name}-{id} at {addr} unregistered"));
        Ok(success().into())
    }

    fn query_data_version(&self, request: &RemotingCommand) -> ProcessResult {
        let header: BrokerIdentityRequestHeader = request.header()?;
        let asked: DataVersion = match request.body.is_empty() {
            true => DataVersion::default(),
            false => from_slice(&request.body)?,
        };
        let now = Instant::now();
        let (changed, known) =
            self.routes_mut().query_data_version(&header.broker_addr, asked, now);
        let mut response = RemotingCommand::success(&QueryDataVersionResponseHeader { changed });
        if let Some(known) = known {
            response = response.with_body(to_bytes(&known));
        }
        Ok(response.into())
    }

    fn get_route_info_by_topic(&self, request: &RemotingCommand) -> ProcessResult {
        let header: GetRouteInfoRequestHeader = request.header()?;
        let topic = &header.topic;
        let Some(mut route) = self.routes().pickup_topic_route_data(topic) else {
            return Err(ProcessError::new(ResponseCode::TOPIC_NOT_EXIST, no_route(topic)));
        };
        if self.configuration.order_message_enable() {
            route.order_topic_conf = self.kv_config.get(NAMESPACE_ORDER_TOPIC_CONFIG, topic);
        }
        let standard = header.accept_standard_json_only.unwrap_or(false);
        Ok(success().with_body(route.encode_for(request.version, standard)).into())
    }

    fn put_kv_config(&self, channel: &Channel, request: &RemotingCommand) -> ProcessResult {
        let header: PutKvConfigRequestHeader = request.header()?;
        let (kv_config, refusals) = (Arc::clone(&self.kv_config), Arc::clone(&self.refusals));
        let peer = channel.remote_addr().to_owned();
        Ok(ProcessOutcome::later(async move {
            match kv_config.put(header.namespace, header.key, header.value).await {
                Ok(()) => Ok(Some(success())),
                Err(error) => Err(refusals.refuse(&peer, &error)),
            }
        }))
    }

    fn get_kv_config(&self, request: &RemotingCommand) -> ProcessResult {
        let KvConfigRequestHeader { namespace, key } = request.header()?;
        match self.kv_config.get(&namespace, &key) {
            Some(value) => {
                let header = GetKvConfigResponseHeader { value: Some(value) };
                Ok(RemotingCommand::success(&header).into())
            }
            None => {
                let remark = no_config_item(&namespace, Some(&key));
                Err(ProcessError::new(ResponseCode::QUERY_NOT_FOUND, remark))
            }
        }
    }

    fn delete_kv_config(&self, request: &RemotingCommand) -> ProcessResult {
        let KvConfigRequestHeader { namespace, key } = request.header()?;
        let kv_config = Arc::clone(&self.kv_config);
        Ok(ProcessOutcome::later(async move {
            kv_config.delete(&namespace, &key).await?;
            Ok(Some(success()))
        }))
    }

    fn get_kv_list(&self, request: &RemotingCommand) -> ProcessResult {
        let GetKvListByNamespaceRequestHeader { namespace } = request.header()?;
        match self.kv_config.list_by_namespace(&namespace) {
            Some(table) => Ok(success().with_body(to_bytes(&table)).into()),
            None => {
                let remark = no_config_item(&namespace, None);
                Err(ProcessError::new(ResponseCode::QUERY_NOT_FOUND, remark))
            }
        }
    }

    fn wipe_write_perm(&self, request: &RemotingCommand) -> ProcessResult {
        let WritePermOfBrokerRequestHeader { broker_name } = request.header()?;
        let wipe_topic_count = self.routes_mut().wipe_write_perm_of_broker(&broker_name);
        self.emit_route(&format!("write permission of broker {broker_name} wiped"));
        let header = WipeWritePermOfBrokerResponseHeader { wipe_topic_count };
        Ok(RemotingCommand::success(&header).into())
    }

    fn add_write_perm(&self, request: &RemotingCommand) -> ProcessResult {
        let WritePermOfBrokerRequestHeader { broker_name } = request.header()?;
        let add_topic_count = self.routes_mut().add_write_perm_of_broker(&broker_name);
        self.emit_route(&format!("write permission of broker {broker_name} added"));
        let header = AddWritePermOfBrokerResponseHeader { add_topic_count };
        Ok(RemotingCommand::success(&header).into())
    }

    fn get_topics_by_cluster(&self, request: &RemotingCommand) -> ProcessResult {
        let GetTopicsByClusterRequestHeader { cluster } = request.header()?;
        Ok(topic_list(self.routes().topics_by_cluster(&cluster), None))
    }

    fn unit_topics(&self, which: UnitTopics) -> ProcessOutcome {
        topic_list(self.routes().unit_topic_list(which), None)
    }

    fn update_config(&self, request: RemotingCommand) -> ProcessOutcome {
        let configuration = Arc::clone(&self.configuration);
        ProcessOutcome::later(async move {
            configuration.update(&request.body).await.map_err(|error| error.answer())?;
            Ok(Some(success()))
        })
    }

    fn delete_topic(&self, request: &RemotingCommand) -> ProcessResult {
        let DeleteTopicRequestHeader { topic, cluster_name } = request.header()?;
        let cluster = cluster_name.as_deref().filter(|cluster| !cluster.is_empty());
        self.routes_mut().delete_topic(&topic, cluster);
        self.emit_route(&format!("topic {topic} deleted"));
        Ok(success().into())
    }
}

fn success() -> RemotingCommand {
    RemotingCommand::success(&())
}

fn topic_list(topic_list: Vec<String>, broker_addr: Option<String>) -> ProcessOutcome {
    success().with_body(to_bytes(&TopicList { broker_addr, topic_list })).into()
}
