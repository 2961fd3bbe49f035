//! [`MqAdminExt`]: what operators ask of a cluster, as functions (RocketMQ 4.9 `DefaultMQAdminExt`).

mod acl;
mod broker;
mod cluster;
mod consumer;
mod message;
mod namesrv;
mod topic;

use std::time::Duration;

use bytes::Bytes;
use mq_client::{
    ClientConfig, ClientInstance, Producer, ProducerConfig, PullClient, SessionCredentials,
};
use mq_env::Env;
use mq_protocol::fastjson::{Json, from_slice};
use mq_protocol::header::CustomHeader;
use mq_protocol::remoting_command::RemotingCommand;

use crate::error::AdminError;

pub(crate) use cluster::{BrokerAddr, broker_addrs, masters, select_broker_addrs};
pub(crate) use consumer::is_not_online;
pub use message::MessageTrack;
#[cfg(test)]
pub(crate) use message::TrackType;
pub(crate) use namesrv::NAMESPACE_ORDER_TOPIC_CONFIG;

/// Time allowed for a request (`timeoutMillis` of `DefaultMQAdminExt`).
const TIMEOUT: Duration = Duration::from_secs(5);

/// The group in whose name tools read queues.
const TOOLS_CONSUMER_GROUP: &str = "TOOLS_CONSUMER";

/// Asks name servers and brokers; clones are the same one.
#[derive(Clone)]
pub struct MqAdminExt {
    env: Env,
    instance: ClientInstance,
    timeout: Duration,
}

impl MqAdminExt {
    /// Asks in the name of a client of its own on the machine of `env`, until [`MqAdminExt::shutdown`].
    #[must_use]
    pub fn start(
        env: Env,
        namesrv_addrs: Vec<String>,
        session_credentials: Option<SessionCredentials>,
    ) -> Self {
        let config = ClientConfig {
            namesrv_addrs,
            session_credentials,
            instance_name: env.clock.now_millis().to_string(),
            ..ClientConfig::default()
        };
        let instance = ClientInstance::start(env.clone(), config);
        MqAdminExt { env, instance, timeout: TIMEOUT }
    }

    /// The same, with another time allowed for each request.
    #[must_use]
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        MqAdminExt { timeout, ..self.clone() }
    }

    /// Takes back what brokers were told of this client, and closes its connections.
    pub async fn shutdown(&self) {
        self.instance.shutdown().await;
    }

    /// The name servers it was told of.
    #[must_use]
    pub fn name_servers(&self) -> &[String] {
        self.instance.name_servers()
    }

    /// A producer of this client.
    pub(crate) fn producer(&self, group: &str) -> Producer {
        Producer::new(&self.instance, ProducerConfig::new(group))
    }

    /// A reader of queues, in the name of tools.
    pub(crate) fn pull_client(&self) -> PullClient {
        self.pull_client_of(TOOLS_CONSUMER_GROUP)
    }

    /// A reader of queues in the name of `group`.
    pub(crate) fn pull_client_of(&self, group: &str) -> PullClient {
        PullClient::new(&self.instance, group)
    }

    /// The machine that it is on.
    pub(crate) fn env(&self) -> &Env {
        &self.env
    }

    async fn ask(
        &self,
        addr: &str,
        code: i32,
        header: &impl CustomHeader,
    ) -> Result<RemotingCommand, AdminError> {
        let request = RemotingCommand::request(code, header);
        Ok(self.instance.ask(addr, request, self.timeout).await?)
    }

    /// An answer that is SUCCESS and nothing else.
    async fn tell(
        &self,
        addr: &str,
        code: i32,
        header: &impl CustomHeader,
    ) -> Result<(), AdminError> {
        self.ask(addr, code, header).await.map(drop)
    }

    async fn tell_body(
        &self,
        addr: &str,
        code: i32,
        header: &impl CustomHeader,
        body: impl Into<Bytes>,
    ) -> Result<(), AdminError> {
        let request = RemotingCommand::request(code, header).with_body(body);
        Ok(self.instance.ask(addr, request, self.timeout).await.map(drop)?)
    }

    async fn ask_body<B: Json>(
        &self,
        addr: &str,
        code: i32,
        header: &impl CustomHeader,
    ) -> Result<B, AdminError> {
        read_body(addr, &self.ask(addr, code, header).await?)
    }

    /// A body that is text.
    async fn ask_text(&self, addr: &str, code: i32) -> Result<String, AdminError> {
        let response = self.ask(addr, code, &()).await?;
        String::from_utf8(response.body.to_vec())
            .map_err(|error| AdminError::bad_answer(addr, &error))
    }

    async fn ask_header<H: CustomHeader>(
        &self,
        addr: &str,
        code: i32,
        header: &impl CustomHeader,
    ) -> Result<H, AdminError> {
        read_header(addr, &self.ask(addr, code, header).await?)
    }
}

fn read_body<B: Json>(addr: &str, response: &RemotingCommand) -> Result<B, AdminError> {
    // A response without anything to say has no body.
    if response.body.is_empty() {
        return from_slice(b"{}").map_err(|error| AdminError::bad_answer(addr, &error));
    }
    from_slice(&response.body).map_err(|error| AdminError::bad_answer(addr, &error))
}

fn read_header<H: CustomHeader>(addr: &str, response: &RemotingCommand) -> Result<H, AdminError> {
    response.header().map_err(|error| AdminError::bad_answer(addr, &error))
}
