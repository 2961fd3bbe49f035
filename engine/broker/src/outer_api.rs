//! [`BrokerOuterApi`]: what a broker asks of name servers and of its master (RocketMQ 4.9
//! `BrokerOuterAPI`).

use std::fmt::Display;
use std::net::Ipv6Addr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures::future::join_all;
use mq_env::Env;
use mq_protocol::body::cluster::ClusterInfo;
use mq_protocol::body::offset_table::{
    ConsumerOffsetSerializeWrapper, DelayOffsetSerializeWrapper,
};
use mq_protocol::body::subscription_group::SubscriptionGroupWrapper;
use mq_protocol::body::tables::KvTable;
use mq_protocol::body::topic_config::{
    DataVersion, RegisterBrokerBody, TopicConfigSerializeWrapper, register_body_crc32,
};
use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::fastjson::{Json, JsonReadError, from_slice, to_bytes};
use mq_protocol::header::HeaderError;
use mq_protocol::header::log_prefix::{
    CHECK_LOG_PREFIX, CheckLogPrefixResponseHeader, PrefixAnswer, PrefixQuery,
};
use mq_protocol::header::namesrv::{
    BrokerIdentityRequestHeader, QueryDataVersionResponseHeader, RegisterBrokerRequestHeader,
    RegisterBrokerResponseHeader,
};
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{ProcessorTable, RemotingClient, RemotingClientConfig, RemotingError};

/// Limit of a request to a broker or of a small one to a name server.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// Why a peer did not give what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OuterError {
    /// No reply.
    #[error(transparent)]
    Remoting(#[from] RemotingError),
    /// A reply that refuses.
    #[error("code {code}: {remark}")]
    Refused {
        /// Response code.
        code: i32,
        /// Remark.
        remark: String,
    },
    /// A reply whose header cannot be read.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// A reply whose body cannot be read.
    #[error(transparent)]
    Body(#[from] JsonReadError),
}

/// How a broker calls itself.
#[derive(Clone, Debug)]
pub(crate) struct BrokerIdentity {
    pub(crate) cluster_name: String,
    pub(crate) broker_name: String,
    /// `ip:port` of the main port.
    pub(crate) broker_addr: String,
    /// `ip:port` of replication.
    pub(crate) ha_server_addr: String,
}

/// What a name server answers to a registration.
#[derive(Clone, Debug, Default)]
pub(crate) struct RegisterBrokerResult {
    /// The master's main address, for slaves of a master that the name server knows.
    pub(crate) master_addr: Option<String>,
    /// The master's replication address, likewise.
    pub(crate) ha_server_addr: Option<String>,
    /// The table of ordered topics, if it sent one.
    pub(crate) kv_table: Option<KvTable>,
}

/// Requests to others.
pub(crate) struct BrokerOuterApi {
    client: RemotingClient,
    identity: BrokerIdentity,
    /// 0 is a master's.
    broker_id: AtomicI64,
    namesrv_addrs: Vec<String>,
    register_timeout: Duration,
}

impl BrokerOuterApi {
    pub(crate) fn new(
        env: &Env,
        identity: BrokerIdentity,
        broker_id: u64,
        namesrv_addrs: Vec<String>,
        register_timeout: Duration,
    ) -> Self {
        let processors = ProcessorTable::default();
        let client = RemotingClient::new(env.clone(), RemotingClientConfig::default(), processors);
        let api = BrokerOuterApi {
            client,
            identity,
            broker_id: AtomicI64::default(),
            namesrv_addrs,
            register_timeout,
        };
        api.set_broker_id(broker_id);
        api
    }

    /// Goes by this id from now on.
    pub(crate) fn set_broker_id(&self, broker_id: u64) {
        self.broker_id.store(i64::try_from(broker_id).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// The id by which this broker goes.
    pub(crate) fn broker_id(&self) -> i64 {
        self.broker_id.load(Ordering::Relaxed)
    }

    /// How this broker calls itself.
    pub(crate) fn identity(&self) -> &BrokerIdentity {
        &self.identity
    }

    /// Registers at every name server at once; the answers are in the order of their addresses.
    pub(crate) async fn register_broker_all(
        &self,
        body: &RegisterBrokerBody,
    ) -> Vec<(&str, Result<RegisterBrokerResult, OuterError>)> {
        let request = self.register_request(body);
        let register = async |addr: &str| {
            let response = self.client.invoke(addr, request.clone(), self.register_timeout).await?;
            let response = check(response)?;
            let header: RegisterBrokerResponseHeader = response.header()?;
            let has_table = !response.body.is_empty();
            let kv_table = if has_table { Some(from_slice(&response.body)?) } else { None };
            Ok(RegisterBrokerResult {
                master_addr: header.master_addr.filter(|addr| !addr.is_empty()),
                ha_server_addr: header.ha_server_addr.filter(|addr| !addr.is_empty()),
                kv_table,
            })
        };
        let answers = join_all(self.namesrv_addrs.iter().map(|addr| register(addr))).await;
        self.namesrv_addrs.iter().map(String::as_str).zip(answers).collect()
    }

    /// Registers at every name server without waiting for answers.
    pub(crate) fn register_broker_all_oneway(&self, body: &RegisterBrokerBody) {
        let request = self.register_request(body);
        for addr in &self.namesrv_addrs {
            if let Err(error) = self.client.invoke_oneway(addr, request.clone()) {
                tracing::debug!(addr, %error, "registration not sent");
            }
        }
    }

    /// Whether any name server lacks this version of the topics, or does not say.
    pub(crate) async fn need_register(&self, version: DataVersion) -> bool {
        let request =
            RemotingCommand::request(RequestCode::QUERY_DATA_VERSION, &self.identity_header())
                .with_body(to_bytes(&version));
        let ask = async |addr: &str| -> Result<bool, OuterError> {
            let response =
                check(self.client.invoke(addr, request.clone(), REQUEST_TIMEOUT).await?)?;
            Ok(response.header::<QueryDataVersionResponseHeader>()?.changed)
        };
        let answers = join_all(self.namesrv_addrs.iter().map(|addr| ask(addr))).await;
        answers.into_iter().any(|answer| answer.unwrap_or(true))
    }

    /// Takes this broker out of every name server's tables.
    pub(crate) async fn unregister_broker_all(&self) {
        let code = RequestCode::UNREGISTER_BROKER;
        let request = RemotingCommand::request(code, &self.identity_header());
        let unregister = async |addr: &str| {
            let reply = self.client.invoke(addr, request.clone(), REQUEST_TIMEOUT).await;
            if let Err(error) = reply.map_err(OuterError::from).and_then(check) {
                tracing::warn!(addr, %error, "not unregistered");
            }
        };
        join_all(self.namesrv_addrs.iter().map(|addr| unregister(addr))).await;
    }

    /// The main addresses of the slaves of this broker's name, as the name servers know them.
    pub(crate) async fn slave_addrs(&self) -> Vec<String> {
        let ask = async |addr: &str| -> Result<ClusterInfo, OuterError> {
            self.fetch(addr, RequestCode::GET_BROKER_CLUSTER_INFO).await
        };
        let mut slaves = Vec::new();
        for answer in join_all(self.namesrv_addrs.iter().map(|addr| ask(addr))).await {
            let Ok(mut cluster) = answer else { continue };
            let name = &self.identity.broker_name;
            let Some(broker) = cluster.broker_addr_table.swap_remove(name) else { continue };
            for (broker_id, addr) in broker.broker_addrs {
                let is_slave = broker_id != 0 && addr != self.identity.broker_addr;
                if is_slave && !slaves.contains(&addr) {
                    slaves.push(addr);
                }
            }
        }
        slaves
    }

    /// A broker's topics; asked at its fast port.
    pub(crate) async fn all_topic_config(
        &self,
        addr: &str,
    ) -> Result<TopicConfigSerializeWrapper, OuterError> {
        let fast_addr = fast_addr(addr).unwrap_or_else(|| addr.to_owned());
        self.fetch(&fast_addr, RequestCode::GET_ALL_TOPIC_CONFIG).await
    }

    /// A broker's consumer offsets.
    pub(crate) async fn all_consumer_offset(
        &self,
        addr: &str,
    ) -> Result<ConsumerOffsetSerializeWrapper, OuterError> {
        self.fetch(addr, RequestCode::GET_ALL_CONSUMER_OFFSET).await
    }

    /// A broker's delay offsets.
    pub(crate) async fn all_delay_offset(
        &self,
        addr: &str,
    ) -> Result<DelayOffsetSerializeWrapper, OuterError> {
        self.fetch(addr, RequestCode::GET_ALL_DELAY_OFFSET).await
    }

    /// The end of a broker's log; beyond every end where it does not say.
    pub(crate) async fn commit_log_max_offset(&self, addr: &str) -> Result<u64, OuterError> {
        let info: KvTable = self.fetch(addr, RequestCode::GET_BROKER_RUNTIME_INFO).await?;
        let end = info.table.get("commitLogMaxOffset").and_then(|end| end.parse().ok());
        Ok(end.unwrap_or(u64::MAX))
    }

    /// A broker's consumer groups.
    pub(crate) async fn all_subscription_group_config(
        &self,
        addr: &str,
    ) -> Result<SubscriptionGroupWrapper, OuterError> {
        self.fetch(addr, RequestCode::GET_ALL_SUBSCRIPTIONGROUP_CONFIG).await
    }

    /// Asks a master how this broker's log compares with its own.
    pub(crate) async fn check_log_prefix(
        &self,
        addr: &str,
        query: &PrefixQuery,
    ) -> Result<PrefixAnswer, OuterError> {
        let (header, body) = query.encode();
        let request = RemotingCommand::request(CHECK_LOG_PREFIX, &header).with_body(body);
        let response = check(self.client.invoke(addr, request, REQUEST_TIMEOUT).await?)?;
        let header: CheckLogPrefixResponseHeader = response.header()?;
        Ok(PrefixAnswer::decode(&header, &response.body)?)
    }

    /// Closes every connection.
    pub(crate) async fn shutdown(&self) {
        self.client.shutdown().await;
    }

    async fn fetch<T: Json>(&self, addr: &str, code: i32) -> Result<T, OuterError> {
        let request = RemotingCommand::request(code, &());
        let response = check(self.client.invoke(addr, request, REQUEST_TIMEOUT).await?)?;
        Ok(from_slice(&response.body)?)
    }

    fn register_request(&self, body: &RegisterBrokerBody) -> RemotingCommand {
        let body = body.encode(false);
        let identity = &self.identity;
        let header = RegisterBrokerRequestHeader {
            broker_name: identity.broker_name.clone(),
            broker_addr: identity.broker_addr.clone(),
            cluster_name: identity.cluster_name.clone(),
            ha_server_addr: identity.ha_server_addr.clone(),
            broker_id: self.broker_id(),
            compressed: false,
            body_crc32: register_body_crc32(&body),
        };
        RemotingCommand::request(RequestCode::REGISTER_BROKER, &header).with_body(body)
    }

    fn identity_header(&self) -> BrokerIdentityRequestHeader {
        let identity = &self.identity;
        BrokerIdentityRequestHeader {
            broker_name: identity.broker_name.clone(),
            broker_addr: identity.broker_addr.clone(),
            cluster_name: identity.cluster_name.clone(),
            broker_id: self.broker_id(),
        }
    }
}

/// A response that says SUCCESS.
fn check(response: RemotingCommand) -> Result<RemotingCommand, OuterError> {
    if response.code == ResponseCode::SUCCESS {
        return Ok(response);
    }
    let remark = response.remark.unwrap_or_default();
    Err(OuterError::Refused { code: response.code, remark })
}

/// The fast port's address of a broker: two below its main port.
fn fast_addr(addr: &str) -> Option<String> {
    let (host, port) = addr.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    Some(join_addr(host, port.checked_sub(2)?))
}

/// `host:port`, an IPv6 address in brackets.
pub(crate) fn join_addr(host: impl Display, port: u16) -> String {
    let host = host.to_string();
    if host.parse::<Ipv6Addr>().is_ok() {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_stands_in_brackets() {
        assert_eq!(join_addr("::1", 10911), "[::1]:10911");
        assert_eq!(join_addr("10.0.0.1", 10911), "10.0.0.1:10911");
    }

    #[test]
    fn the_fast_port_is_two_below() {
        assert_eq!(fast_addr("10.0.0.1:10911").as_deref(), Some("10.0.0.1:10909"));
        assert_eq!(fast_addr("[::1]:10911").as_deref(), Some("[::1]:10909"));
        assert_eq!(fast_addr("host:1"), None);
        assert_eq!(fast_addr("host"), None);
    }
}
